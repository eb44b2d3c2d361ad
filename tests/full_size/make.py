"""Makes SDXL of its true size with random weights: every name and shape as people have them, and no download.

python -m tests.full_size.make FOLDER KIND LAYOUT     for example: somewhere base original
"""

import json
import math
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.components.single_file import CONFIGS, PAD_TOKENS
from tests.adapter_files import write_kohya_lora
from tests.original_layout import Kind, Weights, write_original

Layout = Literal["diffusers", "original"]

BLOCK = 1 << 24
"""So many random numbers are drawn once; every tensor is a stretch of them that begins somewhere else."""
STEP = 104_729


def make_full_size(folder: Path, kind: Kind, layout: Layout) -> Path:
    """A checkpoint of random bfloat16 weights: a diffusers folder, or one file in the original layout (7 GB, or twice
    that while the file is written). The same part has the same weights in both, and in each kind that has it."""
    target = folder / f"{kind}-diffusers"
    shutil.copytree(CONFIGS / kind, target)
    index = json.loads((target / "model_index.json").read_text())
    for part, make in EMPTY_PARTS.items():
        if (index.get(part) or [None])[0] is None:
            continue
        name = "model" if part.startswith("text") else "diffusion_pytorch_model"
        weights = random_weights(make(target / part).state_dict(), random_numbers())
        save_file(weights, target / part / f"{name}.safetensors", metadata={"format": "pt"})
    for part, pad_token in PAD_TOKENS.items():
        if (index.get(part) or [None])[0] is not None:
            shutil.copytree(CONFIGS / "tokenizer", target / part)
            config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad_token}
            (target / part / "tokenizer_config.json").write_text(json.dumps(config))
    if layout == "diffusers":
        return target
    path = write_original(target, folder / f"{kind}.safetensors", kind)
    shutil.rmtree(target)
    return path


def make_full_size_lora(path: Path, rank: int = 8) -> Path:
    """A LoRA with kohya's names for the UNet and both text encoders of true-size SDXL."""
    base = CONFIGS / "base"
    parts = (EMPTY_PARTS[part](base / part) for part in ("unet", "text_encoder", "text_encoder_2"))
    return write_kohya_lora(path, *parts, rank=rank, scale=0.01)


def random_numbers() -> Callable[[int], torch.Tensor]:
    """Draws stretches of one long row of normal random numbers, each from a place of its own."""
    row = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16).repeat(2)
    drawn = 0

    def draw(count: int) -> torch.Tensor:
        nonlocal drawn
        drawn += 1
        start = drawn * STEP % BLOCK
        longer = row if count <= BLOCK else row.repeat(1 + count // BLOCK)
        return longer[start : start + count]

    return draw


def random_weights(empty: Weights, draw: Callable[[int], torch.Tensor]) -> Weights:
    """A number for each place: matrices that keep the size of what passes through them, norms near 1, biases near 0."""
    weights: Weights = {}
    for name, shape in ((name, tensor.shape) for name, tensor in empty.items()):
        numbers = draw(shape.numel()).reshape(shape)
        if len(shape) > 1:
            weights[name] = numbers * (0.5 / math.sqrt(shape[1:].numel()))
        else:
            weights[name] = numbers * 0.01 + (1 if name.endswith("weight") else 0)
    return weights


def _empty_model(model_class: Any, folder: Path) -> torch.nn.Module:
    with torch.device("meta"):
        return model_class.from_config(model_class.load_config(folder))


def _empty_encoder(model_class: Any, folder: Path) -> torch.nn.Module:
    with torch.device("meta"):
        return model_class(CLIPTextConfig.from_pretrained(folder, local_files_only=True))


EMPTY_PARTS: dict[str, Callable[[Path], torch.nn.Module]] = {
    "unet": partial(_empty_model, UNet2DConditionModel),
    "vae": partial(_empty_model, AutoencoderKL),
    "text_encoder": partial(_empty_encoder, CLIPTextModel),
    "text_encoder_2": partial(_empty_encoder, CLIPTextModelWithProjection),
}
"""Each part with all its names and shapes, and no memory behind them."""


if __name__ == "__main__":
    chosen, kind, layout = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if kind not in get_args(Kind) or layout not in get_args(Layout):
        raise SystemExit(__doc__)
    chosen.mkdir(parents=True, exist_ok=True)
    print(make_full_size(chosen, kind, layout))  # pyright: ignore
