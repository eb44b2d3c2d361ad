"""Sheets of sample pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.pictures import Pixels

LABEL_HEIGHT = 16
SMALL_SIDE, SMALL_COLUMNS = 104, 8


def save_grid(pictures: Pixels, path: Path, columns: int, labels: list[str] | None = None) -> None:
    """Save (batch, height, width, 3) pictures as one sheet, with a line of text under each if labels are given."""
    count, height, width = pictures.shape[:3]
    cell = height + (LABEL_HEIGHT if labels else 0)
    sheet = Image.new("RGB", (columns * width, -(-count // columns) * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for index, picture in enumerate(np.asarray(pictures)):
        left, top = index % columns * width, index // columns * cell
        sheet.paste(Image.fromarray(picture), (left, top))
        if labels:
            pen.text((left + 3, top + height + 2), labels[index][: width // 6], fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    sheet.save(temporary, format="PNG", optimize=True)
    temporary.replace(path)


def save_small_grid(pictures: Pixels, path: Path, labels: list[str] | None = None) -> None:
    """Save a sheet of eight columns at a third of the size and in 256 colours, so that it stays small."""
    side = SMALL_SIDE
    shown = [Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS) for picture in pictures]
    save_grid(np.stack([np.asarray(image) for image in shown]), path, SMALL_COLUMNS, labels)
    with Image.open(path) as sheet:
        palette = sheet.quantize(256)
        reduced = sheet.quantize(palette=palette, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
