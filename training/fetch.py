"""Fetch the two npm packages that the pictures are made of, and find a sprite in them."""

from __future__ import annotations

import json
import logging
import subprocess
import tarfile
from functools import lru_cache
from pathlib import Path

from training.config import DataConfig

logger = logging.getLogger(__name__)


def fetch(config: DataConfig, folder: Path) -> None:
    """Pack and unpack both npm packages below `folder`; what is already there is kept."""
    for package, target in ((config.sprites, folder / "sprites"), (config.names, folder / "names")):
        if (target / "package.json").is_file():
            continue
        target.mkdir(parents=True, exist_ok=True)
        logger.info("fetching %s", package)
        command = ["npm", "pack", package, "--silent", "--pack-destination", str(folder)]
        archive = folder / subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                member.name = member.name.removeprefix("package/")
                if member.isfile():
                    tar.extract(member, target, filter="data")
        archive.unlink()


def is_fetched(folder: Path) -> bool:
    """Say whether `fetch` has run on this folder."""
    return (folder / "sprites" / "package.json").is_file() and (folder / "names" / "package.json").is_file()


def sprite_path(folder: Path, emoji: str) -> Path:
    """Find the 256x256 RGBA webp of an emoji; files are named by code points, with or without the fe0f selector.

    Raises:
        FileNotFoundError: the package has no such emoji.
    """
    points = [f"{ord(character):x}" for character in emoji if character != "\ufe0f"]
    for name in ("-".join(points), "-".join([*points, "fe0f"])):
        path = folder / "sprites" / "assets" / f"{name}.webp"
        if path.is_file():
            return path
    raise FileNotFoundError(f"no sprite for emoji {emoji!r} in {folder}")


@lru_cache(maxsize=1)
def unicode_names(folder: Path) -> dict[str, str]:
    """Read Unicode's own names, for example {'\\U0001f98a': 'fox'}, without the fe0f selector in the keys."""
    table = json.loads((folder / "names" / "data-by-emoji.json").read_text("utf-8"))
    return {emoji.replace("\ufe0f", ""): entry["name"] for emoji, entry in table.items()}
