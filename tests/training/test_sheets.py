"""Sheets that are shipped are small, and the one that is named by eye tells nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import sheets
from training.naming_sheet import save_naming_sheet
from training.pictures import Pixels
from training.sheets import SHIPPED_LIMIT_BYTES, make_grid, save_small_grid

LABEL = "a glass of milk on a purple gradient background"


def busy_pictures(count: int) -> Pixels:
    """Pictures of many hard edges: harder to compress than those that are drawn."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 12, 12, 3), np.uint8)
    return coarse.repeat(21, 1).repeat(21, 2)


def test_a_shipped_sheet_of_64_pictures_is_under_its_limit(tmp_path: Path) -> None:
    save_small_grid(busy_pictures(64), tmp_path / "sheet.webp", [LABEL] * 64)
    assert (tmp_path / "sheet.webp").stat().st_size < SHIPPED_LIMIT_BYTES
    with Image.open(tmp_path / "sheet.webp") as sheet:
        assert sheet.width == 8 * 128


def test_a_sheet_that_cannot_be_made_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "SHIPPED_LIMIT_BYTES", 1000)
    with pytest.raises(ValueError, match=r"sheet\.webp must be under 1000 bytes"):
        save_small_grid(busy_pictures(8), tmp_path / "sheet.webp")
    assert not list(tmp_path.iterdir())


def test_labels_take_two_lines(tmp_path: Path) -> None:
    pictures = np.zeros((1, 128, 128, 3), np.uint8)
    below = np.asarray(make_grid(pictures, 1, [LABEL]).convert("L"))[128:]
    assert (below[:14] < 128).any()
    assert (below[15:29] < 128).any()


def test_a_naming_sheet_is_shuffled_and_its_key_names_every_picture(tmp_path: Path) -> None:
    pictures = np.arange(1, 65, dtype=np.uint8)[:, None, None, None].repeat(64, 1).repeat(64, 2).repeat(3, 3)
    save_naming_sheet(pictures, [f"picture of shade {shade}" for shade in range(1, 65)], tmp_path, seed=1)
    lines = (tmp_path / "naming-key.txt").read_text("utf-8").splitlines()
    shades = [int(re.fullmatch(r"\d+: picture of shade (\d+)", line).group(1)) for line in lines]
    assert sorted(shades) == list(range(1, 65)) != shades
    with Image.open(tmp_path / "naming.png") as sheet:
        cell = sheet.height // 8
        assert [sheet.getpixel((64 * (n % 8) + 8, cell * (n // 8) + 8))[0] for n in range(64)] == shades
