"""Pools of encoded pictures: training reads latents, tokens and time ids, never pixels."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.autoencoder import encode, scaling_factor, to_tensor
from training.captions import caption
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import CONTEXT_LENGTH, Config
from training.layouts import (
    NATIVE,
    Conditioning,
    canonical_layouts,
    canvas_with_margin,
    reduce_resolution,
    wide_layout,
)
from training.pictures import Layout, Pixels, draw

logger = logging.getLogger(__name__)

ENCODE_BATCH = 32


@dataclass(frozen=True)
class Picture:
    """One training picture: pixels, several captions of it, and its time ids."""

    pixels: Pixels
    captions: list[str]
    time_ids: tuple[float, ...]


@dataclass(frozen=True)
class LatentPool:
    """Encoded pictures of one size.

    latents: (n, 4, height / 8, width / 8), fp16, already times the VAE's scaling_factor.
    time_ids: (n, 6), or (n, 5) for the refiner.
    tokens_1, tokens_2: (n, captions, 77), ids of the same captions in both tokenizers.
    """

    latents: Tensor
    time_ids: Tensor
    tokens_1: Tensor
    tokens_2: Tensor

    def __len__(self) -> int:
        return len(self.latents)


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Tensor:
    """Turn texts into ids: (len(texts), 77), padded and cut."""
    encoded = tokenizer(texts, padding="max_length", max_length=CONTEXT_LENGTH, truncation=True)
    return torch.tensor(encoded.input_ids)


def cached_pool(
    path: Path,
    pictures: Iterator[Picture],
    vae: AutoencoderKL,
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
) -> LatentPool:
    """Read a pool from its file, or draw and encode it and write the file."""
    if (state := load_checkpoint(path)) is not None:
        return LatentPool(**state)
    started = time.monotonic()
    pool = encode_pictures(pictures, vae, tokenizers)
    save_checkpoint(vars(pool), path)
    seconds = time.monotonic() - started
    logger.info("pool %s: %d pictures in %.0fs, std %.3f", path.stem, len(pool), seconds, pool.latents.float().std())
    return pool


@torch.inference_mode()
def encode_pictures(
    pictures: Iterator[Picture],
    vae: AutoencoderKL,
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
) -> LatentPool:
    """Encode pictures of one size into a pool."""
    latents, time_ids, tokens_1, tokens_2 = [], [], [], []
    while batch := list(islice(pictures, ENCODE_BATCH)):
        pixels = to_tensor(np.stack([picture.pixels for picture in batch])).to(vae.device)
        with torch.autocast(vae.device.type, torch.bfloat16):
            mean = encode(vae, pixels)
        latents.append((mean.float() * scaling_factor(vae)).half().cpu())
        time_ids += [picture.time_ids for picture in batch]
        for picture in batch:
            tokens_1.append(tokenize(tokenizers[0], picture.captions).short())
            tokens_2.append(tokenize(tokenizers[1], picture.captions).short())
    return LatentPool(torch.cat(latents), torch.tensor(time_ids).float(), torch.stack(tokens_1), torch.stack(tokens_2))


def canonical_pictures(config: Config, folder: Path, half_size: bool) -> Iterator[Picture]:
    """Draw every canonical layout once, at 256x256 or at half of it."""
    rng = np.random.default_rng(config.data.seed)
    side = NATIVE[0] // 2 if half_size else NATIVE[0]
    conditioning = Conditioning((side, side), (0, 0), (side, side))
    held_out = config.data.held_out_percent
    for layout in canonical_layouts(config.base.two_subject_pictures, held_out, rng):
        pixels = draw(layout, folder)
        if half_size:
            pixels = pixels.reshape(side, 2, side, 2, 3).mean((1, 3)).round().astype(np.uint8)
        yield Picture(pixels, _captions(layout, config, rng), conditioning.time_ids)


def bucket_pictures(config: Config, folder: Path, width: int, height: int, count: int) -> Iterator[Picture]:
    """Draw pictures of one bucket with varying layouts, crops and original sizes (SDXL, section 2.2)."""
    rng = np.random.default_rng((config.data.seed, width, height))
    for _ in range(count):
        canvas_width, canvas_height, (top, left) = width, height, (0, 0)
        if config.base.crop_conditioning:
            canvas_width, canvas_height, (top, left) = canvas_with_margin(width, height, rng)
        layout = wide_layout(canvas_width, canvas_height, config.data.held_out_percent, rng)
        pixels = draw(layout, folder)[top : top + height, left : left + width]
        share, blurred = 1.0, False
        if config.base.crop_conditioning and (choice := rng.random()) < 0.4:
            blurred = choice < 0.12
            share = rng.uniform(0.25, 0.5) if blurred else rng.uniform(1, 4)
        if blurred:
            pixels = reduce_resolution(pixels, share)
        original_size = (round(canvas_height * share), round(canvas_width * share))
        conditioning = Conditioning(original_size, (top, left), (height, width))
        yield Picture(pixels, _captions(layout, config, rng, blurred), conditioning.time_ids)


def _captions(layout: Layout, config: Config, rng: np.random.Generator, blurred: bool = False) -> list[str]:
    return [caption(layout, rng, blurred) for _ in range(config.base.captions_per_picture)]
