"""The models that are measured: the embedded one, and one of middle size with random weights."""

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.components.single_file import CONFIGS
from pipelines.schema.models import load_catalogue

SIZES = ("tiny", "mid-size")
CHANNELS = (96, 160, 320)
HEADS = (3, 5, 10)
WIDTHS = {"text_encoder": 768, "text_encoder_2": 1280}
"""Of one token's embedding: together the 2048 that SDXL's cross-attention reads."""
SIDE = 32
"""Latents of a picture of 256 pixels, as the embedded model's."""


def tiny_source() -> Path:
    """The embedded model's folder."""
    return Path(load_catalogue().checkpoints["demo"].source)


def mid_size_config() -> dict[str, Any]:
    """SDXL's UNet with fewer channels, in heads of 32; blocks, transformer layers and context are SDXL's own."""
    config: Any = UNet2DConditionModel.load_config(CONFIGS / "base", subfolder="unet")
    return config | {
        "block_out_channels": CHANNELS,
        "attention_head_dim": HEADS,
        "sample_size": SIDE,
    }


def write_mid_size(target: Path) -> Path:
    """A diffusers folder of random weights, with the embedded model's VAE and words. 0.5 GB, in some seconds."""
    demo = tiny_source()
    shutil.copytree(demo, target, ignore=shutil.ignore_patterns("refiner", "unet", "text_encoder*", "*.png", "*.md"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet: Any = UNet2DConditionModel.from_config(mid_size_config())
        unet.half().save_pretrained(target / "unet")
        for part, model_class in (("text_encoder", CLIPTextModel), ("text_encoder_2", CLIPTextModelWithProjection)):
            config = CLIPTextConfig.from_pretrained(demo / part, local_files_only=True)
            width = WIDTHS[part]
            config.update({"hidden_size": width, "intermediate_size": width, "num_attention_heads": width // 64})
            config.update({"num_hidden_layers": 2, "projection_dim": WIDTHS["text_encoder_2"]})
            model_class(config).half().save_pretrained(target / part)
    return target
