"""Writes LoRAs and textual inversions as people have them, for components of any size."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.original_layout import unet_name

Modules = dict[str, torch.nn.Linear]
Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]


def write_kohya_lora(
    path: Path,
    unet: torch.nn.Module,
    text_encoder: torch.nn.Module | None = None,
    text_encoder_2: torch.nn.Module | None = None,
    rank: int = 4,
    seed: int = 0,
    scale: float = 0.1,
) -> Path:
    """A LoRA as kohya's sd-scripts save it: original names with underscores, down, up and alpha (half of the rank)."""
    config = dict(unet.config)  # pyright: ignore
    named = {f"lora_unet_{unet_name(name, config)}": linear for name, linear in attention_linears(unet).items()}
    for prefix, encoder in (("lora_te1_", text_encoder), ("lora_te2_", text_encoder_2)):
        named |= {f"{prefix}{name}": linear for name, linear in encoder_linears(encoder).items()}
    tensors: dict[str, torch.Tensor] = {}
    for name, (down, up) in random_pairs(named, rank, seed, scale).items():
        module = name.replace(".", "_")
        tensors[f"{module}.lora_down.weight"] = down
        tensors[f"{module}.lora_up.weight"] = up
        tensors[f"{module}.alpha"] = torch.tensor(rank / 2)
    save_file(tensors, path, metadata={"ss_network_module": "networks.lora", "ss_network_dim": str(rank)})
    return path


def write_diffusers_lora(
    path: Path,
    unet: torch.nn.Module,
    text_encoder: torch.nn.Module | None = None,
    text_encoder_2: torch.nn.Module | None = None,
    rank: int = 4,
    seed: int = 0,
    scale: float = 0.1,
) -> Path:
    """A LoRA as diffusers saves it: its own names, lora_A and lora_B, no alpha."""
    named = {f"unet.{name}": linear for name, linear in attention_linears(unet).items()}
    for prefix, encoder in (("text_encoder.", text_encoder), ("text_encoder_2.", text_encoder_2)):
        named |= {f"{prefix}{name}": linear for name, linear in encoder_linears(encoder).items()}
    tensors: dict[str, torch.Tensor] = {}
    for name, (down, up) in random_pairs(named, rank, seed, scale).items():
        tensors[f"{name}.lora_A.weight"] = down
        tensors[f"{name}.lora_B.weight"] = up
    save_file(tensors, path)
    return path


def write_embedding(path: Path, width_l: int, width_g: int, vectors: int = 2, seed: int = 0) -> Path:
    """An SDXL textual inversion: (vectors, width) for each text encoder."""
    generator = torch.Generator().manual_seed(seed)
    widths = {"clip_l": width_l, "clip_g": width_g}
    save_file({key: torch.randn(vectors, width, generator=generator) for key, width in widths.items()}, path)
    return path


def attention_linears(unet: torch.nn.Module) -> Modules:
    """What is trained of a UNet: every linear layer of its transformers."""
    return {
        name: module
        for name, module in unet.named_modules()
        if ".attentions." in name and isinstance(module, torch.nn.Linear)
    }


def encoder_linears(encoder: torch.nn.Module | None) -> Modules:
    """What is trained of a text encoder, by the names of transformers before its version 5."""
    if encoder is None:
        return {}
    return {
        f"text_model.{name.removeprefix('text_model.')}": module
        for name, module in encoder.named_modules()
        if ".layers." in name and isinstance(module, torch.nn.Linear)
    }


def random_pairs(modules: Modules, rank: int, seed: int, scale: float) -> Pairs:
    """(down, up) for each module: (rank, in) and (out, rank)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * scale

    return {name: (draw(rank, module.in_features), draw(module.out_features, rank)) for name, module in modules.items()}
