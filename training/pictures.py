"""Draw pictures from layouts in batches, on any device: backdrop, ground shadows, subjects, style."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.backdrops import CANONICAL, CPU, Scenery, draw_backdrop, has_ground
from training.sprites import SpriteBank
from training.styles import DARK, luminance, reduce_resolution, style_pictures, style_texture
from training.subjects import Background, Style

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Placement:
    """One subject: its centre as a share of the picture, its long side as a share of the picture's short side."""

    subject: str
    x: float
    y: float
    size: float
    colour: str = ""
    mirrored: bool = False


@dataclass(frozen=True)
class Layout:
    """A picture before it is drawn, and its micro-conditioning (SDXL, arXiv:2307.01952, section 2.2).

    crop: (top, left) in pixels; the picture is a window of a larger one whose top left part is the uncropped picture.
    detail: side of the original over the picture's; below one the picture is soft.
    """

    width: int
    height: int
    background: Background
    placements: tuple[Placement, ...]
    style: Style = ""
    scenery: Scenery = CANONICAL
    crop: tuple[int, int] = (0, 0)
    detail: float = 1.0

    @property
    def time_ids(self) -> tuple[int, ...]:
        """The six numbers of `add_time_ids`: original size, crop, target size; heights first, in pixels."""
        original = (round(self.height * self.detail), round(self.width * self.detail))
        return (*original, *self.crop, self.height, self.width)


class Painter:
    """Draws layouts with the sprites below a folder."""

    def __init__(self, folder: Path, device: torch.device = CPU) -> None:
        self.bank = SpriteBank(folder, device)
        self.device = device

    @torch.inference_mode()
    def draw(self, layouts: Sequence[Layout]) -> Tensor:
        """Draw layouts of one size: (n, 3, height, width), 0..1."""
        height, width = layouts[0].height, layouts[0].width
        canvas = torch.stack([self._backdrop(layout) for layout in layouts])
        on_dark = luminance(canvas)[:, 0].flatten(1).median(1).values < DARK
        for index in range(max((len(layout.placements) for layout in layouts), default=0)):
            rows = [row for row, layout in enumerate(layouts) if len(layout.placements) > index]
            chosen = [layouts[row] for row in rows]
            texture = self._texture([(layout, layout.placements[index]) for layout in chosen])
            for style, members in _by_style(chosen).items():
                texture[members] = style_texture(texture[members], style, on_dark[[rows[member] for member in members]])
            shadow = torch.stack([self._shadow(layout, layout.placements[index]) for layout in chosen])
            below = canvas[rows] * (1 - shadow[:, None])
            canvas[rows] = below * (1 - texture[:, 3:]) + texture[:, :3]
        for style, members in _by_style(layouts).items():
            canvas[members] = style_pictures(canvas[members], style)
        for row, layout in enumerate(layouts):
            if layout.detail < 1:
                canvas[row] = reduce_resolution(canvas[row : row + 1], layout.detail)[0]
        return canvas.view(-1, 3, height, width).clamp(0, 1)

    def pixels(self, layouts: Sequence[Layout]) -> Pixels:
        """Draw layouts of one size: (n, height, width, 3), uint8 sRGB."""
        return (self.draw(layouts) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def _backdrop(self, layout: Layout) -> Tensor:
        whole = draw_backdrop(layout.background, layout.width, layout.height, layout.scenery.variant, self.device)
        top, left = layout.crop
        window = whole[:, top : top + layout.height, left : left + layout.width].float()
        tint = torch.tensor(layout.scenery.tint, device=self.device).view(3, 1, 1)
        return ((window + tint) / 255).clamp(0, 1)

    def _texture(self, placed: list[tuple[Layout, Placement]]) -> Tensor:
        """Put each subject in its place: (n, 4, height, width), premultiplied."""
        height, width = placed[0][0].height, placed[0][0].width
        short = min(height, width)
        result = torch.zeros(len(placed), 4, height, width, device=self.device)
        groups: dict[int, list[int]] = defaultdict(list)
        for row, (_, placement) in enumerate(placed):
            sides = [side for side in self.bank.sides if side >= placement.size * short]
            groups[min(sides, default=max(self.bank.sides))].append(row)
        for side, rows in groups.items():
            thetas = []
            for layout, placement in (placed[row] for row in rows):
                size = placement.size * short
                centre_x, centre_y = placement.x * width - layout.crop[1], placement.y * height - layout.crop[0]
                flip = -1 if placement.mirrored else 1
                thetas.append(
                    [
                        [flip * width / size, 0, flip * (width - 2 * centre_x) / size],
                        [0, height / size, (height - 2 * centre_y) / size],
                    ]
                )
            theta = torch.tensor(thetas, dtype=torch.float32, device=self.device)
            entries = [(placed[row][1].subject, placed[row][1].colour) for row in rows]
            grid = functional.affine_grid(theta, [len(rows), 4, height, width], align_corners=False)
            result[rows] = functional.grid_sample(self.bank.textures(entries, side), grid, align_corners=False)
        return result

    def _shadow(self, layout: Layout, placement: Placement) -> Tensor:
        """Darken the ground below a subject: (height, width), 0..0.35."""
        height, width = layout.height, layout.width
        if not has_ground(layout.background) or layout.style in ("line drawing", "silhouette"):
            return torch.zeros(height, width, device=self.device)
        size = placement.size * min(height, width)
        columns = torch.arange(width, device=self.device)[None] - (placement.x * width - layout.crop[1])
        base = placement.y * height - layout.crop[0] + size * (self.bank.height(placement.subject) / 2 - 0.03)
        rows = torch.arange(height, device=self.device)[:, None] - base
        distance = (columns / (size * 0.42)).square() + (rows / (size * 0.07 + height / 128)).square()
        return 0.35 * (1.3 - distance).clamp(0, 1)


def _by_style(layouts: Sequence[Layout]) -> dict[Style, list[int]]:
    groups: dict[Style, list[int]] = defaultdict(list)
    for row, layout in enumerate(layouts):
        if layout.style:
            groups[layout.style].append(row)
    return groups


@lru_cache(maxsize=2)
def shared_painter(folder: Path) -> Painter:
    """Return one painter for a folder, as its textures take a moment and much memory."""
    return Painter(folder)


def draw(layout: Layout, folder: Path) -> Pixels:
    """Draw one layout with the sprites below `folder`: (height, width, 3), uint8 sRGB."""
    return shared_painter(folder).pixels([layout])[0]
