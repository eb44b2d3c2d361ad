"""The subjects' pictures, cropped, repainted, and stacked as textures for batched drawing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training.fetch import sprite_path
from training.subjects import SUBJECT_COLOURS, SUBJECTS

Sprite = NDArray[np.floating]

SIDE = 256
HUE_WINDOW = (0.11, 0.17)
NEUTRAL_SATURATION = (0.16, 0.30)


def _smooth(values: Sprite, start: float, end: float) -> Sprite:
    """0 at `start`, 1 at `end` (which may be smaller), smooth between."""
    share = np.clip((values - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)


@lru_cache(maxsize=32)
def load_sprite(folder: Path, subject: str) -> Sprite:
    """Load a subject with its opaque box scaled into a square: (256, 256, 4), 0..1, alpha not premultiplied."""
    image = Image.open(sprite_path(folder, SUBJECTS[subject].emoji)).convert("RGBA")
    image = image.crop(image.getbbox())
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(image.resize(size, Image.Resampling.LANCZOS), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(square, np.float32) / 255


def _hue_and_saturation(colour: Sprite) -> tuple[Sprite, Sprite]:
    highest, lowest = colour.max(-1), colour.min(-1)
    spread = highest - lowest + 1e-6
    red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
    hue = np.where(
        highest == red,
        (green - blue) / spread % 6,
        np.where(highest == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    return (hue / 6).astype(np.float32), (spread / (highest + 1e-6)).astype(np.float32)


def paintable(sprite: Sprite, subject: str) -> Sprite:
    """Say how much of each pixel takes a new colour: (256, 256), 0..1."""
    hue, saturation = _hue_and_saturation(sprite[..., :3])
    if SUBJECTS[subject].repaint == "neutral":
        lightness = sprite[..., :3].max(-1)
        return _smooth(saturation, NEUTRAL_SATURATION[1], NEUTRAL_SATURATION[0]) * _smooth(lightness, 0.2, 0.35)
    weight = sprite[..., 3] * saturation * (saturation > 0.3)
    counts = np.histogram(hue, 36, (0, 1), weights=weight)[0]
    smoothed = counts + np.roll(counts, 1) + np.roll(counts, -1)
    main = (np.argmax(smoothed) + 0.5) / 36
    distance = np.abs((hue - main + 0.5) % 1 - 0.5)
    return _smooth(distance, HUE_WINDOW[1], HUE_WINDOW[0]) * _smooth(saturation, 0.1, 0.25)


def repaint(sprite: Sprite, subject: str, colour: str) -> Sprite:
    """Paint a subject's main parts in one of SUBJECT_COLOURS, keeping its light and shade."""
    if colour == SUBJECTS[subject].colour:
        return sprite
    share = paintable(sprite, subject)[..., None]
    light = sprite[..., :3] @ np.array((0.3, 0.55, 0.15), np.float32)
    chosen = (share[..., 0] > 0.5) & (sprite[..., 3] > 0.5)
    shade = (light / max(float(np.median(light[chosen])) if chosen.any() else 0.5, 0.05))[..., None]
    target = np.array(SUBJECT_COLOURS[colour], np.float32) / 255
    lighter = target + (1 - target) * np.clip(shade - 1, 0, 1) * 0.6
    painted = np.where(shade < 1, target * (0.25 + 0.75 * shade), lighter)
    result = sprite.copy()
    result[..., :3] = sprite[..., :3] * (1 - share) + painted * share
    return result


class SpriteBank:
    """Every subject in its own and in every other colour: premultiplied textures of three sizes, made when wanted."""

    sides: tuple[int, ...] = (SIDE // 4, SIDE // 2, SIDE)

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self.made: dict[tuple[str, str, int], Tensor] = {}
        self.heights: dict[str, float] = {}

    def textures(self, wanted: Sequence[tuple[str, str]], side: int) -> Tensor:
        """Return (n, 4, side, side), 0..1, of pairs of subject and colour (empty for its own)."""
        return torch.stack([self._texture(subject, colour, side) for subject, colour in wanted]).float() / 255

    def height(self, subject: str) -> float:
        """Return a subject's height as a share of its longer side."""
        if subject not in self.heights:
            self.heights[subject] = float((load_sprite(self.folder, subject)[..., 3].max(1) > 0.5).mean())
        return self.heights[subject]

    def _texture(self, subject: str, colour: str, side: int) -> Tensor:
        if (subject, colour, side) not in self.made:
            sprite = load_sprite(self.folder, subject)
            sprite = repaint(sprite, subject, colour) if colour else sprite
            premultiplied = np.concatenate([sprite[..., :3] * sprite[..., 3:], sprite[..., 3:]], -1)
            full = torch.from_numpy(premultiplied).permute(2, 0, 1)[None] * 255
            for size in self.sides:
                texture = functional.interpolate(full, (size, size), mode="area")[0]
                self.made[subject, colour, size] = texture.round().byte().to(self.device)
        return self.made[subject, colour, side]
