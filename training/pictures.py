"""Draw one picture from a layout: background, ground shadow, sprites. About 4 ms for 256x256."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.fetch import sprite_path
from training.subjects import COLOURS, SUBJECTS, Background

Canvas = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# sky top, sky bottom, ground top, ground bottom; sRGB 0..255
SCENE_COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "meadow": ((95, 170, 240), (200, 228, 250), (120, 200, 80), (60, 140, 50)),
    "beach": ((80, 175, 240), (195, 232, 250), (245, 222, 160), (225, 190, 120)),
    "night": ((10, 12, 40), (45, 45, 105), (28, 36, 60), (14, 18, 34)),
    "snow": ((150, 185, 215), (220, 232, 242), (250, 252, 255), (215, 228, 242)),
}
SEA = ((20, 120, 190), (60, 175, 210))


@dataclass(frozen=True)
class Placement:
    """One sprite: its centre as a share of the canvas, its long side as a share of the canvas' short side."""

    subject: str
    x: float
    y: float
    size: float
    mirrored: bool = False


@dataclass(frozen=True)
class Scenery:
    """What may vary in a background; the defaults are the canonical scenery."""

    horizon: float = 0.6
    wave_height: float = 3.0
    wave_count: float = 2.0
    wave_phase: float = 1.0
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    speck_seed: int = 0


@dataclass(frozen=True)
class Layout:
    """A picture before it is drawn: canvas in pixels, background and one or two sprites."""

    width: int
    height: int
    background: Background
    placements: tuple[Placement, ...]
    scenery: Scenery = Scenery()


@lru_cache(maxsize=256)
def load_sprite(folder: Path, subject: str) -> Image.Image:
    """Load a subject cropped to its opaque box, RGBA; Pillow's own resize premultiplies by alpha."""
    image = Image.open(sprite_path(folder, SUBJECTS[subject][0])).convert("RGBA")
    return image.crop(image.getbbox())


def vertical_gradient(height: int, width: int, top: tuple[float, ...], bottom: tuple[float, ...]) -> Canvas:
    """Blend two sRGB colours from top to bottom: (height, width, 3), 0..255."""
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    return np.broadcast_to(column, (height, width, 3)).astype(np.float32)


def draw_background(background: Background, width: int, height: int, scenery: Scenery) -> Canvas:
    """Draw a background: (height, width, 3), 0..255."""
    if background.kind == "scene":
        return _draw_scene(background.name, width, height, scenery)
    colour = np.asarray(COLOURS[background.name], np.float32) + np.asarray(scenery.tint, np.float32)
    if background.kind == "plain":
        return np.broadcast_to(colour, (height, width, 3)).copy()
    return vertical_gradient(height, width, tuple(0.25 * colour + 0.75 * 255), tuple(0.85 * colour))


def _draw_scene(name: str, width: int, height: int, scenery: Scenery) -> Canvas:
    sky_top, sky_bottom, ground_top, ground_bottom = SCENE_COLOURS[name]
    horizon = int(height * scenery.horizon)
    columns = np.arange(width)
    wave = np.sin(columns / width * scenery.wave_count * 2 + scenery.wave_phase) * scenery.wave_height
    sky = vertical_gradient(height, width, sky_top, sky_bottom)
    if name == "beach":
        sky[horizon - height // 10 :] = vertical_gradient(height - horizon + height // 10, width, *SEA)
    if name in ("night", "snow"):
        specks = np.random.default_rng(scenery.speck_seed)
        for _ in range(28):
            row, column = specks.integers(2, horizon - 8), specks.integers(2, width - 4)
            sky[row : row + 3, column : column + 3] = specks.uniform(170, 255) if name == "night" else 255
    ground = np.zeros_like(sky)
    ground[horizon - 8 :] = vertical_gradient(height - horizon + 8, width, ground_top, ground_bottom)
    is_ground = np.clip(np.arange(height)[:, None] - horizon - wave, 0, 1)[..., None]
    return (sky * (1 - is_ground) + ground * is_ground).astype(np.float32)


def _paste(canvas: Canvas, folder: Path, placement: Placement, with_shadow: bool) -> None:
    height, width = canvas.shape[:2]
    sprite = load_sprite(folder, placement.subject)
    scale = placement.size * min(width, height) / max(sprite.size)
    sprite = sprite.resize(
        (max(8, int(sprite.width * scale)), max(8, int(sprite.height * scale))), Image.Resampling.LANCZOS
    )
    if placement.mirrored:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(sprite).astype(np.float32)
    centre_x = placement.x * width
    left, top = round(centre_x - sprite.width / 2), round(placement.y * height - sprite.height / 2)
    if with_shadow:
        rows, columns = np.mgrid[0:height, 0:width]
        base = top + sprite.height * 0.97
        distance = ((columns - centre_x) / (sprite.width * 0.45)) ** 2 + (
            (rows - base) / (sprite.height * 0.07 + 2)
        ) ** 2
        canvas *= (1 - 0.35 * np.clip(1.3 - distance, 0, 1))[..., None]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + sprite.width), min(height, top + sprite.height)
    if x1 > x0 and y1 > y0:
        visible = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        alpha = visible[..., 3:] / 255
        canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - alpha) + visible[..., :3] * alpha


def draw(layout: Layout, folder: Path) -> Pixels:
    """Draw a layout with the sprites below `folder`: (height, width, 3), uint8 sRGB."""
    canvas = draw_background(layout.background, layout.width, layout.height, layout.scenery)
    for placement in layout.placements:
        _paste(canvas, folder, placement, with_shadow=layout.background.kind == "scene")
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
