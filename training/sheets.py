"""Sheets of sample pictures: large ones to look at, and small ones that are shipped."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training.pictures import Pixels

LINE_HEIGHT, LETTER_WIDTH = 14, 6
SMALL_SIDE, SMALL_COLUMNS = 128, 8
SHIPPED_LIMIT_BYTES = 300_000
QUALITIES = (90, 85, 80, 70, 60)


def save_grid(pictures: Pixels, path: Path, columns: int, labels: Sequence[str] | None = None) -> None:
    """Save (batch, height, width, 3) pictures as one PNG, with two lines of text under each if labels are given."""
    sheet = make_grid(pictures, columns, labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    sheet.save(temporary, format="PNG", optimize=True)
    temporary.replace(path)


def save_small_grid(pictures: Pixels, path: Path, labels: Sequence[str] | None = None) -> None:
    """Save a WebP of eight columns at half the size, in the best quality under the limit; labels skip "background".

    Raises:
        ValueError: it is over the limit even in the lowest quality.
    """
    side = (SMALL_SIDE, SMALL_SIDE)
    small = [np.asarray(Image.fromarray(picture).resize(side, Image.Resampling.LANCZOS)) for picture in pictures]
    short = [label.replace(" background", "") for label in labels] if labels else None
    sheet = make_grid(np.stack(small), SMALL_COLUMNS, short)

    def encode(quality: int) -> bytes:
        stream = io.BytesIO()
        sheet.save(stream, format="WEBP", quality=quality, method=6)
        return stream.getvalue()

    encoded = next((data for data in map(encode, QUALITIES) if len(data) < SHIPPED_LIMIT_BYTES), None)
    if encoded is None:
        raise ValueError(f"{path.name} must be under {SHIPPED_LIMIT_BYTES} bytes, also in quality {QUALITIES[-1]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(encoded)
    temporary.replace(path)


def make_grid(pictures: Pixels, columns: int, labels: Sequence[str] | None = None) -> Image.Image:
    """Put pictures on one sheet, row by row."""
    count, height, width = pictures.shape[:3]
    cell = height + (2 * LINE_HEIGHT + 2 if labels else 0)
    sheet = Image.new("RGB", (columns * width, -(-count // columns) * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for index, picture in enumerate(np.asarray(pictures)):
        left, top = index % columns * width, index // columns * cell
        sheet.paste(Image.fromarray(picture), (left, top))
        if labels:
            lines = textwrap.wrap(labels[index], width // LETTER_WIDTH, max_lines=2, placeholder=" ...")
            for line, text in enumerate(lines):
                pen.text((left + 3, top + height + 1 + line * LINE_HEIGHT), text, fill="black")
    return sheet
