"""What the model is asked in the evaluation, and how each answer is judged.

Every prompt names a subject and a background that training never showed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.captions import STYLE_ENDINGS, background_phrases, with_article
from training.config import Config
from training.judge import Judge, name_subjects
from training.layouts import NATIVE, held_out_pairs
from training.measures import (
    has_style,
    name_background,
    name_colour,
    sharpness,
    side_word,
    size_word,
    subject_mask,
)
from training.pictures import Pixels
from training.subjects import (
    SIZE_WORDS,
    STYLES,
    SUBJECT_COLOURS,
    SUBJECTS,
    Background,
    Style,
    is_colour_held_out,
    is_held_out,
)

Pair = tuple[str, Background]


@dataclass(frozen=True)
class Exam:
    """Prompts with a judgement of their pictures: named answers, one per picture."""

    name: str
    prompts: tuple[str, ...]
    judge: Callable[[Pixels], dict[str, list[bool]]]


@dataclass(frozen=True)
class Judges:
    """What an exam is judged with."""

    subjects: Judge
    side: int
    sprites: Path

    def names(self, pictures: Pixels) -> list[str]:
        """Name the subject of each picture."""
        return name_subjects(self.subjects, pictures, self.side)


def held_out_prompts(config: Config, count: int, plain: bool = False, seed: int = 0) -> list[Pair]:
    """Choose held-out pairs without repetition; `plain` ones have a background of one colour."""
    pairs = held_out_pairs(config.data.held_out_percent)
    pairs = [pair for pair in pairs if not plain or pair[1].kind == "plain"]
    rng = np.random.default_rng((config.evaluate.seed, seed))
    return [pairs[index] for index in rng.permutation(len(pairs))[:count]]


def plain_prompt(subject: str, background: Background) -> str:
    """Say a subject and a background in the first, plainest way."""
    return f"{with_article(subject)} {background_phrases(background)[0]}"


def subjects_exam(config: Config, judges: Judges, count: int) -> Exam:
    """Subject and background."""
    pairs = held_out_prompts(config, count)

    def judge(pictures: Pixels) -> dict[str, list[bool]]:
        names = judges.names(pictures)
        return {
            "subject": [name == pair[0] for name, pair in zip(names, pairs, strict=True)],
            "background": [name_background(picture) == pair[1] for picture, pair in zip(pictures, pairs, strict=True)],
        }

    return Exam("subjects", tuple(plain_prompt(*pair) for pair in pairs), judge)


def sizes_exam(config: Config, judges: Judges, count: int) -> Exam:
    """Words of size: the extent of what is not background."""
    pairs = held_out_prompts(config, count, plain=True, seed=1)
    words = [("small", "large")[index % 2] for index in range(count)]
    prompts = [
        f"{with_article(f'{SIZE_WORDS[word][index // 2 % 3]} {subject}')} {background_phrases(background)[0]}"
        for index, (word, (subject, background)) in enumerate(zip(words, pairs, strict=True))
    ]

    def judge(pictures: Pixels) -> dict[str, list[bool]]:
        return {"size": _masked(pictures, pairs, lambda mask, index: size_word(mask) == words[index])}

    return Exam("sizes", tuple(prompts), judge)


def sides_exam(config: Config, judges: Judges, count: int) -> Exam:
    """One subject on the left or on the right: where the middle of what is not background lies."""
    pairs = held_out_prompts(config, count, plain=True, seed=2)
    words = [("left", "right")[index % 2] for index in range(count)]
    prompts = [
        f"{with_article(subject)} on the {word} {background_phrases(background)[0]}"
        for word, (subject, background) in zip(words, pairs, strict=True)
    ]

    def judge(pictures: Pixels) -> dict[str, list[bool]]:
        return {"side": _masked(pictures, pairs, lambda mask, index: side_word(mask) == words[index])}

    return Exam("sides", tuple(prompts), judge)


def _masked(pictures: Pixels, pairs: list[Pair], check: Callable[[np.ndarray, int], bool]) -> list[bool]:
    return [
        check(subject_mask(picture, pair[1]), index)
        for index, (picture, pair) in enumerate(zip(pictures, pairs, strict=True))
    ]


def two_subjects_exam(config: Config, judges: Judges, count: int) -> Exam:
    """Two subjects by name and by side; the halves of the picture are judged.

    `both`: both are there, on either side. `order`: of those asked for by side, the two stand as asked.
    """
    wanted = []
    for first, background in held_out_prompts(config, count, seed=3):
        rng = np.random.default_rng((config.evaluate.seed, len(wanted)))
        percent = config.data.held_out_percent
        others = [name for name in SUBJECTS if name != first and is_held_out(name, background, percent)]
        wanted.append((first, others[int(rng.integers(len(others)))], background))
    prompts = []
    for index, (first, second, background) in enumerate(wanted):
        a, b = with_article(first), with_article(second)
        text = f"{a} and {b}" if index % 2 else f"{a} on the left and {b} on the right"
        prompts.append(f"{text} {background_phrases(background)[0]}")

    def judge(pictures: Pixels) -> dict[str, list[bool]]:
        lefts, rights = judges.names(half(pictures, 0)), judges.names(half(pictures, NATIVE[0] // 2))
        seen = list(zip(lefts, rights, strict=True))
        both = [set(pair) == set(want[:2]) for pair, want in zip(seen, wanted, strict=True)]
        order = [pair == want[:2] for pair, want in zip(seen, wanted, strict=True)]
        return {"both": both, "order": order[::2]}

    return Exam("two subjects", tuple(prompts), judge)


def colours_exam(config: Config, judges: Judges, count: int) -> Exam:
    """A subject's colour beside another one's background; half of the paintings were never seen in training."""
    rng = np.random.default_rng((config.evaluate.seed, 4))
    percent = config.data.held_out_colours_percent
    wanted: list[tuple[str, Background, str]] = []
    pairs = [pair for pair in held_out_prompts(config, 10_000, plain=True, seed=4) if SUBJECTS[pair[0]].repaint]
    while len(wanted) < count:
        subject, background = pairs[len(wanted) % len(pairs)]
        colours = [name for name in SUBJECT_COLOURS if name not in (background.name, SUBJECTS[subject].colour)]
        unseen = [name for name in colours if is_colour_held_out(subject, name, percent)]
        colours = unseen if unseen and len(wanted) % 2 else colours
        wanted.append((subject, background, colours[int(rng.integers(len(colours)))]))
    prompts = [
        f"{with_article(f'{colour} {subject}')} {background_phrases(background)[0]}"
        for subject, background, colour in wanted
    ]

    def judge(pictures: Pixels) -> dict[str, list[bool]]:
        right = [
            name_colour(picture, subject, background, judges.sprites) == colour
            for picture, (subject, background, colour) in zip(pictures, wanted, strict=True)
        ]
        is_unseen = [is_colour_held_out(subject, colour, percent) for subject, _, colour in wanted]
        return {
            "colour": right,
            "unseen colour": [value for value, unseen in zip(right, is_unseen, strict=True) if unseen],
        }

    return Exam("colours", tuple(prompts), judge)


def styles_exam(config: Config, judges: Judges, count: int) -> Exam:
    """Every style by its own measure; `count` prompts are followed by the same ones without a style."""
    pairs = held_out_prompts(config, count, plain=True, seed=5)
    styles: list[Style] = [STYLES[index % len(STYLES)] for index in range(count)]
    bare = [plain_prompt(*pair) for pair in pairs]
    prompts = [f"{text}, {STYLE_ENDINGS[style][0]}" for text, style in zip(bare, styles, strict=True)]

    def judge(pictures: Pixels) -> dict[str, list[bool]]:
        right = [
            has_style(picture, style, background, sharpness(plain))
            for picture, plain, style, (_, background) in zip(
                pictures[:count], pictures[count:], styles, pairs, strict=True
            )
        ]
        by_style = {
            style: [value for value, own in zip(right, styles, strict=True) if own == style] for style in STYLES
        }
        return {"style": right, **by_style}

    return Exam("styles", (*prompts, *bare), judge)


def half(pictures: Pixels, left: int) -> Pixels:
    """Cut the middle square of one half, as the judge is used to square pictures."""
    width, height = NATIVE
    return pictures[:, height // 4 : height // 4 + width // 2, left : left + width // 2]


def all_exams(config: Config, judges: Judges) -> Sequence[Exam]:
    """List the exams in the sizes that the configuration asks for."""
    settings = config.evaluate
    return (
        subjects_exam(config, judges, settings.prompts),
        sizes_exam(config, judges, settings.prompts_of_a_word),
        sides_exam(config, judges, settings.prompts_of_a_word),
        two_subjects_exam(config, judges, settings.prompts_of_a_word),
        colours_exam(config, judges, settings.prompts_of_a_word),
        styles_exam(config, judges, settings.prompts_of_a_word),
    )
