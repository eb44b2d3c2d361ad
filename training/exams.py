"""What the model is asked in the evaluation, and how each answer is judged.

Every prompt names a subject and a background that training never showed together, and comes with the layout of a
picture that would be right, so that judges and measures can be measured too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.captions import STYLE_ENDINGS, background_phrases, with_article
from training.config import Config
from training.judge import Judge
from training.layouts import ASIDE, LARGE, LEFT, PAIRED, RIGHT, SMALL, canonical_single, held_out_pairs
from training.measures import half, name_background, name_colour, sharpness, side_word, size_word
from training.pictures import Layout, Pixels, Placement
from training.style_measures import can_show, has_style
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
Answers = dict[str, list[bool]]


@dataclass(frozen=True)
class Judges:
    """What an exam is judged with: who names subjects, and the sprites that colours are compared with."""

    subjects: Judge
    sprites: Path


@dataclass(frozen=True)
class Exam:
    """Prompts, layouts of pictures that would be right, and a judgement of pictures: named answers, one for each."""

    name: str
    prompts: tuple[str, ...]
    layouts: tuple[Layout, ...]
    judge: Callable[[Pixels, Judges], Answers]


def held_out_prompts(config: Config, count: int, plain: bool = False, seed: int = 0) -> list[Pair]:
    """Choose held-out pairs without repetition; `plain` ones have a background of one colour."""
    pairs = held_out_pairs(config.data.held_out_percent)
    pairs = [pair for pair in pairs if not plain or pair[1].kind == "plain"]
    rng = np.random.default_rng((config.evaluate.seed, seed))
    return [pairs[index] for index in rng.permutation(len(pairs))[:count]]


def plain_prompt(subject: str, background: Background) -> str:
    """Say a subject and a background in the first, plainest way."""
    return f"{with_article(subject)} {background_phrases(background)[0]}"


def subjects_exam(config: Config, count: int) -> Exam:
    """Subject and background."""
    pairs = held_out_prompts(config, count)

    def judge(pictures: Pixels, judges: Judges) -> Answers:
        return {
            "subject": _named(pictures, pairs, judges),
            "background": [name_background(picture) == pair[1] for picture, pair in zip(pictures, pairs, strict=True)],
        }

    layouts = tuple(canonical_single(*pair) for pair in pairs)
    return Exam("subjects", tuple(plain_prompt(*pair) for pair in pairs), layouts, judge)


def synonyms_exam(config: Config, count: int) -> Exam:
    """Subjects by their other names."""
    pairs = [pair for pair in held_out_prompts(config, 10_000, seed=10) if SUBJECTS[pair[0]].names[1:]][:count]
    prompts = []
    for index, (subject, background) in enumerate(pairs):
        names = SUBJECTS[subject].names[1:]
        prompts.append(plain_prompt(names[index % len(names)], background))
    layouts = tuple(canonical_single(*pair) for pair in pairs)
    return Exam(
        "synonyms", tuple(prompts), layouts, lambda pictures, judges: {"synonym": _named(pictures, pairs, judges)}
    )


def sizes_exam(config: Config, count: int) -> Exam:
    """Words of size: the extent of what is not background."""
    pairs = held_out_prompts(config, count, plain=True, seed=1)
    words = [("small", "large")[index % 2] for index in range(count)]
    prompts = [
        plain_prompt(f"{SIZE_WORDS[word][index // 2 % 3]} {subject}", background)
        for index, (word, (subject, background)) in enumerate(zip(words, pairs, strict=True))
    ]
    layouts = [
        canonical_single(*pair, SMALL if word == "small" else LARGE) for word, pair in zip(words, pairs, strict=True)
    ]

    def judge(pictures: Pixels, judges: Judges) -> Answers:
        seen = [size_word(picture, pair[1]) for picture, pair in zip(pictures, pairs, strict=True)]
        return {"size": _equal(seen, words)}

    return Exam("sizes", tuple(prompts), tuple(layouts), judge)


def sides_exam(config: Config, count: int) -> Exam:
    """One subject on the left or on the right: where the middle of what is not background lies."""
    pairs = held_out_prompts(config, count, plain=True, seed=2)
    words = [("left", "right")[index % 2] for index in range(count)]
    prompts, layouts = [], []
    for word, (subject, background) in zip(words, pairs, strict=True):
        prompts.append(f"{with_article(subject)} on the {word} {background_phrases(background)[0]}")
        middle = canonical_single(subject, background, ASIDE)
        place = replace(middle.placements[0], x=LEFT if word == "left" else RIGHT)
        layouts.append(replace(middle, placements=(place,)))

    def judge(pictures: Pixels, judges: Judges) -> Answers:
        seen = [side_word(picture, pair[1]) for picture, pair in zip(pictures, pairs, strict=True)]
        return {"side": _equal(seen, words)}

    return Exam("sides", tuple(prompts), tuple(layouts), judge)


def two_subjects_exam(config: Config, count: int) -> Exam:
    """Two subjects by name and by side; the halves of the picture are judged.

    `both`: both are there, on either side. `order`: of those asked for by side, the two stand as asked.
    """
    wanted = []
    for first, background in held_out_prompts(config, count, seed=3):
        rng = np.random.default_rng((config.evaluate.seed, len(wanted)))
        percent = config.data.held_out_percent
        others = [name for name in SUBJECTS if name != first and is_held_out(name, background, percent)]
        wanted.append((first, others[int(rng.integers(len(others)))], background))
    prompts, layouts = [], []
    for index, (first, second, background) in enumerate(wanted):
        a, b = with_article(first), with_article(second)
        text = f"{a} and {b}" if index % 2 else f"{a} on the left and {b} on the right"
        prompts.append(f"{text} {background_phrases(background)[0]}")
        layouts.append(paired(first, second, background))

    def judge(pictures: Pixels, judges: Judges) -> Answers:
        lefts, rights = (
            judges.subjects.names(
                np.stack([half(picture, want[2], side) for picture, want in zip(pictures, wanted, strict=True)])
            )
            for side in ("left", "right")
        )
        seen = list(zip(lefts, rights, strict=True))
        both = [set(pair) == set(want[:2]) for pair, want in zip(seen, wanted, strict=True)]
        order = [pair == want[:2] for pair, want in zip(seen, wanted, strict=True)]
        return {"both": both, "order": order[::2]}

    return Exam("two-subjects", tuple(prompts), tuple(layouts), judge)


def colours_exam(config: Config, count: int) -> Exam:
    """A subject's colour beside another one's background; some of the paintings were never seen in training."""
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
    prompts = [plain_prompt(f"{colour} {subject}", background) for subject, background, colour in wanted]
    layouts = [canonical_single(subject, background, colour=colour) for subject, background, colour in wanted]

    def judge(pictures: Pixels, judges: Judges) -> Answers:
        right = [
            name_colour(picture, subject, background, judges.sprites) == colour
            for picture, (subject, background, colour) in zip(pictures, wanted, strict=True)
        ]
        is_unseen = [is_colour_held_out(subject, colour, percent) for subject, _, colour in wanted]
        unseen = [value for value, is_new in zip(right, is_unseen, strict=True) if is_new]
        return {"colour": right, "unseen_colour": unseen}

    return Exam("colours", tuple(prompts), tuple(layouts), judge)


def styles_exam(config: Config, count: int) -> Exam:
    """Every style by its own measure; `count` prompts are followed by the same ones without a style.

    `unasked`: pictures without the style word that the style's measure accepts all the same.
    """
    waiting = held_out_prompts(config, 10_000, plain=True, seed=5)
    styles: list[Style] = [STYLES[index % len(STYLES)] for index in range(count)]
    pairs: list[Pair] = []
    for style in styles:
        pairs.append(waiting.pop(next(index for index, pair in enumerate(waiting) if can_show(style, *pair))))
    bare = [plain_prompt(*pair) for pair in pairs]
    prompts = [f"{text}, {STYLE_ENDINGS[style][0]}" for text, style in zip(bare, styles, strict=True)]
    plain = [canonical_single(*pair) for pair in pairs]
    layouts = [replace(layout, style=style) for layout, style in zip(plain, styles, strict=True)]

    def judge(pictures: Pixels, judges: Judges) -> Answers:
        styled, unstyled = pictures[:count], pictures[count:]
        sharp = [sharpness(picture) for picture in unstyled]
        right, unasked = (
            [
                has_style(picture, style, pair[1], value)
                for picture, style, pair, value in zip(group, styles, pairs, sharp, strict=True)
            ]
            for group in (styled, unstyled)
        )
        by_style = {
            style.replace(" ", "_"): [value for value, own in zip(right, styles, strict=True) if own == style]
            for style in STYLES
        }
        return {"style": right, "unasked": unasked, **by_style}

    return Exam("styles", (*prompts, *bare), (*layouts, *plain), judge)


def paired(first: str, second: str, background: Background) -> Layout:
    """Place two subjects side by side as training does."""
    middle = canonical_single(first, background, PAIRED)
    y = middle.placements[0].y
    return replace(middle, placements=(Placement(first, LEFT, y, PAIRED), Placement(second, RIGHT, y, PAIRED)))


def _named(pictures: Pixels, pairs: Sequence[Pair], judges: Judges) -> list[bool]:
    return _equal(judges.subjects.names(pictures), [subject for subject, _ in pairs])


def _equal(seen: Sequence[str], wanted: Sequence[str]) -> list[bool]:
    return [a == b for a, b in zip(seen, wanted, strict=True)]


WORD_EXAMS: tuple[Callable[[Config, int], Exam], ...] = (
    synonyms_exam,
    sizes_exam,
    sides_exam,
    two_subjects_exam,
    colours_exam,
    styles_exam,
)


def all_exams(config: Config) -> Sequence[Exam]:
    """List the exams in the sizes that the configuration asks for."""
    settings = config.evaluate
    others = [make_exam(config, settings.prompts_of_a_word) for make_exam in WORD_EXAMS]
    return (subjects_exam(config, settings.prompts), *others)
