"""One simple measure for each style, of pictures of one subject on a plain background: (256, 256, 3) uint8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.layouts import NATIVE
from training.measures import BORDER, LUMINANCE, backdrop, name_background, sharpness, subject_mask
from training.pictures import Pixels
from training.styles import ART_BLOCK, DARK, FRAME_COLOUR, FRAME_SHARE, SEPIA
from training.subjects import SUBJECTS, Background, Style

VISIBLE, VISIBLE_SHARE = 18, 0.03
FRAME = round(FRAME_SHARE * NATIVE[0])
FRAME_ERROR = 26
GREY_CHROMA = 24
SEPIA_ERROR, SEPIA_OVER_GREY = 14, 0.6
BLOCK_CONTRAST = 1.75
THICK_SHARE = 0.5
INK, INK_ON_DARK, INK_CHROMA = 10, 245, 48
INK_ERROR, INKED_SHARE = 45, 0.75
BLURRY_SHARPNESS = 0.6


def has_style(pixels: Pixels, style: Style, background: Background, sharp: float) -> bool:
    """Say whether a picture shows a style, by that style's own measure; `sharp` is the sharpness it has without.

    A picture in which nothing stands out from its border has no style.
    """
    inside = pixels[FRAME:-FRAME, FRAME:-FRAME] if style == "poster" else pixels
    if _differing(inside).mean() < VISIBLE_SHARE:
        return False
    if style == "blurry":
        return sharpness(pixels) < BLURRY_SHARPNESS * sharp
    return _MEASURES[style](pixels, background)


def can_show(style: Style, subject: str, background: Background) -> bool:
    """Say whether a style changes this picture at all: grey ones stay as they are in black and white.

    A poster's frame is nearly white, and cannot be told from a white background.
    """
    greys = ("white", "gray", "black")
    if style == "black and white":
        return background.name not in greys
    if style == "poster":
        return background.name != "white"
    return style not in ("sepia", "silhouette") or SUBJECTS[subject].colour not in greys


def _differing(pixels: Pixels) -> NDArray[np.bool_]:
    """Find what differs from the median colour of the picture's own border: what stands on a plain background."""
    values = pixels.astype(np.int16)
    edges = (values[:BORDER], values[-BORDER:], values[:, :BORDER], values[:, -BORDER:])
    ground = np.median(np.concatenate([edge.reshape(-1, 3) for edge in edges]), axis=0)
    return np.abs(values - ground).max(-1) > VISIBLE


def _is_grey(pixels: Pixels, background: Background) -> bool:
    chroma = pixels.max(-1).astype(np.int16) - pixels.min(-1)
    return bool(np.percentile(chroma, 97) < GREY_CHROMA)


def _is_sepia(pixels: Pixels, background: Background) -> bool:
    """Compare the subject with its own light in sepia and in grey, as backgrounds may be dark or toned anyway."""
    colours = pixels[_differing(pixels)].astype(np.float32)
    tone = np.array(SEPIA, np.float32).sum(1)
    light = (colours @ LUMINANCE)[:, None]
    error = float(np.abs((light * tone / (tone @ LUMINANCE)).clip(0, 255) - colours).mean())
    return error < SEPIA_ERROR and error < SEPIA_OVER_GREY * float(np.abs(light - colours).mean())


def _is_pixel_art(pixels: Pixels, background: Background) -> bool:
    """Compare the mean step between neighbours across the borders of blocks with the mean step elsewhere."""
    side = NATIVE[0]
    grey = pixels.astype(np.float32).mean(-1)
    steps = np.abs(np.diff(grey, axis=1)).sum(0) + np.abs(np.diff(grey, axis=0)).sum(1)
    at_border = np.zeros(side - 1, bool)
    at_border[ART_BLOCK - 1 :: ART_BLOCK] = True
    return bool(steps[at_border].mean() / max(steps[~at_border].mean(), 1e-6) > BLOCK_CONTRAST)


def _is_poster(pixels: Pixels, background: Background) -> bool:
    frame = FRAME - 4
    edge = np.concatenate([pixels[:frame].reshape(-1, 3), pixels[-frame:].reshape(-1, 3)])
    return float(np.abs(np.median(edge, 0) - 255 * np.array(FRAME_COLOUR)).max()) < FRAME_ERROR


def _is_line_drawing(pixels: Pixels, background: Background) -> bool:
    """Grey lines: what differs from the background is thin, and its strongest part has no colour."""
    mask = subject_mask(pixels, background)
    if not mask.any() or name_background(pixels) != background or _thickness(mask) > THICK_SHARE:
        return False
    inked = pixels[mask].astype(np.float32)
    light = inked @ LUMINANCE
    is_strong = light >= np.percentile(light, 70) if _is_dark(background) else light <= np.percentile(light, 30)
    strongest = inked[is_strong]
    return float(np.median(strongest.max(-1) - strongest.min(-1))) < INK_CHROMA


def _is_silhouette(pixels: Pixels, background: Background) -> bool:
    """Thick, and nearly all of it in the one ink: dark on light backgrounds, light on dark ones."""
    mask = subject_mask(pixels, background)
    if not mask.any() or name_background(pixels) != background or _thickness(mask) <= THICK_SHARE:
        return False
    ink = INK_ON_DARK if _is_dark(background) else INK
    near = np.abs(pixels[mask].astype(np.int16) - ink).max(-1) < INK_ERROR
    return bool(near.mean() > INKED_SHARE)


def _is_dark(background: Background) -> bool:
    return float(np.median(backdrop(background) @ LUMINANCE)) < 255 * DARK


def _thickness(mask: NDArray[np.bool_]) -> float:
    """Share of a mask that is left when seven pixels are taken off all around."""
    left = mask
    for _ in range(7):
        padded = np.pad(left, 1)
        left = left & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return float(left.sum() / max(mask.sum(), 1))


_MEASURES: dict[Style, Callable[[Pixels, Background], bool]] = {
    "black and white": _is_grey,
    "sepia": _is_sepia,
    "pixel art": _is_pixel_art,
    "poster": _is_poster,
    "line drawing": _is_line_drawing,
    "silhouette": _is_silhouette,
}
