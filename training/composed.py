"""Composed pictures for what is not the base's training: the autoencoder, fits, judges and validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.layouts import MIXES, NATIVE, HeldOut, Mix, sample_layout
from training.pictures import Layout, Pixels, shared_painter

DRAW_BATCH = 16


def layouts(count: int, rng: np.random.Generator, mix: Mix = MIXES["wide"], side: int = NATIVE[0]) -> list[Layout]:
    """Choose square layouts of all subjects and backgrounds, held-out pairs too."""
    return [sample_layout(mix, side, side, HeldOut(0, 0), rng) for _ in range(count)]


def draw_all(chosen: list[Layout], folder: Path) -> Iterator[Pixels]:
    """Draw layouts of one size in batches of uint8 pictures: (up to 16, height, width, 3)."""
    painter = shared_painter(folder)
    for start in range(0, len(chosen), DRAW_BATCH):
        yield painter.pixels(chosen[start : start + DRAW_BATCH])


def composed(folder: Path, count: int, seed: int = 0, soft: bool = True) -> Pixels:
    """Draw composed pictures at native size: (count, 256, 256, 3); without `soft`, sharp ones only."""
    mix = MIXES["wide"] if soft else replace(MIXES["wide"], soft=0.0, cropped=0.0)
    return np.concatenate(list(draw_all(layouts(count, np.random.default_rng(seed), mix), folder)))
