"""Pictures to latents and back, for any of diffusers' autoencoders; the one place that knows their loose types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from training.pictures import Pixels

Autoencoder = AutoencoderKL | AutoencoderTiny


def load_autoencoder(folder: Path) -> Autoencoder:
    """Load a KL or a tiny autoencoder, frozen and in fp32, by the class that its config names."""
    name = json.loads((folder / "config.json").read_text("utf-8"))["_class_name"]
    kind = AutoencoderTiny if name == "AutoencoderTiny" else AutoencoderKL
    return kind.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


def to_tensor(pixels: Pixels) -> Tensor:
    """Turn (batch, height, width, 3) uint8 into (batch, 3, height, width), -1..1, channels_last."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)


def to_pixels(tensor: Tensor) -> Pixels:
    """Turn (batch, 3, height, width), -1..1, into (batch, height, width, 3) uint8."""
    return ((tensor.float().permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy()


def psnr(output: Tensor, target: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of pictures in -1..1."""
    error = (output.float().clamp(-1, 1) - target).div(2).square().mean((1, 2, 3))
    return float((-10 * torch.log10(error)).mean())


def scaling_factor(autoencoder: Autoencoder) -> float:
    """Return what the latents are multiplied by before a UNet sees them."""
    return float(cast(Any, autoencoder.config).scaling_factor)


def encode(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Encode pictures into unscaled latents, the mean of the posterior: (batch, 4, height / 8, width / 8)."""
    encoded = cast(Any, autoencoder).encode(pictures)
    return encoded.latents if isinstance(autoencoder, AutoencoderTiny) else encoded.latent_dist.mode()


def decode(autoencoder: Autoencoder, latents: Tensor) -> Tensor:
    """Decode unscaled latents into pictures: (batch, 3, 8 * height, 8 * width), about -1..1."""
    return cast(Any, autoencoder).decode(latents).sample
