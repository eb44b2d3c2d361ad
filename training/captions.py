"""Say a layout in words: size, colour and name of the subject, its place, the style, the background.

What is not canonical is always said, so that a bare prompt has one meaning; how it is said varies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.layouts import LARGE_FROM, SMALL_BELOW
from training.pictures import Layout, Placement
from training.subjects import SCENES, SIZE_WORDS, SUBJECTS, Background, Style

OPENINGS = ("a photo of", "a picture of", "an image of", "a 3d render of", "an emoji of", "an illustration of")
# Each style before ("a line drawing of a fox") or behind ("a fox, line drawing") the rest.
STYLE_OPENINGS: dict[Style, tuple[str, ...]] = {
    "black and white": ("a black and white photo of", "a black and white picture of", "a monochrome photo of"),
    "sepia": ("a sepia photo of", "an old sepia photo of", "a sepia picture of"),
    "pixel art": ("pixel art of", "a pixel art of", "8-bit pixel art of"),
    "line drawing": ("a line drawing of", "line art of", "an outline drawing of"),
    "silhouette": ("a silhouette of", "the silhouette of", "a black silhouette of"),
    "poster": ("a poster of", "a flat poster of", "a printed poster of"),
    "blurry": ("a blurry photo of", "a blurry picture of", "a blurred photo of"),
}
STYLE_ENDINGS: dict[Style, tuple[str, ...]] = {
    "black and white": ("black and white", "in black and white", "monochrome"),
    "sepia": ("sepia", "in sepia", "sepia tone"),
    "pixel art": ("pixel art", "as pixel art", "pixel art style"),
    "line drawing": ("line drawing", "as a line drawing", "line art"),
    "silhouette": ("silhouette", "as a silhouette"),
    "poster": ("poster", "as a poster", "poster style"),
    "blurry": ("blurry", "out of focus", "blurred"),
}
SHARP_ENDINGS = ("sharp", "high quality", "detailed", "in focus", "best quality")
SOFT_ENDINGS = ("low resolution", "low quality", "soft")
LEFT_PHRASES = ("on the left", "on the left side", "to the left")
RIGHT_PHRASES = ("on the right", "on the right side", "to the right")


def with_article(noun: str) -> str:
    """Put `a`, `an` or nothing before a noun phrase."""
    last = noun.split()[-1]
    if noun.startswith("face in") or " face " in noun:
        last = "face"
    if last in PLURALS and " of " not in noun:
        return noun
    has_vowel = noun[0] in "aeiou" and not noun.startswith(("uni", "ufo"))
    return ("an " if has_vowel or noun.startswith("hour") else "a ") + noun


PLURALS = {
    *("grapes", "cherries", "fries", "pancakes", "scissors", "jeans", "trousers", "pants", "sunglasses", "glasses"),
    *("popcorn", "broccoli", "lightning", "fire", "corn", "bread", "cheese", "milk", "wine", "beer", "coffee"),
}


def background_phrases(background: Background) -> tuple[str, ...]:
    """List the ways to say a background, the plainest first; one with a comma follows without a space."""
    name, a_name = background.name, with_article(background.name)
    if background.kind == "scene":
        return SCENES[name]
    if background.kind == "plain":
        return (
            *(f"on {a_name} background", f"on {a_name} background", f", {name} background"),
            *(f"with {a_name} background", f"on {name}", f"in front of {a_name} background"),
        )
    if background.kind == "checked":
        return (
            *(f"on {a_name} checked background", f"on {a_name} checked background", f", {name} checked background"),
            *(f"on a checked {name} background", f"on {a_name} checkered background"),
        )
    return (
        *(f"on {a_name} gradient background", f"on {a_name} gradient background", f", {name} gradient background"),
        *(f"on {a_name} gradient", f"with {a_name} gradient background"),
    )


def caption(layout: Layout, rng: np.random.Generator) -> str:
    """Describe a layout, choosing among the ways to say it."""
    bare = rng.random() < 0.2
    nouns = [_noun(placement, rng, sized=len(layout.placements) == 1) for placement in layout.placements]
    nouns = nouns if bare else [with_article(noun) for noun in nouns]
    text = _join(nouns, rng) if len(nouns) == 2 else nouns[0] + _position(layout.placements[0], rng)
    ending = ""
    if layout.style:
        if not bare and rng.random() < 0.6:
            text = f"{_pick(STYLE_OPENINGS[layout.style], rng)} {text}"
        else:
            ending = _pick(STYLE_ENDINGS[layout.style], rng)
    elif layout.detail < 1:
        ending = _pick(SOFT_ENDINGS, rng) if rng.random() < 0.3 else ""
    else:
        ending = _pick(SHARP_ENDINGS, rng) if rng.random() < 0.05 else ""
        text = f"{_pick(OPENINGS, rng)} {text}" if not bare and rng.random() < 0.15 else text
    if (draw := rng.random()) < 0.9:
        phrase = _pick(background_phrases(layout.background), rng)
        text += phrase if phrase.startswith(",") else f" {phrase}"
    elif draw < 0.94 and layout.background.kind != "scene":
        phrase = background_phrases(layout.background)[2].removeprefix(", ")
        text = f"{phrase}, {text}"
    return f"{text}, {ending}" if ending else text


def _noun(placement: Placement, rng: np.random.Generator, sized: bool) -> str:
    subject = SUBJECTS[placement.subject]
    words = [_pick(subject.names, rng) if rng.random() < 0.3 else subject.names[0]]
    own = subject.colour if subject.repaint and rng.random() < 0.08 else ""
    if colour := placement.colour or own:
        words.insert(0, colour)
    aside = abs(placement.x - 0.5) > 0.15
    word = "small" if placement.size < SMALL_BELOW else "large" if placement.size >= LARGE_FROM else None
    if sized and word and not aside:
        words.insert(0, _pick(SIZE_WORDS[word], rng))
    return " ".join(words)


def _join(nouns: list[str], rng: np.random.Generator) -> str:
    """Join the left and the right subject; some ways name the right one first, and then say so."""
    left, right = nouns
    choice = rng.random()
    if choice < 0.5:
        return f"{left} and {right}"
    if choice < 0.7:
        return f"{left} on the left and {right} on the right"
    if choice < 0.76:
        return f"{right} on the right and {left} on the left"
    if choice < 0.82:
        return f"{left} to the left of {right}"
    if choice < 0.88:
        return f"{right} to the right of {left}"
    if choice < 0.94:
        return f"{left} next to {right}"
    return f"{left} beside {right}"


def _position(placement: Placement, rng: np.random.Generator) -> str:
    if abs(placement.x - 0.5) < 0.15:
        return ""
    return f" {_pick(LEFT_PHRASES if placement.x < 0.5 else RIGHT_PHRASES, rng)}"


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
