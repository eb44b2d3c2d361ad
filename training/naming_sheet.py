"""A sheet of numbered pictures in random order without their prompts, for somebody who names them by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.pictures import Pixels
from training.sheets import save_grid

COLUMNS = 8


def save_naming_sheet(pictures: Pixels, prompts: Sequence[str], folder: Path, seed: int) -> None:
    """Write `naming.png`, and apart from it `naming-key.txt` with the prompt of each number."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    numbers = [str(number + 1) for number in range(len(order))]
    save_grid(pictures[order], folder / "naming.png", COLUMNS, numbers)
    lines = [f"{number}: {prompts[row]}\n" for number, row in zip(numbers, order, strict=True)]
    (folder / "naming-key.txt").write_text("".join(lines), "utf-8")
