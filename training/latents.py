"""Encoded pictures: training reads latents, tokens and time ids, never pixels.

A source holds a window of shards. Now and then it draws and encodes a new shard and drops the oldest, so that the
pictures never run out, and no picture is held for longer than it is worth.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.autoencoder import encode, scaling_factor
from training.captions import caption
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import CONTEXT_LENGTH, Config
from training.layouts import MIXES, HeldOut, sample_layout
from training.pictures import Layout, Painter

logger = logging.getLogger(__name__)

ENCODE_BATCH = 16


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


@dataclass(frozen=True)
class Encoders:
    """What turns pictures and captions into a pool."""

    painter: Painter
    vae: AutoencoderKL
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Tensor:
    """Turn texts into ids: (len(texts), 77), padded and cut."""
    encoded = tokenizer(texts, padding="max_length", max_length=CONTEXT_LENGTH, truncation=True)
    return torch.tensor(encoded.input_ids)


@torch.inference_mode()
def encode_pictures(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Encode (n, 3, height, width), 0..1, into scaled latents in fp16 on the CPU."""
    pixels = (pictures * 2 - 1).contiguous(memory_format=torch.channels_last)
    with torch.autocast(vae.device.type, torch.bfloat16):
        mean = encode(vae, pixels)
    return (mean.float() * scaling_factor(vae)).half().cpu()


def encode_layouts(
    layouts: Sequence[Layout], captions: int, encoders: Encoders, rng: np.random.Generator
) -> LatentPool:
    """Draw, describe and encode layouts of one size."""
    waiting = iter(layouts)
    latents = []
    while batch := list(islice(waiting, ENCODE_BATCH)):
        latents.append(encode_pictures(encoders.vae, encoders.painter.draw(batch)))
    time_ids = torch.tensor([layout.time_ids for layout in layouts]).float()
    tokens = caption_tokens(layouts, captions, encoders.tokenizers, rng)
    return LatentPool(torch.cat(latents), time_ids, *tokens)


def caption_tokens(
    layouts: Sequence[Layout],
    captions: int,
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Describe each layout in several ways: ids of both tokenizers, each (n, captions, 77)."""
    texts = [caption(layout, rng) for layout in layouts for _ in range(captions)]
    shape = (len(layouts), captions, CONTEXT_LENGTH)
    return tokenize(tokenizers[0], texts).short().view(shape), tokenize(tokenizers[1], texts).short().view(shape)


def join_pools(pools: Iterable[LatentPool]) -> LatentPool:
    """Put pools of one size together."""
    return LatentPool(*(torch.cat(parts) for parts in zip(*(vars(pool).values() for pool in pools), strict=True)))


@dataclass(frozen=True)
class Window:
    """Which pictures a source makes, and how many it holds: `shards` of `shard` pictures each."""

    mix: str
    width: int
    height: int
    shard: int
    shards: int

    @property
    def name(self) -> str:
        """The name under which shards are kept and samples are counted."""
        return f"{self.mix}-{self.width}x{self.height}"


class PictureSource:
    """Pictures of one mix and size, in shards that are renewed as they are used."""

    def __init__(self, window: Window, config: Config, folder: Path, encoders: Encoders) -> None:
        self.window, self.config, self.folder, self.encoders = window, config, folder, encoders
        self.kept: dict[int, LatentPool] = {}
        self.joined: LatentPool | None = None

    def pool(self, samples: int) -> LatentPool:
        """Return the pictures to draw from after `samples` were drawn from this source."""
        newest = samples // (self.window.shard * self.config.base.uses_per_picture)
        wanted = range(max(0, newest - self.window.shards + 1), newest + 1)
        if self.joined is None or wanted[-1] not in self.kept:
            for number in set(self.kept) - set(wanted):
                del self.kept[number]
                self._path(number).unlink(missing_ok=True)
            for number in wanted:
                if number not in self.kept:
                    self.kept[number] = self._load(number)
            self.joined = join_pools(self.kept.values())
        return self.joined

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.window.name}-{number}.pt"

    def _load(self, number: int) -> LatentPool:
        if (state := load_checkpoint(self._path(number))) is not None:
            return LatentPool(**state)
        started = time.monotonic()
        data = self.config.data
        rng = np.random.default_rng((data.seed, zlib.crc32(self.window.name.encode()), number))
        held_out = HeldOut(data.held_out_percent, data.held_out_colours_percent)
        mix, width, height = MIXES[self.window.mix], self.window.width, self.window.height
        layouts = [sample_layout(mix, width, height, held_out, rng) for _ in range(self.window.shard)]
        pool = encode_layouts(layouts, self.config.base.captions_per_picture, self.encoders, rng)
        save_checkpoint(vars(pool), self._path(number))
        logger.info("pictures %s %d: %d in %.0fs", self.window.name, number, len(pool), time.monotonic() - started)
        return pool
