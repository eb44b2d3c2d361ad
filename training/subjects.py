"""What the model learns to draw: subjects, colours, gradients and scenes, with their words."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

# name -> (emoji, word for its own colour). The names are the plain words a person would type.
SUBJECTS: dict[str, tuple[str, str]] = {
    "fox": ("🦊", "orange"),
    "cat": ("🐱", "yellow"),
    "dog": ("🐶", "brown"),
    "panda": ("🐼", "white"),
    "lion": ("🦁", "orange"),
    "frog": ("🐸", "green"),
    "penguin": ("🐧", "purple"),
    "owl": ("🦉", "brown"),
    "turtle": ("🐢", "green"),
    "whale": ("🐳", "blue"),
    "octopus": ("🐙", "orange"),
    "ladybug": ("🐞", "red"),
    "butterfly": ("🦋", "orange"),
    "crab": ("🦀", "pink"),
    "tropical fish": ("🐠", "blue"),
    "unicorn": ("🦄", "white"),
    "apple": ("🍎", "red"),
    "banana": ("🍌", "yellow"),
    "strawberry": ("🍓", "red"),
    "watermelon": ("🍉", "red"),
    "pizza": ("🍕", "yellow"),
    "hamburger": ("🍔", "brown"),
    "donut": ("🍩", "brown"),
    "cupcake": ("🧁", "pink"),
    "ice cream": ("🍦", "white"),
    "rocket": ("🚀", "white"),
    "car": ("🚗", "red"),
    "sailboat": ("⛵", "orange"),
    "house": ("🏠", "orange"),
    "castle": ("🏰", "gray"),
    "balloon": ("🎈", "red"),
    "guitar": ("🎸", "red"),
    "umbrella": ("☂", "purple"),
    "crown": ("👑", "golden"),
    "gift": ("🎁", "yellow"),
    "cactus": ("🌵", "green"),
    "sunflower": ("🌻", "yellow"),
    "tulip": ("🌷", "pink"),
    "mushroom": ("🍄", "red"),
    "tree": ("🌳", "green"),
    "pumpkin": ("🎃", "orange"),
    "robot": ("🤖", "white"),
    "star": ("⭐", "yellow"),
    "heart": ("❤", "red"),
}

# name -> sRGB, 0..255
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

GRADIENT_COLOURS = tuple(name for name in COLOURS if name not in ("white", "black", "gray"))

SCENES: dict[str, tuple[str, ...]] = {
    "meadow": ("on a green meadow", "in a green meadow", "on a meadow"),
    "beach": ("on a sandy beach", "at the beach", "on a beach"),
    "night": ("at night with stars", "at night", "under a starry night sky"),
    "snow": ("in the snow", "on a snowy field"),
}

SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}

BackgroundKind = Literal["plain", "gradient", "scene"]


@dataclass(frozen=True)
class Background:
    """One of the backgrounds: a plain colour, a vertical gradient of a colour, or a scene."""

    kind: BackgroundKind
    name: str


BACKGROUNDS: tuple[Background, ...] = (
    *(Background("plain", name) for name in COLOURS),
    *(Background("gradient", name) for name in GRADIENT_COLOURS),
    *(Background("scene", name) for name in SCENES),
)


def is_held_out(subject: str, background: Background, percent: int) -> bool:
    """Say whether this pair is kept out of all training; a hash of the pair, so it never depends on an order."""
    return zlib.crc32(f"{subject}|{background.kind}|{background.name}".encode()) % 100 < percent
