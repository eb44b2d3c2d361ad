"""Writes diffusers folders as single files in the layout of Stability AI's `generative-models`: names back to names."""

import json
import re
import shutil
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Kind = Literal["base", "refiner", "inpainting"]
Weights = dict[str, torch.Tensor]

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


def write_original(folder: Path, target: Path, kind: Kind) -> Path:
    """One file of a whole diffusers folder; a part that a refiner's folder lacks is taken from the folder above it."""
    parts = ("unet", "vae", "text_encoder_2") if kind == "refiner" else PARTS
    tensors: Weights = {}
    for part in parts:
        source = folder if has_weights(folder / part) else folder.parent
        tensors |= to_original(part, read_weights(source / part), read_config(source / part), kind)
    save_file(tensors, target)
    return target


def write_original_vae(folder: Path, target: Path, prefix: str = "") -> Path:
    """The VAE of a diffusers folder as a file of its own in the original layout."""
    tensors = vae_to_original(read_weights(folder / "vae"))
    save_file({prefix + key: tensor for key, tensor in tensors.items()}, target)
    return target


def write_inpainting_folder(folder: Path, target: Path) -> Path:
    """A copy of a 4-channel diffusers folder whose UNet also takes a mask and the latents under it: 9 channels."""
    shutil.copytree(folder, target)
    shutil.rmtree(target / "unet")
    (target / "unet").mkdir()
    config, weights = read_config(folder / "unet"), read_weights(folder / "unet")
    shape = weights["conv_in.weight"].shape
    more = torch.randn(shape[0], 5, *shape[2:], generator=torch.Generator().manual_seed(0)) * 0.05
    weights["conv_in.weight"] = torch.cat([weights["conv_in.weight"], more.to(weights["conv_in.weight"].dtype)], dim=1)
    save_file(weights, target / "unet" / "diffusion_pytorch_model.safetensors")
    (target / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": 9}))
    return target


def write_configs(folder: Path, target: Path) -> Path:
    """What `presets/sdxl` is for true SDXL, for single files made of `folder`, a base with its own `refiner/`."""
    shutil.copytree(folder / "tokenizer", target / "tokenizer")
    for kind, source in (("base", folder), ("inpainting", folder), ("refiner", folder / "refiner")):
        for file in ("model_index.json", "scheduler/scheduler_config.json", *(f"{part}/config.json" for part in PARTS)):
            found = source / file if (source / file).is_file() else source.parent / file
            (target / kind / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, target / kind / file)
    unet = target / "inpainting" / "unet" / "config.json"
    unet.write_text(json.dumps({**json.loads(unet.read_text()), "in_channels": 9}))
    return target


def has_weights(part: Path) -> bool:
    return any(part.glob("*.safetensors"))


def read_weights(part: Path) -> Weights:
    """Every tensor of a part, whole or in shards, left on the disk until it is written."""
    weights: Weights = {}
    for path in sorted(part.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            weights |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return weights


def read_config(part: Path) -> dict:
    return json.loads((part / "config.json").read_text())


def to_original(part: str, weights: Weights, config: dict, kind: Kind) -> Weights:
    """A part's tensors under the names they have in a single file."""
    if part == "unet":
        prefix, tensors = "model.diffusion_model.", unet_to_original(weights, config)
    elif part == "vae":
        prefix, tensors = "first_stage_model.", vae_to_original(weights)
    elif part == "text_encoder":
        prefix, tensors = "conditioner.embedders.0.transformer.", clip_to_original(weights)
    else:
        position = 0 if kind == "refiner" else 1
        prefix, tensors = f"conditioner.embedders.{position}.model.", open_clip_to_original(weights)
    return {prefix + key: tensor.contiguous() for key, tensor in tensors.items()}


def replace_all(text: str, pairs: dict[str, str]) -> str:
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text


# UNet

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "conv_in.": "input_blocks.0.0.",
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
}
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}


