"""Say a layout in words: the subject's own plain name, size and position words, the background."""

from __future__ import annotations

import numpy as np

from training.layouts import LARGE_FROM, SMALL_BELOW
from training.pictures import Layout, Placement
from training.subjects import SCENES, SIZE_WORDS, SUBJECTS, Background

OPENINGS = ("a photo of", "a picture of", "a drawing of", "an image of", "a 3d emoji of", "a cute 3d render of")


def with_article(noun: str) -> str:
    """Put `a` or `an` before a noun phrase."""
    return ("an " if noun[0] in "aeiou" and not noun.startswith("uni") else "a ") + noun


def background_phrases(background: Background) -> tuple[str, ...]:
    """List the ways to say a background; a phrase starting with a comma follows without a space."""
    name, a_name = background.name, with_article(background.name)
    if background.kind == "scene":
        return SCENES[name]
    if background.kind == "plain":
        return (f"on {a_name} background", f", {name} background", f"with {a_name} background", f"on {name}")
    return (f"on {a_name} gradient background", f", {name} gradient background", f"on {a_name} gradient")


def caption(layout: Layout, rng: np.random.Generator, blurred: bool = False) -> str:
    """Describe a layout, choosing among the ways to say it."""
    bare = rng.random() < 0.25
    nouns = [_noun(placement, rng, sized=len(layout.placements) == 1) for placement in layout.placements]
    nouns = nouns if bare else [with_article(noun) for noun in nouns]
    text = _join(nouns, rng) if len(nouns) == 2 else nouns[0] + _position(layout, rng)
    if not bare and rng.random() < 0.25:
        text = f"{_pick(OPENINGS, rng)} {text}"
    if rng.random() < 0.95:
        phrase = _pick(background_phrases(layout.background), rng)
        text += phrase if phrase.startswith(",") else f" {phrase}"
    if blurred:
        text += ", blurry" if rng.random() < 0.6 else ""
    elif rng.random() < 0.06:
        text += _pick((", sharp", ", high quality", ", detailed"), rng)
    return text


def _noun(placement: Placement, rng: np.random.Generator, sized: bool) -> str:
    words = [placement.subject]
    if rng.random() < 0.12:
        words.insert(0, SUBJECTS[placement.subject][1])
    word = "small" if placement.size < SMALL_BELOW else "large" if placement.size >= LARGE_FROM else None
    if sized and word and rng.random() < 0.6:
        words.insert(0, _pick(SIZE_WORDS[word], rng))
    return " ".join(words)


def _join(nouns: list[str], rng: np.random.Generator) -> str:
    first, second = nouns
    choice = rng.random()
    if choice < 0.7:
        return f"{first} and {second}"
    if choice < 0.85:
        return f"{first} on the left and {second} on the right"
    return f"{first} next to {second}"


def _position(layout: Layout, rng: np.random.Generator) -> str:
    x = layout.placements[0].x
    if rng.random() < 0.5 or abs(x - 0.5) < 0.07:
        return ""
    return " on the left" if x < 0.5 else " on the right"


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
