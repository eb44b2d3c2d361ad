"""The measures of the evaluation, on composed pictures whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.backdrops import Scenery
from training.layouts import LEFT, NATIVE, RIGHT, canonical_single
from training.measures import half, name_background, name_colour, sharpness, side_word, size_word, square
from training.pictures import Layout, Placement, draw
from training.style_measures import can_show, has_style
from training.subjects import BACKGROUNDS, STYLES, SUBJECT_COLOURS, Background, Style

BLUE = Background("plain", "blue")


def test_the_border_names_every_background_also_when_it_varies() -> None:
    for background in BACKGROUNDS:
        scenery = Scenery(variant=1 if background.kind == "scene" else 0, tint=(4, -4, 4))
        picture = draw(Layout(*NATIVE, background, (), scenery=scenery), Path())
        assert name_background(picture) == background


@pytest.mark.parametrize("background", [background for background in BACKGROUNDS if background.kind == "checked"])
def test_checks_may_begin_with_either_tile(background: Background) -> None:
    picture = draw(Layout(*NATIVE, background, ()), Path())
    assert name_background(np.roll(picture, NATIVE[0] // 8, axis=1)) == background


@pytest.mark.parametrize("subject", ["fox", "car", "key"])
def test_sizes_and_sides_are_measured_on_composed_pictures(sprites: Path, subject: str) -> None:
    for size, word in {0.46: "small", 0.7: "", 0.92: "large"}.items():
        picture = draw(canonical_single(subject, BLUE, size), sprites)
        assert size_word(picture, BLUE) == word
    for x, word in {LEFT: "left", 0.5: "", RIGHT: "right"}.items():
        picture = draw(Layout(*NATIVE, BLUE, (Placement(subject, x, 0.5, 0.52),)), sprites)
        assert side_word(picture, BLUE) == word


def test_on_another_background_neither_size_nor_side_nor_colour_is_seen(sprites: Path) -> None:
    picture = draw(canonical_single("apple", Background("plain", "green"), 0.92, "purple"), sprites)
    assert size_word(picture, BLUE) == side_word(picture, BLUE) == ""
    assert name_colour(picture, "apple", BLUE, sprites) == ""


@pytest.mark.parametrize("subject", ["apple", "car", "elephant"])
def test_colours_of_subjects_are_measured_on_composed_pictures(sprites: Path, subject: str) -> None:
    for colour in SUBJECT_COLOURS:
        background = Background("plain", "gray" if subject != "elephant" else "blue")
        picture = draw(canonical_single(subject, background, colour=colour), sprites)
        assert name_colour(picture, subject, background, sprites) == colour


@pytest.mark.parametrize(("subject", "own"), [("bear", "brown"), ("elephant", "gray")])
def test_an_unpainted_subject_has_its_own_colour(sprites: Path, subject: str, own: str) -> None:
    assert name_colour(draw(canonical_single(subject, BLUE), sprites), subject, BLUE, sprites) == own


@pytest.mark.parametrize("style", STYLES)
def test_each_style_is_seen_in_its_own_pictures_and_in_no_plain_ones(sprites: Path, style: Style) -> None:
    for subject, name in (("fox", "blue"), ("apple", "green"), ("castle", "pink"), ("ladybug", "black")):
        background = Background("plain", name)
        if not can_show(style, subject, background):
            continue
        plain = canonical_single(subject, background)
        without, picture = draw(plain, sprites), draw(replace(plain, style=style), sprites)
        assert has_style(picture, style, background, sharpness(without))
        assert not has_style(without, style, background, sharpness(without))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("colour", ["blue", "gray", "white"])
def test_a_picture_of_nothing_has_no_style(style: Style, colour: str) -> None:
    background = Background("plain", colour)
    for drawn in ("", style):
        picture = draw(Layout(*NATIVE, background, (), drawn), Path())
        assert not has_style(picture, style, background, sharp=5.0)


def test_halves_hold_all_of_a_subject_also_on_the_ground_of_a_scene(sprites: Path) -> None:
    for background in (BLUE, Background("scene", "space")):
        empty = canonical_single("fox", background, 0.46)
        layout = replace(empty, placements=(replace(empty.placements[0], x=LEFT),))
        picture = draw(layout, sprites)
        around = picture.astype(int) - draw(replace(layout, placements=()), Path())
        is_subject = np.repeat((np.abs(around).max(-1) > 20)[..., None], 3, -1).astype(np.uint8)
        assert half(is_subject, background, "left").sum() == is_subject.sum() > 0
        assert half(is_subject, background, "right").sum() == 0


def test_a_square_stays_inside_the_picture() -> None:
    picture = np.arange(256 * 256 * 3, dtype=np.uint32).reshape(256, 256, 3)
    assert (square(picture, 128, 0) == picture[:128, 128:]).all()
    assert (square(picture, 0, 256) == picture[128:, :128]).all()
    assert (square(picture, 0, 148) == picture[84:212, :128]).all()
