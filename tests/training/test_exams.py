"""The exams of the evaluation: only held-out pairs, and no credit for a picture of nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.captions import background_phrases
from training.config import Config
from training.exams import (
    Exam,
    Judges,
    all_exams,
    colours_exam,
    sides_exam,
    sizes_exam,
    styles_exam,
)
from training.judge import Judge
from training.layouts import NATIVE
from training.pictures import Layout, draw
from training.subjects import COLOURS, SUBJECTS, is_held_out

CONFIG = Config()
EXAMS = all_exams(CONFIG)
MEASURED = [make_exam(CONFIG, 14) for make_exam in (sizes_exam, sides_exam, colours_exam, styles_exam)]


@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: exam.name)
def test_every_prompt_asks_for_pairs_that_training_never_showed(exam: Exam) -> None:
    assert len(exam.prompts) == len(exam.layouts) >= CONFIG.evaluate.prompts_of_a_word
    for prompt, layout in zip(exam.prompts, exam.layouts, strict=True):
        assert any(phrase in prompt for phrase in background_phrases(layout.background))
        for placement in layout.placements:
            assert any(name in prompt for name in SUBJECTS[placement.subject].names)
            assert is_held_out(placement.subject, layout.background, CONFIG.data.held_out_percent), prompt


def test_the_exams_are_as_long_as_promised() -> None:
    assert len(EXAMS[0].prompts) == 200
    assert len(set(EXAMS[0].prompts)) == 200
    assert CONFIG.evaluate.seeds == 3


def test_synonyms_are_other_names() -> None:
    exam = next(exam for exam in EXAMS if exam.name == "synonyms")
    for prompt, layout in zip(exam.prompts, exam.layouts, strict=True):
        names = SUBJECTS[layout.placements[0].subject].names
        assert any(f" {name} " in f" {prompt} " for name in names[1:])


@pytest.mark.parametrize("exam", MEASURED, ids=lambda exam: exam.name)
def test_a_picture_of_nothing_passes_no_exam(exam: Exam) -> None:
    judges = Judges(Judge(), Path())
    as_asked = [draw(replace(layout, placements=()), Path()) for layout in exam.layouts]
    backdrops = [draw(Layout(*NATIVE, layout.background, ()), Path()) for layout in exam.layouts]
    of_one_colour = [np.full((256, 256, 3), colour, np.uint8) for colour in COLOURS.values()]
    uniform = [of_one_colour[index % len(of_one_colour)] for index in range(len(exam.layouts))]
    for pictures in (as_asked, backdrops, uniform):
        answers = exam.judge(np.stack(pictures), judges)
        assert not any(any(right) for right in answers.values())


@pytest.mark.slow
@pytest.mark.parametrize("exam", MEASURED, ids=lambda exam: exam.name)
def test_right_pictures_pass_every_exam(exam: Exam, sprites: Path) -> None:
    pictures = np.stack([draw(layout, sprites) for layout in exam.layouts])
    answers = exam.judge(pictures, Judges(Judge(), sprites))
    assert not any(answers.pop("unasked", []))
    assert all(all(right) for right in answers.values())
