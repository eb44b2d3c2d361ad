"""Pack what training on another machine needs into one small folder: used sprites, tokenizers, autoencoder, weights.

`python -m training.pack FOLDER`, then there `python -m training base --work FOLDER --set base.start_from=FOLDER/start`.
The weights are the averaged ones in fp16; the optimizer's state stays behind.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, cast

import torch

from training.base import shipped_vae
from training.config import Config
from training.fetch import sprite_path
from training.refiner import load_base_average
from training.subjects import SUBJECTS
from training.tokenizer import PAD_TOKENS

NAMES = ("package.json", "data-by-emoji.json", "LICENSE")


def pack(config: Config, work: Path, target: Path) -> None:
    """Write the folder; what lies there already is written over."""
    for subject in SUBJECTS.values():
        _copy(sprite_path(work / "data", subject.emoji), work, target)
    for path in (work / "data" / "sprites" / "package.json", *(work / "data" / "names" / name for name in NAMES)):
        if path.is_file():
            _copy(path, work, target)
    for name in PAD_TOKENS:
        shutil.copytree(work / name, target / name, dirs_exist_ok=True)
    shutil.copytree(shipped_vae(work), target / "vae", dirs_exist_ok=True)
    if (work / "base.pt").is_file():
        model = load_base_average(config, work).half()
        for name, part in model.named_children():
            cast(Any, part).save_pretrained(target / "start" / name)
        shutil.copytree(work / "tokenizer", target / "start" / "tokenizer", dirs_exist_ok=True)


def _copy(path: Path, work: Path, target: Path) -> None:
    copy = target / path.relative_to(work)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)


def main() -> None:
    """Pack from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.pack", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path(__file__).resolve().parent / "work")
    arguments = parser.parse_args()
    with torch.inference_mode():
        pack(Config(), arguments.work, arguments.folder)


if __name__ == "__main__":
    main()
