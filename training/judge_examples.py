"""What the judge learns from: composed pictures, halves of pictures of two subjects, and pictures of nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.backdrops import draw_backdrop
from training.composed import draw_all, layouts
from training.config import JudgeConfig
from training.layouts import MIXES, NATIVE
from training.measures import half
from training.pictures import Layout, Pixels

NOTHING = "nothing"
NOTHING_SHARE = 0.06
HALVES_SHARE = 0.15
DRAWN_SIDE = 128
SINGLE = replace(MIXES["wide"], two_subjects=0.0, aside=0.0, styled=0.0, soft=0.0, detailed=0.0, cropped=0.0)
PAIR = replace(SINGLE, two_subjects=1.0)


@dataclass(frozen=True)
class Example:
    """A square picture, what the judge should say of it, and the kind: `subject`, `half` or `nothing`."""

    picture: Pixels
    answer: str
    kind: str


def draw_examples(settings: JudgeConfig, folder: Path, rng: np.random.Generator) -> Iterator[Example]:
    """Draw the configured number of examples, slightly blurred as the autoencoder's pictures are."""
    halves = int(settings.pictures * HALVES_SHARE)
    for example in chain(_singles(settings.pictures - halves, folder, rng), _halves(halves, folder, rng)):
        yield replace(example, picture=_blurred(example.picture, rng.uniform(0, 1)))


def _singles(count: int, folder: Path, rng: np.random.Generator) -> Iterator[Example]:
    chosen = layouts(count, rng, SINGLE, DRAWN_SIDE)
    waiting = iter(chosen)
    for pictures in draw_all(chosen, folder):
        for picture in pictures:
            layout = next(waiting)
            if rng.random() < NOTHING_SHARE:
                yield Example(draw_nothing(picture, layout, rng), NOTHING, NOTHING)
            else:
                yield Example(picture, layout.placements[0].subject, "subject")


def _halves(count: int, folder: Path, rng: np.random.Generator) -> Iterator[Example]:
    """Cut both halves of native pictures; now and then one of the two subjects is missing."""
    chosen = []
    for layout in layouts(count // 2, rng, PAIR, NATIVE[0]):
        draw = rng.random()
        kept = slice(1, 2) if draw < NOTHING_SHARE else slice(0, 1) if draw < 2 * NOTHING_SHARE else slice(0, 2)
        chosen.append(replace(layout, placements=layout.placements[kept]))
    waiting = iter(chosen)
    for pictures in draw_all(chosen, folder):
        for picture in pictures:
            layout = next(waiting)
            there = {("left" if place.x < 0.5 else "right"): place.subject for place in layout.placements}
            for side in ("left", "right"):
                part = half(picture, layout.background, side)
                yield Example(part, there.get(side, NOTHING), "half" if side in there else NOTHING)


def draw_nothing(picture: Pixels, layout: Layout, rng: np.random.Generator) -> Pixels:
    """Draw a picture of nothing: a subject blurred until its shape is gone, an ellipse, or the empty background."""
    choice = rng.random()
    if choice < 0.4:
        return _blurred(picture, rng.uniform(5, 12))
    backdrop = draw_backdrop(layout.background, DRAWN_SIDE, DRAWN_SIDE, layout.scenery.variant)
    canvas = Image.fromarray(backdrop[:, :DRAWN_SIDE, :DRAWN_SIDE].permute(1, 2, 0).numpy())
    if choice < 0.8:
        centre, radii = rng.uniform(50, 78, 2), rng.uniform(20, 55, 2)
        box = [*(centre - radii), *(centre + radii)]
        ImageDraw.Draw(canvas).ellipse(box, fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    return _blurred(np.asarray(canvas), rng.uniform(0.3, 3))


def _blurred(picture: Pixels, deviation: float) -> Pixels:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(deviation)))