def unet_to_original(weights: Weights, config: dict) -> Weights:
    return {unet_name(key, config): tensor for key, tensor in weights.items()}


def unet_name(key: str, config: dict) -> str:
    """The original name of a UNet's tensor or module."""
    layers = config["layers_per_block"]
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", key):
        side, block, what, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        position = block * (layers + 1) + layer + (side == "down")
        inner = f"0.{replace_all(rest, RESNET)}" if what == "resnets" else f"1.{rest}"
        return f"{'input' if side == 'down' else 'output'}_blocks.{position}.{inner}"
    if match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.+)", key):
        return f"input_blocks.{(int(match[1]) + 1) * (layers + 1)}.0.op.{match[2]}"
    if match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.+)", key):
        block = int(match[1])
        follows = 2 if "CrossAttn" in config["up_block_types"][block] else 1
        return f"output_blocks.{block * (layers + 1) + layers}.{follows}.conv.{match[2]}"
    if match := re.match(r"mid_block\.((?:resnets|attentions)\.\d+)\.(.+)", key):
        rest = replace_all(match[2], RESNET) if match[1].startswith("resnets") else match[2]
        return f"middle_block.{MIDDLE[match[1]]}.{rest}"
    outer = next(old for old in OUTER if key.startswith(old))
    return OUTER[outer] + key.removeprefix(outer)


# VAE

VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def vae_to_original(weights: Weights) -> Weights:
    blocks = 1 + max(int(key.split(".")[2]) for key in weights if key.startswith("decoder.up_blocks."))
    renamed: Weights = {}
    for key, tensor in weights.items():
        name = vae_name(key, blocks)
        is_matrix = ".mid.attn_1." in name and tensor.dim() == 2
        renamed[name] = tensor[:, :, None, None] if is_matrix else tensor
    return renamed


def vae_name(key: str, blocks: int) -> str:
    """The original name of a VAE's tensor; its upward blocks are counted from the end."""
    if match := re.match(r"decoder\.up_blocks\.(\d+)\.(.+)", key):
        key = f"decoder.up.{blocks - 1 - int(match[1])}.{match[2]}"
    key = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    if "mid_block.attentions.0" in key:
        key = replace_all(key, {"mid_block.attentions.0": "mid.attn_1", **VAE_ATTENTION})
    return replace_all(
        key,
        {
            "encoder.down_blocks.": "encoder.down.",
            ".resnets.": ".block.",
            "downsamplers.0.": "downsample.",
            "upsamplers.0.": "upsample.",
            "conv_shortcut": "nin_shortcut",
            "conv_norm_out": "norm_out",
        },
    )


# Text encoders

OPEN_CLIP_LAYER = {
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
OPEN_CLIP_OUTER = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def clip_to_original(weights: Weights) -> Weights:
    """As CLIP was saved before transformers 5: below `text_model.`, with its table of positions."""
    named = {f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in weights.items()}
    return named | {"text_model.embeddings.position_ids": torch.arange(77)[None]}


def open_clip_to_original(weights: Weights) -> Weights:
    """OpenCLIP's names: queries, keys and values in one matrix, the projection the other way round."""
    renamed: Weights = {"logit_scale": torch.tensor(4.6)}
    for whole, tensor in weights.items():
        key = whole.removeprefix("text_model.")
        if key == "text_projection.weight":
            renamed["text_projection"] = tensor.T
        elif key in OPEN_CLIP_OUTER:
            renamed[OPEN_CLIP_OUTER[key]] = tensor
        elif match := re.match(r"(.+)\.self_attn\.q_proj\.(weight|bias)", key):
            three = [weights[whole.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            renamed[f"{replace_all(match[1], OPEN_CLIP_LAYER)}.attn.in_proj_{match[2]}"] = torch.cat(three)
        elif "k_proj" not in key and "v_proj" not in key:
            renamed[replace_all(key, OPEN_CLIP_LAYER)] = tensor
    return renamed
