"""Simple measures of pictures: background, size, side, subject colour, sharpness. None of them is learnt.

Pictures are (256, 256, 3) uint8. What is not background is the subject: pixels that differ from the backdrop drawn for
the prompt. The thresholds are checked against composed pictures in the tests.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.backdrops import draw_backdrop
from training.layouts import LARGE_FROM, NATIVE, PAIRED, SMALL_BELOW, canonical_single
from training.pictures import Pixels, draw
from training.subjects import BACKGROUNDS, SUBJECT_COLOURS, SUBJECTS, Background

BORDER = 8
BANDS = 8
DIFFERENT = 36
SUBJECT_SHARE = 0.03
LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)

Side = Literal["left", "right"]


@lru_cache(maxsize=64)
def backdrop(background: Background) -> Pixels:
    """Draw the canonical backdrop without a subject."""
    width, height = NATIVE
    return draw_backdrop(background, width, height)[:, :height, :width].permute(1, 2, 0).numpy()


def border_profile(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Median colours of eight bands of the left and of the right border: (16, 3), 0..255."""
    sides = [pixels[:, :BORDER], pixels[:, -BORDER:]]
    bands = [band.reshape(-1, 3) for side in sides for band in np.array_split(side.astype(np.float32), BANDS)]
    return np.stack([np.median(band, axis=0) for band in bands])


@lru_cache(maxsize=1)
def _profiles() -> NDArray[np.float32]:
    return np.stack([border_profile(backdrop(background)) for background in BACKGROUNDS])


def name_background(pixels: Pixels) -> Background:
    """Name the background whose own border is nearest to the picture's; checks may begin with either of their tiles."""
    profile = border_profile(pixels)
    exchanged = np.concatenate([profile[BANDS:], profile[:BANDS]])  # left and right begin with different tiles
    straight, shifted = (np.abs(_profiles() - one).mean((1, 2)) for one in (profile, exchanged))
    is_checked = np.array([background.kind == "checked" for background in BACKGROUNDS])
    return BACKGROUNDS[int(np.argmin(np.where(is_checked, np.minimum(straight, shifted), straight)))]


def colour_share(pixels: Pixels, colour: tuple[int, int, int]) -> float:
    """Share of the pixels that are near a colour, 0..1."""
    return float((np.abs(pixels.astype(np.int16) - np.array(colour)).max(-1) < DIFFERENT).mean())


def subject_mask(pixels: Pixels, background: Background) -> NDArray[np.bool_]:
    """Find the pixels that are not the background: (256, 256)."""
    difference = np.abs(pixels.astype(np.int16) - backdrop(background).astype(np.int16)).max(-1)
    return difference > DIFFERENT


def stands_on(pixels: Pixels, background: Background) -> bool:
    """Say whether the background is the one asked for and something is on it; nothing else can be measured without."""
    return bool(subject_mask(pixels, background).mean() > SUBJECT_SHARE) and name_background(pixels) == background


def extent(mask: NDArray[np.bool_]) -> float:
    """The longer side of the box that holds all but the outermost of a mask, as a share of the picture's side."""
    sides = []
    for axis in (0, 1):
        counts = mask.sum(axis)
        places = np.flatnonzero(counts > 0.02 * mask.shape[0])
        sides.append((places[-1] - places[0] + 1) / mask.shape[1 - axis] if len(places) else 0.0)
    return float(max(sides))


def size_word(pixels: Pixels, background: Background) -> str:
    """Say `small`, `large` or nothing about a subject's extent."""
    if not stands_on(pixels, background):
        return ""
    size = extent(subject_mask(pixels, background))
    return "small" if size < SMALL_BELOW + 0.03 else "large" if size >= LARGE_FROM else ""


def centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The middle of a mask as shares of the picture: (x, y); the picture's own middle if the mask is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.5, 0.5
    return float(columns.mean() + 0.5) / mask.shape[1], float(rows.mean() + 0.5) / mask.shape[0]


def side_word(pixels: Pixels, background: Background) -> str:
    """Say `left`, `right` or nothing about a subject's place."""
    if not stands_on(pixels, background):
        return ""
    x, _ = centre(subject_mask(pixels, background))
    return "left" if x < 0.42 else "right" if x > 0.58 else ""


def name_colour(pixels: Pixels, subject: str, background: Background, folder: Path) -> str:
    """Name the colour whose repainted subject is nearest to the picture's in the mean colour of the subject.

    The subject's own colour is always among the candidates, so that an unchanged subject is named by it.
    """
    if not stands_on(pixels, background):
        return ""
    mean = pixels[subject_mask(pixels, background)].mean(0)
    references = _painted_means(subject, background, folder)
    return min(references, key=lambda colour: float(np.abs(references[colour] - mean).sum()))


@lru_cache(maxsize=256)
def _painted_means(subject: str, background: Background, folder: Path) -> dict[str, NDArray[np.floating]]:
    """Draw the subject in every colour: its mean colour where it differs from the background."""
    means = {}
    for colour in {*SUBJECT_COLOURS, SUBJECTS[subject].colour}:
        painted = colour if colour in SUBJECT_COLOURS else ""
        reference = draw(canonical_single(subject, background, colour=painted), folder)
        mask = subject_mask(reference, background)
        if mask.any():
            means[colour] = reference[mask].mean(0)
    return means


def half(pixels: Pixels, background: Background, side: Side) -> Pixels:
    """Cut the square in which one of two subjects stands, which is lower in a scene: (128, 128, 3)."""
    width, height = NATIVE
    y = canonical_single("", background, PAIRED).placements[0].y
    return square(pixels, 0 if side == "left" else width // 2, round(y * height))


def square(pixels: Pixels, left: int, middle: int) -> Pixels:
    """Cut a square as wide as half the picture, centred on row `middle` as far as the picture goes."""
    side = pixels.shape[1] // 2
    top = min(max(middle - side // 2, 0), pixels.shape[0] - side)
    return pixels[top : top + side, left : left + side]


def sharpness(pixels: Pixels) -> float:
    """Root mean square difference of neighbouring pixels, in grey levels; a soft edge counts less than a hard one."""
    grey = pixels.astype(np.float32) @ LUMINANCE
    return float(np.sqrt(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean()))
