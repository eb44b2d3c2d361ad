"""Backgrounds: plain colours, gradients, chequerboards and scenes, drawn as functions of the place in the picture.

Coordinates are shares of the picture, (0, 0) at its top left; beyond 1 a backdrop goes on, for crops of a larger one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from training.subjects import COLOURS, Background

MARGIN = 0.375
HORIZON = 0.6
CHECKS = 8
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Scenery:
    """What varies within a background: `variant` 0 is the canonical one; `tint` is added to sRGB 0..255."""

    variant: int = 0
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)


CANONICAL = Scenery()


@dataclass(frozen=True)
class _Place:
    """Coordinates of every pixel, and the horizon at its column: each (rows, columns)."""

    x: Tensor
    y: Tensor
    horizon: Tensor
    pixel: float
    variant: int

    def blend(self, start: float | Tensor, end: float, top: tuple[int, ...], bottom: tuple[int, ...]) -> Tensor:
        """Blend two colours between the heights `start` and `end`: (3, rows, columns), 0..1."""
        share = ((self.y - start) / (end - start)).clamp(0, 1)
        return _colour(top, self.y) * (1 - share) + _colour(bottom, self.y) * share

    def cover(self, distance: Tensor) -> Tensor:
        """Turn a signed distance in shares of the height into coverage: 1 inside (positive), 0 outside."""
        return (distance / self.pixel + 0.5).clamp(0, 1)

    def disc(self, x: float, y: float, radius: float) -> Tensor:
        """Cover a disc."""
        return self.cover(radius - ((self.x - x).square() + (self.y - y).square()).sqrt())

    def ground(self) -> Tensor:
        """Cover what lies below the horizon."""
        return self.cover(self.y - self.horizon)

    def specks(self, count: int, lowest: float, size: float) -> Tensor:
        """Cover small discs at fixed places above `lowest`."""
        generator = torch.Generator().manual_seed(31 + self.variant)
        covered = torch.zeros_like(self.y)
        for column, row, share in torch.rand(count, 3, generator=generator).tolist():
            covered = torch.maximum(
                covered, self.disc(column, row * lowest, size * (0.5 + share)) * (0.6 + 0.4 * share)
            )
        return covered


def _colour(values: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(3, 1, 1) / 255


def _over(below: Tensor, cover: Tensor, above: Tensor | tuple[int, ...]) -> Tensor:
    above = _colour(above, cover) if isinstance(above, tuple) else above
    return below * (1 - cover) + above * cover


def _meadow(place: _Place) -> Tensor:
    sky = place.blend(0, 1, (95, 170, 240), (200, 228, 250))
    return _over(sky, place.ground(), place.blend(HORIZON, 1, (120, 200, 80), (60, 140, 50)))


def _beach(place: _Place) -> Tensor:
    sky = place.blend(0, 1, (80, 175, 240), (195, 232, 250))
    sea = place.blend(HORIZON - 0.1, HORIZON, (20, 120, 190), (60, 175, 210))
    sky = _over(sky, place.cover(place.y - (HORIZON - 0.1)), sea)
    return _over(sky, place.ground(), place.blend(HORIZON, 1, (245, 222, 160), (225, 190, 120)))


def _night(place: _Place) -> Tensor:
    sky = place.blend(0, 1, (10, 12, 40), (45, 45, 105))
    sky = _over(sky, place.specks(28, HORIZON - 0.04, 0.007), (240, 240, 220))
    return _over(sky, place.ground(), place.blend(HORIZON, 1, (28, 36, 60), (14, 18, 34)))


def _snow(place: _Place) -> Tensor:
    sky = place.blend(0, 1, (150, 185, 215), (220, 232, 242))
    ground = _over(sky, place.ground(), place.blend(HORIZON, 1, (250, 252, 255), (215, 228, 242)))
    return _over(ground, place.specks(28, 1.4, 0.009), (255, 255, 255))


def _sunset(place: _Place) -> Tensor:
    sky = place.blend(0, HORIZON, (88, 50, 120), (255, 150, 70))
    sky = _over(sky, place.disc(0.82, 0.5, 0.13), (255, 226, 130))
    return _over(sky, place.ground(), place.blend(HORIZON, 1, (120, 60, 80), (60, 30, 60)))


def _underwater(place: _Place) -> Tensor:
    water = place.blend(0, 0.85, (60, 190, 225), (10, 60, 130))
    for x, y, radius in (
        (0.1, 0.2, 0.035),
        (0.16, 0.42, 0.022),
        (0.88, 0.16, 0.03),
        (0.92, 0.4, 0.04),
        (0.84, 0.58, 0.02),
    ):
        water = _over(water, 0.55 * place.disc(x, y + 0.05 * place.variant, radius), (215, 245, 255))
    return _over(water, place.cover(place.y - place.horizon - 0.25), (214, 190, 130))


def _mountains(place: _Place) -> Tensor:
    picture = place.blend(0, 1, (120, 180, 240), (215, 232, 250))
    shift = 0.04 * place.variant
    for centre, peak, slope, shade in ((0.18, 0.14, 1.15, 0), (0.86, 0.08, 1.1, 0), (0.5, 0.26, 1.2, 20)):
        height = place.y - peak - slope * (place.x - centre - shift).abs()
        picture = _over(picture, place.cover(height), (112 + shade, 118 + shade, 140 + shade))
        cap = torch.minimum(height, peak + 0.11 - place.y + 0.015 * torch.sin(place.x * 70))
        picture = _over(picture, place.cover(cap), (246, 248, 252))
    return _over(picture, place.ground(), place.blend(HORIZON, 1, (110, 170, 90), (70, 125, 60)))


def _city(place: _Place) -> Tensor:
    picture = place.blend(0, HORIZON, (150, 190, 225), (235, 225, 215))
    heights = (0.22, 0.34, 0.12, 0.4, 0.3, 0.38, 0.18, 0.32, 0.1, 0.28)
    width = 1 / len(heights)
    for index in range(14):
        top = heights[(index + place.variant) % len(heights)]
        inside = torch.minimum(place.y - top, width / 2 - (place.x - (index + 0.5) * width).abs())
        shade = 84 + 26 * (index % 3)
        picture = _over(picture, place.cover(inside), (shade, shade + 8, shade + 26))
        columns = (((place.x / width) % 1) * 3).floor() == 1
        rows = ((place.y - top) / 0.045).floor() % 2 == 1
        picture = _over(picture, place.cover(inside - 0.01) * (columns & rows), (250, 226, 150))
    return _over(picture, place.ground(), place.blend(HORIZON, 1, (110, 110, 116), (76, 76, 84)))


def _forest(place: _Place) -> Tensor:
    picture = place.blend(0, HORIZON, (176, 214, 196), (220, 236, 206))
    for row, (count, top, shade) in enumerate(((9, 0.14, 0), (7, 0.24, 1))):
        for index in range(math.ceil(count * 1.4)):
            centre = (index + 0.5 * row + 0.12 * place.variant) / count
            height = top + 0.05 * ((index * 7 + row) % 3)
            inside = torch.minimum((place.y - height) * 0.24 - (place.x - centre).abs(), HORIZON + 0.05 - place.y)
            picture = _over(picture, place.cover(inside * 2), (24 + 16 * shade, 92 - 22 * shade, 64 - 16 * shade))
    return _over(picture, place.ground(), place.blend(HORIZON, 1, (92, 140, 60), (62, 92, 40)))


def _space(place: _Place) -> Tensor:
    sky = place.blend(0, 1, (8, 8, 22), (32, 16, 58))
    sky = _over(sky, place.specks(46, 1.4, 0.007), (250, 250, 255))
    sky = _over(sky, place.disc(0.86, 0.15, 0.09), (196, 120, 210))
    return _over(sky, place.disc(0.89, 0.18, 0.07) * 0.35, (90, 40, 130))


_SCENES: dict[str, Callable[[_Place], Tensor]] = {
    "meadow": _meadow,
    "beach": _beach,
    "night": _night,
    "snow": _snow,
    "sunset": _sunset,
    "underwater": _underwater,
    "mountains": _mountains,
    "city": _city,
    "forest": _forest,
    "space": _space,
}


def has_ground(background: Background) -> bool:
    """Say whether subjects stand on something, and so cast a shadow."""
    return background.kind == "scene" and background.name not in ("underwater", "space")


@lru_cache(maxsize=600)
def draw_backdrop(
    background: Background, width: int, height: int, variant: int = 0, device: torch.device = CPU
) -> Tensor:
    """Draw a background and a margin to the right and below: (3, 1.375 * height, 1.375 * width), uint8."""
    rows, columns = round(height * (1 + MARGIN)), round(width * (1 + MARGIN))
    y = ((torch.arange(rows, device=device) + 0.5) / height)[:, None].expand(rows, columns)
    x = ((torch.arange(columns, device=device) + 0.5) / width)[None].expand(rows, columns)
    if background.kind == "scene":
        wave = 0.012 * variant * torch.sin(x * (3 + 2 * variant) + variant)
        horizon = torch.full_like(x, HORIZON) + wave + (0.03 * (variant - 2) if variant else 0)
        picture = _SCENES[background.name](_Place(x, y, horizon, 1 / height, variant))
    else:
        picture = _coloured(background, x, y)
    return (picture * 255).round().clamp(0, 255).byte()


def _coloured(background: Background, x: Tensor, y: Tensor) -> Tensor:
    colour = _colour(COLOURS[background.name], y)
    if background.kind == "plain":
        return colour.expand(3, *y.shape)
    if background.kind == "gradient":
        share = y.clamp(0, 1)
        darkest = 0.72 if background.name == "white" else 0.85
        return (0.25 * colour + 0.75) * (1 - share) + darkest * colour * share
    light = 0.5 * colour + 0.5 if background.name != "white" else 0.78 * colour
    is_light = ((x * CHECKS).floor() + (y * CHECKS).floor()) % 2 == 1
    return torch.where(is_light, light, colour)
