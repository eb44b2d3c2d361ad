"""Which pictures are trained on: few canonical layouts first, then positions, sizes, buckets and crops.

The order matters more than anything else on a small budget: with continuous sizes, positions and mirroring from the
start a tiny UNet learns coloured blobs; with finite layouts it learns shapes, and widening then keeps them. What a
caption leaves unsaid is canonical: the middle, the middle size, the subject's own colour, no style.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from training.backdrops import MARGIN, Scenery
from training.pictures import Layout, Placement
from training.subjects import (
    BACKGROUNDS,
    STYLES,
    SUBJECT_COLOURS,
    SUBJECTS,
    Background,
    BackgroundKind,
    is_colour_held_out,
    is_held_out,
)

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
SMALL, MIDDLE, LARGE, ASIDE, PAIRED = 0.46, 0.7, 0.92, 0.52, 0.46
SMALL_BELOW = 0.56
LARGE_FROM = 0.82
LEFT, RIGHT = 0.27, 0.73
SUBJECT_NAMES: tuple[str, ...] = tuple(SUBJECTS)
KIND_SHARES: dict[BackgroundKind, float] = {"plain": 0.44, "gradient": 0.14, "checked": 0.14, "scene": 0.28}


@dataclass(frozen=True)
class Mix:
    """How often a picture has what: shares of all pictures, `repainted` of the subjects that can be.

    Styles and crops are for pictures of one subject, as two are small already.
    free: any size, place and scenery instead of the canonical ones.
    """

    two_subjects: float
    sized: float
    aside: float
    repainted: float
    styled: float
    soft: float = 0.0
    detailed: float = 0.0
    cropped: float = 0.0
    free: float = 0.0


MIXES: dict[str, Mix] = {
    "shapes": Mix(two_subjects=0.06, sized=0.2, aside=0.06, repainted=0.3, styled=0.12),
    "words": Mix(0.18, sized=0.26, aside=0.1, repainted=0.35, styled=0.22, soft=0.04, detailed=0.04, cropped=0.04),
    "wide": Mix(0.22, 0.28, 0.12, 0.35, styled=0.2, soft=0.08, detailed=0.1, cropped=0.15, free=0.5),
    "last": Mix(0.24, 0.26, 0.12, 0.35, styled=0.42, soft=0.1, detailed=0.1, cropped=0.25, free=0.4),
}


@dataclass(frozen=True)
class HeldOut:
    """Percentages of pairs that training never shows: subject and background, subject and new colour."""

    backgrounds: int = 12
    colours: int = 8


def held_out_pairs(percent: int) -> list[tuple[str, Background]]:
    """List the pairs of subject and background that training never shows."""
    pairs = product(SUBJECTS, BACKGROUNDS)
    return [(subject, background) for subject, background in pairs if is_held_out(subject, background, percent)]


def canonical_single(subject: str, background: Background, size: float = MIDDLE, colour: str = "") -> Layout:
    """Place one subject in the middle of the native canvas."""
    return Layout(*NATIVE, background, (Placement(subject, 0.5, _height(background, size), size, colour),))


def sample_layout(mix: Mix, width: int, height: int, held_out: HeldOut, rng: np.random.Generator) -> Layout:
    """Draw a layout at random from a mix."""
    free = rng.random() < mix.free
    background = _choose_background(rng)
    if rng.random() < mix.two_subjects:
        placements = _two_placements(background, mix, (width, height), held_out, rng)
    else:
        subject = _choose_subject(background, held_out, rng)
        colour = _choose_colour(subject, mix.repainted, held_out, rng)
        placements = (_one_placement(subject, colour, background, mix, free, rng),)
    scenery = Scenery(int(rng.integers(1, 4)) if free else 0, _tint(rng, 3))
    styled = len(placements) == 1 and rng.random() < mix.styled
    style = STYLES[int(rng.integers(len(STYLES)))] if styled else ""
    crop, detail = (0, 0), 1.0
    if len(placements) == 1 and rng.random() < mix.cropped:
        crop = _choose_crop(width, height, rng)
    if not styled and (draw := rng.random()) < mix.soft + mix.detailed:
        detail = float(rng.choice((0.125, 0.2, 0.25, 0.35, 0.5) if draw < mix.soft else (1.5, 2, 3, 4)))
    return Layout(width, height, background, placements, style, scenery, crop, detail)


def _one_placement(
    subject: str, colour: str, background: Background, mix: Mix, free: bool, rng: np.random.Generator
) -> Placement:
    draw = rng.random()
    if draw < mix.aside:
        x = LEFT if rng.random() < 0.5 else RIGHT
        size = rng.uniform(0.44, 0.56) if free else ASIDE
        x += rng.uniform(-0.05, 0.05) if free else 0.0
        return Placement(subject, x, _height(background, size), size, colour)
    sized = draw < mix.aside + mix.sized
    is_small = rng.random() < 0.5
    if free:
        bounds = ((0.42, 0.52) if is_small else (0.86, 0.95)) if sized else (0.6, 0.78)
        size = float(rng.uniform(*bounds))
        x, y = 0.5 + rng.uniform(-0.06, 0.06), _height(background, size) + rng.uniform(-0.05, 0.05)
        return Placement(subject, x, y, size, colour)
    size = (SMALL if is_small else LARGE) if sized else MIDDLE
    return Placement(subject, 0.5, _height(background, size), size, colour)


def _two_placements(
    background: Background, mix: Mix, size: tuple[int, int], held_out: HeldOut, rng: np.random.Generator
) -> tuple[Placement, Placement]:
    """Place two subjects side by side, the first one on the left."""
    width, height = size
    first = _choose_subject(background, held_out, rng)
    while (second := _choose_subject(background, held_out, rng)) == first:
        pass
    side = min(PAIRED * width, 0.8 * height) / min(width, height)
    y = _height(background, PAIRED)
    colours = [_choose_colour(subject, mix.repainted / 2, held_out, rng) for subject in (first, second)]
    return Placement(first, LEFT, y, side, colours[0]), Placement(second, RIGHT, y, side, colours[1])


def _height(background: Background, size: float) -> float:
    """Stand subjects on the ground of a scene, unless they fill the picture."""
    return 0.58 if background.kind == "scene" and size < LARGE_FROM else 0.5


def _choose_background(rng: np.random.Generator) -> Background:
    kind = rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values()))
    members = [background for background in BACKGROUNDS if background.kind == kind]
    return members[int(rng.integers(len(members)))]


def _choose_subject(background: Background, held_out: HeldOut, rng: np.random.Generator) -> str:
    while True:
        subject = SUBJECT_NAMES[int(rng.integers(len(SUBJECT_NAMES)))]
        if not is_held_out(subject, background, held_out.backgrounds):
            return subject


def _choose_colour(subject: str, share: float, held_out: HeldOut, rng: np.random.Generator) -> str:
    if not SUBJECTS[subject].repaint or rng.random() >= share:
        return ""
    colours = [name for name in SUBJECT_COLOURS if not is_colour_held_out(subject, name, held_out.colours)]
    return colours[int(rng.integers(len(colours)))]


def _choose_crop(width: int, height: int, rng: np.random.Generator) -> tuple[int, int]:
    """Cut off (top, left) pixels, as often at one side alone as at both, so that the two are told apart."""
    top, left = (8 * int(rng.integers(1, int(MARGIN * side) // 8 + 1)) for side in (height, width))
    return ((top, left), (top, left), (top, 0), (0, left))[int(rng.integers(4))]


def _tint(rng: np.random.Generator, deviation: float) -> tuple[float, float, float]:
    red, green, blue = rng.normal(0, deviation, 3)
    return float(red), float(green), float(blue)
