"""Which pictures are trained on: few canonical layouts first, then positions, sizes, buckets and crops.

The order matters more than anything else on a small budget: with continuous sizes, positions and mirroring from the
start a tiny UNet learns coloured blobs; with finite layouts it learns shapes, and widening then keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image

from training.pictures import Layout, Pixels, Placement, Scenery
from training.subjects import BACKGROUNDS, SUBJECTS, Background, is_held_out

# SDXL's trained sizes (arXiv:2307.01952, appendix I) that its users pick, divided by four; (width, height)
NATIVE: tuple[int, int] = (256, 256)
BUCKETS: tuple[tuple[int, int], ...] = (
    (288, 224),
    (224, 288),
    (304, 208),
    (208, 304),
    (336, 192),
    (192, 336),
    (384, 160),
    (160, 384),
)
CANONICAL_SIZES: tuple[float, ...] = (0.5, 0.7, 0.7, 0.9)
SMALL_BELOW = 0.56
LARGE_FROM = 0.82
SINGLE_SHARE = 0.68
SUBJECT_NAMES: tuple[str, ...] = tuple(SUBJECTS)


@dataclass(frozen=True)
class Conditioning:
    """SDXL's micro-conditioning of one picture (arXiv:2307.01952, section 2.2), heights first, in pixels."""

    original_size: tuple[int, int]
    crops_coords_top_left: tuple[int, int]
    target_size: tuple[int, int]

    @property
    def time_ids(self) -> tuple[int, ...]:
        """The six numbers of `add_time_ids`."""
        return (*self.original_size, *self.crops_coords_top_left, *self.target_size)


@lru_cache(maxsize=4)
def trainable_pairs(held_out_percent: int) -> tuple[tuple[str, Background], ...]:
    """List the subject and background pairs that training may show."""
    return tuple(
        (subject, background)
        for subject, background in product(SUBJECTS, BACKGROUNDS)
        if not is_held_out(subject, background, held_out_percent)
    )


def held_out_pairs(held_out_percent: int) -> list[tuple[str, Background]]:
    """List the pairs that training never shows."""
    return [
        (subject, background)
        for subject, background in product(SUBJECTS, BACKGROUNDS)
        if is_held_out(subject, background, held_out_percent)
    ]


def canonical_single(subject: str, background: Background, size: float, rng: np.random.Generator) -> Layout:
    """Place one subject in the middle of the native canvas, in one of the canonical sizes."""
    y = 0.58 if background.kind == "scene" and size < LARGE_FROM else 0.5
    return Layout(*NATIVE, background, (Placement(subject, 0.5, y, size),), Scenery(tint=_tint(rng, 3)))


def canonical_pair(subjects: tuple[str, str], background: Background, rng: np.random.Generator) -> Layout:
    """Place two subjects side by side, the first one on the left."""
    y = 0.56 if background.kind == "scene" else 0.5
    left, right = (Placement(name, x, y, 0.45) for name, x in zip(subjects, (0.26, 0.74), strict=True))
    return Layout(*NATIVE, background, (left, right), Scenery(tint=_tint(rng, 3)))


def canonical_layouts(pairs_of_subjects: int, held_out_percent: int, rng: np.random.Generator) -> list[Layout]:
    """List every canonical picture with one subject, and `pairs_of_subjects` with two."""
    singles = [
        canonical_single(subject, background, size, rng)
        for subject, background in trainable_pairs(held_out_percent)
        for size in CANONICAL_SIZES
    ]
    return singles + [canonical_pair(*_two_subjects(held_out_percent, rng), rng=rng) for _ in range(pairs_of_subjects)]


def wide_layout(width: int, height: int, held_out_percent: int, rng: np.random.Generator) -> Layout:
    """Draw a layout at random: any size and position of one subject, or two subjects."""
    scenery = Scenery(
        horizon=rng.uniform(0.54, 0.66),
        wave_height=rng.uniform(0, 6),
        wave_count=rng.uniform(1, 4),
        wave_phase=rng.uniform(0, 6),
        tint=_tint(rng, 4),
        speck_seed=int(rng.integers(1 << 16)),
    )
    if rng.random() < SINGLE_SHARE:
        subject, background = _one_subject(held_out_percent, rng)
        size = float(rng.choice((rng.uniform(0.45, 0.55), rng.uniform(0.58, 0.8), rng.uniform(0.84, 0.94))))
        reach_x, reach_y = (1 - size * min(width, height) / side for side in (width, height))
        shift = rng.uniform(-0.45, 0.45) if rng.random() < 0.6 else 0.0
        drop = 0.06 if background.kind == "scene" else rng.uniform(-0.2, 0.2)
        placement = Placement(subject, 0.5 + shift * reach_x, 0.5 + drop * reach_y, size)
        return Layout(width, height, background, (placement,), scenery)
    subjects, background = _two_subjects(held_out_percent, rng)
    y = 0.56 if background.kind == "scene" else 0.5
    size = min(0.45 * width, 0.8 * height) / min(width, height) * rng.uniform(0.9, 1)
    left, right = (Placement(name, x, y, size) for name, x in zip(subjects, (0.26, 0.74), strict=True))
    return Layout(width, height, background, (left, right), scenery)


def canvas_with_margin(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, tuple[int, int]]:
    """Choose a larger canvas to cut the picture from: canvas width and height, and (top, left) of the cut."""
    if rng.random() < 0.6:
        return width, height, (0, 0)
    canvas_width, canvas_height = width + 8 * int(rng.integers(1, 11)), height + 8 * int(rng.integers(1, 11))
    top, left = int(rng.integers(canvas_height - height + 1)), int(rng.integers(canvas_width - width + 1))
    return canvas_width, canvas_height, (top, left)


def reduce_resolution(pixels: Pixels, share: float) -> Pixels:
    """Lose detail as an upscaled small original does; `share` is the original's side over the picture's."""
    image = Image.fromarray(pixels)
    small = image.resize(
        (max(8, int(image.width * share)), max(8, int(image.height * share))), Image.Resampling.BILINEAR
    )
    return np.asarray(small.resize(image.size, Image.Resampling.BILINEAR))


def _tint(rng: np.random.Generator, deviation: float) -> tuple[float, float, float]:
    red, green, blue = rng.normal(0, deviation, 3)
    return float(red), float(green), float(blue)


def _one_subject(held_out_percent: int, rng: np.random.Generator) -> tuple[str, Background]:
    pairs = trainable_pairs(held_out_percent)
    return pairs[int(rng.integers(len(pairs)))]


def _two_subjects(held_out_percent: int, rng: np.random.Generator) -> tuple[tuple[str, str], Background]:
    while True:
        first, second = (SUBJECT_NAMES[int(index)] for index in rng.choice(len(SUBJECT_NAMES), 2, replace=False))
        background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
        if not any(is_held_out(name, background, held_out_percent) for name in (first, second)):
            return (first, second), background
