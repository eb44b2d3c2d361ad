"""Simple measures of pictures: background, size, side, subject colour, style, sharpness. None of them is learnt.

Pictures are (256, 256, 3) uint8. What is not background is the subject: pixels that differ from the backdrop drawn for
the prompt. The thresholds are checked against composed pictures in the tests.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.backdrops import draw_backdrop
from training.layouts import LARGE_FROM, NATIVE, SMALL_BELOW, canonical_single
from training.pictures import Pixels, draw
from training.styles import ART_PIXELS, DARK, FRAME_COLOUR, FRAME_SHARE, SEPIA
from training.subjects import BACKGROUNDS, SUBJECT_COLOURS, Background, Style

BORDER = 8
BANDS = 8
DIFFERENT = 36
GREY_CHROMA = 12
SEPIA_ERROR = 14
BLOCK_CONTRAST = 1.75
FRAME_ERROR = 26
THICK_SHARE = 0.5
INK_CHROMA = 48
FLAT_SPREAD = 40
BLURRY_SHARPNESS = 0.6
LUMINANCE = np.array((0.299, 0.587, 0.114), np.float32)


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


def name_background(pixels: Pixels) -> Background:
    """Name the background whose own border is nearest to the picture's."""
    profile = border_profile(pixels)
    distances = [np.abs(border_profile(backdrop(background)) - profile).mean() for background in BACKGROUNDS]
    return BACKGROUNDS[int(np.argmin(distances))]


def colour_share(pixels: Pixels, colour: tuple[int, int, int]) -> float:
    """Share of the pixels that are near a colour, 0..1."""
    return float((np.abs(pixels.astype(np.int16) - np.array(colour)).max(-1) < DIFFERENT).mean())


def subject_mask(pixels: Pixels, background: Background) -> NDArray[np.bool_]:
    """Find the pixels that are not the background: (256, 256)."""
    difference = np.abs(pixels.astype(np.int16) - backdrop(background).astype(np.int16)).max(-1)
    return difference > DIFFERENT


def extent(mask: NDArray[np.bool_]) -> float:
    """The longer side of the box that holds all but the outermost of a mask, as a share of the picture's side."""
    sides = []
    for axis in (0, 1):
        counts = mask.sum(axis)
        places = np.flatnonzero(counts > 0.02 * mask.shape[0])
        sides.append((places[-1] - places[0] + 1) / mask.shape[1 - axis] if len(places) else 0.0)
    return float(max(sides))


def size_word(mask: NDArray[np.bool_]) -> str:
    """Say `small`, `large` or nothing about a subject's extent."""
    size = extent(mask)
    return "small" if size < SMALL_BELOW + 0.03 else "large" if size >= LARGE_FROM else ""


def centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The middle of a mask as shares of the picture: (x, y); the picture's own middle if the mask is empty."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.5, 0.5
    return float(columns.mean() + 0.5) / mask.shape[1], float(rows.mean() + 0.5) / mask.shape[0]


def side_word(mask: NDArray[np.bool_]) -> str:
    """Say `left`, `right` or nothing about a subject's place."""
    x, _ = centre(mask)
    return "left" if x < 0.42 else "right" if x > 0.58 else ""


def name_colour(pixels: Pixels, subject: str, background: Background, folder: Path) -> str:
    """Name the colour whose repainted subject is nearest to the picture's in the mean colour of the subject."""
    seen = pixels[subject_mask(pixels, background)]
    if not len(seen):
        return ""
    mean = seen.mean(0)
    distances = {}
    for colour in SUBJECT_COLOURS:
        reference = draw(canonical_single(subject, background, colour=colour), folder)
        mask = subject_mask(reference, background)
        if mask.any():
            distances[colour] = float(np.abs(reference[mask].mean(0) - mean).sum())
    return min(distances, key=lambda colour: distances[colour])


def sharpness(pixels: Pixels) -> float:
    """Root mean square difference of neighbouring pixels, in grey levels; a soft edge counts less than a hard one."""
    grey = pixels.astype(np.float32) @ LUMINANCE
    return float(np.sqrt(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean()))


def has_style(pixels: Pixels, style: Style, background: Background, sharp: float) -> bool:
    """Say whether a picture shows a style, by that style's own measure; `sharp` is the sharpness it has without."""
    colours = pixels.astype(np.float32)
    if style == "black and white":
        return float((colours.max(-1) - colours.min(-1)).mean()) < GREY_CHROMA
    if style == "sepia":
        toned = (colours @ LUMINANCE)[..., None] * (np.array(SEPIA).sum(1) / _sepia_light())
        return bool(np.abs(toned.clip(0, 255) - colours).mean() < SEPIA_ERROR) and not has_style(
            pixels, "black and white", background, sharp
        )
    if style == "pixel art":
        return _block_contrast(colours) > BLOCK_CONTRAST
    if style == "poster":
        frame = round(FRAME_SHARE * NATIVE[0]) - 4
        edge = np.concatenate([colours[:frame].reshape(-1, 3), colours[-frame:].reshape(-1, 3)])
        return float(np.abs(np.median(edge, 0) - 255 * np.array(FRAME_COLOUR)).max()) < FRAME_ERROR
    if style == "blurry":
        return sharpness(pixels) < BLURRY_SHARPNESS * sharp
    mask = subject_mask(pixels, background)
    if mask.mean() < 0.005 or name_background(pixels) != background:
        return False
    is_thick = _eroded_share(mask) > THICK_SHARE
    inked = colours[mask]
    light = inked @ LUMINANCE
    is_dark = float(np.median(backdrop(background) @ LUMINANCE)) < 255 * DARK
    strongest = inked[light >= np.percentile(light, 70)] if is_dark else inked[light <= np.percentile(light, 30)]
    is_grey = float(np.median(strongest.max(-1) - strongest.min(-1))) < INK_CHROMA
    if style == "line drawing":
        return is_grey and not is_thick
    return is_grey and is_thick and float(np.ptp(np.percentile(light, (25, 75)))) < FLAT_SPREAD


def _sepia_light() -> float:
    return float(np.array(SEPIA).sum(1) @ LUMINANCE)


def _block_contrast(colours: NDArray[np.float32]) -> float:
    """Mean step between neighbours across the borders of pixel art's blocks, over the mean step elsewhere."""
    side = NATIVE[0]
    grey = colours.mean(-1)
    steps = np.abs(np.diff(grey, axis=1)).sum(0) + np.abs(np.diff(grey, axis=0)).sum(1)
    borders = np.ceil(np.arange(1, ART_PIXELS) * side / ART_PIXELS).astype(int) - 1
    at_border = np.zeros(side - 1, bool)
    at_border[borders] = True
    return float(steps[at_border].mean() / max(steps[~at_border].mean(), 1e-6))


def _eroded_share(mask: NDArray[np.bool_]) -> float:
    """Share of a mask that is left when seven pixels are taken off all around."""
    left = mask
    for _ in range(7):
        padded = np.pad(left, 1)
        left = left & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return float(left.sum() / max(mask.sum(), 1))


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a share, in percent."""
    if not count:
        return 0.0, 100.0
    z = 1.96
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return round(100 * max(0.0, middle - reach), 1), round(100 * min(1.0, middle + reach), 1)
