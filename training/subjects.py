"""What the model learns to draw: subjects, their colours, backgrounds, scenes and styles, with their words."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Repaint = Literal["", "hue", "neutral"]


@dataclass(frozen=True)
class Subject:
    """One subject.

    repaint: "hue" if its main hue can be changed, "neutral" if its grey or white parts can be tinted, else "".
    names: what people call it, the plainest first.
    """

    emoji: str
    colour: str
    repaint: Repaint
    names: tuple[str, ...]


def _read_subjects(path: Path) -> dict[str, Subject]:
    kinds: dict[str, Repaint] = {"-": "", "h": "hue", "n": "neutral"}
    subjects = {}
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, emoji, colour, repaint, others = (part.strip() for part in line.split(";"))
            names = (name, *(other.strip() for other in others.split(",") if other.strip()))
            subjects[name] = Subject(emoji, colour, kinds[repaint], names)
    return subjects


SUBJECTS: dict[str, Subject] = _read_subjects(Path(__file__).with_name("subjects.txt"))

# Background colours: name -> sRGB, 0..255
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 215, 50),
    "green": (50, 165, 70),
    "blue": (50, 100, 220),
    "purple": (130, 60, 180),
    "pink": (248, 160, 195),
    "white": (248, 248, 248),
    "black": (18, 18, 20),
    "gray": (128, 128, 130),
}

# What a subject can be repainted in: stronger than the backgrounds, so that a red apple shows on a red background.
SUBJECT_COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (232, 28, 52),
    "orange": (255, 126, 20),
    "yellow": (255, 214, 30),
    "green": (38, 178, 84),
    "blue": (34, 120, 240),
    "purple": (138, 62, 212),
    "pink": (255, 132, 190),
    "white": (244, 242, 248),
    "black": (62, 60, 70),
}

SCENES: dict[str, tuple[str, ...]] = {
    "meadow": ("on a green meadow", "in a green meadow", "on a meadow", "on the grass"),
    "beach": ("on a sandy beach", "at the beach", "on a beach"),
    "night": ("at night with stars", "at night", "under a starry night sky"),
    "snow": ("in the snow", "on a snowy field", "in winter"),
    "sunset": ("at sunset", "in front of a sunset", "with a sunset"),
    "underwater": ("underwater", "under the sea", "under water"),
    "mountains": ("in the mountains", "in front of mountains", "with mountains"),
    "city": ("in the city", "in front of a city skyline", "in a town"),
    "forest": ("in the forest", "in a forest", "in the woods"),
    "space": ("in space", "in outer space", "among the stars"),
}

SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}

Style = Literal["", "black and white", "sepia", "pixel art", "line drawing", "silhouette", "poster", "blurry"]
STYLES: tuple[Style, ...] = (
    "black and white",
    "sepia",
    "pixel art",
    "line drawing",
    "silhouette",
    "poster",
    "blurry",
)

BackgroundKind = Literal["plain", "gradient", "checked", "scene"]


@dataclass(frozen=True)
class Background:
    """One of the backgrounds: a plain colour, a vertical gradient, a chequerboard of a colour, or a scene."""

    kind: BackgroundKind
    name: str


PLAIN = tuple(Background("plain", name) for name in COLOURS)
BACKGROUNDS: tuple[Background, ...] = (
    *PLAIN,
    *(Background("gradient", name) for name in COLOURS),
    *(Background("checked", name) for name in COLOURS),
    *(Background("scene", name) for name in SCENES),
)


def is_held_out(subject: str, background: Background, percent: int) -> bool:
    """Say whether base and refiner never see this pair; a hash of the pair, so it never depends on an order."""
    return zlib.crc32(f"{subject}|{background.kind}|{background.name}".encode()) % 100 < percent


def is_colour_held_out(subject: str, colour: str, percent: int) -> bool:
    """Say whether this repainting is kept out of all training; a subject's own colour never is."""
    return colour != SUBJECTS[subject].colour and zlib.crc32(f"{subject}/{colour}".encode()) % 100 < percent
