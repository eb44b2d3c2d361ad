"""A1111's forms are read as A1111 documents them, and weights and edits as its definitions say."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.prompts.syntax import parse

ATTENTION = (
    ("normal text", [("normal text", 1)]),
    ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
    ("\\(literal\\]", [("(literal]", 1)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    (
        "a ((house:1.3)) [on] a (hill:0.5)",
        [("a ", 1), ("house", 1.43), (" ", 1), ("on", 1 / 1.1), (" a ", 1), ("hill", 0.5)],
    ),
    (
        "(a ((house:1.3)) [on] a (hill:0.5), sun)",
        [("a ", 1.1), ("house", 1.573), (" ", 1.1), ("on", 1), (" a ", 1.1), ("hill", 0.55), (", sun", 1.1)],
    ),
    (
        "a (sun, (((sky))).)",
        [("a ", 1), ("sun, ", 1.1), ("sky", 1.4641), (".", 1.1)],
    ),
)
"""The examples of `parse_prompt_attention`, their brackets closed."""

SCHEDULES = (
    ("test", [(10, "test")]),
    ("a [b:3]", [(3, "a "), (10, "a b")]),
    ("a [b: 3]", [(3, "a "), (10, "a b")]),
    ("a [[[b]]:2]", [(2, "a "), (10, "a b")]),
    ("[(a:2):3]", [(3, ""), (10, "a")]),
    ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
    ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
    ("a [unbalanced", [(10, "a [unbalanced")]),
    ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
    ("a [{b|d{:.5] c", [(5, "a  c"), (10, "a {b|d{ c")]),
    ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
    ("[a|(b:1.1)]", [(step, "a" if step % 2 else "b") for step in range(1, 11)]),
    ("[fe|]male", [(step, "female" if step % 2 else "male") for step in range(1, 11)]),
    (
        "[fe|||]male",
        [(1, "female"), (4, "male"), (5, "female"), (8, "male"), (9, "female"), (10, "male")],
    ),
)
"""The examples of `get_learned_conditioning_prompt_schedules` in ten steps, the words alone."""


@pytest.mark.parametrize(("text", "fragments"), ATTENTION)
def test_weights_are_those_of_the_documented_examples(text: str, fragments: list[tuple[str, float]]) -> None:
    assert read(text) == [(words, pytest.approx(weight)) for words, weight in fragments]


@pytest.mark.parametrize(("text", "stages"), SCHEDULES)
def test_schedules_are_those_of_the_documented_examples(text: str, stages: list[tuple[int, str]]) -> None:
    assert [(last, reading.text) for last, reading in parse(text).stages(10)] == stages


def test_the_example_in_the_documentation_of_prompt_editing() -> None:
    text = (
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6]"
        "[ in background:0.25] [shoddy:masterful:0.5]"
    )
    assert [(last, reading.text) for last, reading in parse(text).stages(100)] == [
        (25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
        (50, "fantasy landscape with a lake and an oak in foreground in background shoddy"),
        (60, "fantasy landscape with a lake and an oak in foreground in background masterful"),
        (75, "fantasy landscape with a lake and an oak in background masterful"),
        (100, "fantasy landscape with a lake and a christmas tree in background masterful"),
    ]


@pytest.mark.parametrize(
    ("when", "last_step"),
    [("0.5", 10), ("0.24", 4), (".99", 19), ("7", 7), ("7.0", 20), ("1.0", 20), ("19", 19), ("20", 20), ("99", 20)],
)
def test_a_point_makes_a_share_of_the_steps(when: str, last_step: int) -> None:
    expected = [(last_step, "a"), (20, "b")] if last_step < 20 else [(20, "a")]
    assert [(last, reading.text) for last, reading in parse(f"[a:b:{when}]").stages(20)] == expected


TREES = st.recursive(
    st.text("ab c,", min_size=1, max_size=4),
    lambda inner: st.tuples(st.sampled_from(["round", "square", "1.3", "0.5", "2"]), st.lists(inner, max_size=3)),
    max_leaves=12,
)


@given(st.lists(TREES, min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_any_brackets_multiply_as_the_definition_says(trees: list) -> None:
    expected = [piece for tree in trees for piece in define(tree, 1)] or [("", 1)]
    found = read("".join(map(spell, trees)))
    assert merge(found) == [(words, pytest.approx(weight)) for words, weight in merge(expected)]


def read(text: str) -> list[tuple[str, float]]:
    (passage,) = parse(text, "a1111").reading(1, 10).parts
    (section,) = passage.sections
    return [(fragment.text, fragment.weight) for fragment in section]


def spell(tree: str | tuple) -> str:
    if isinstance(tree, str):
        return tree
    kind, inner = tree
    words = "".join(map(spell, inner))
    return {"round": f"({words})", "square": f"[{words}]"}.get(kind, f"({words}:{kind})")


def define(tree: str | tuple, weight: float) -> Iterator[tuple[str, float]]:
    if isinstance(tree, str):
        yield tree, weight
        return
    kind, inner = tree
    factor = {"round": 1.1, "square": 1 / 1.1}.get(kind) or float(kind)
    for each in inner:
        yield from define(each, weight * factor)


def merge(fragments: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Neighbours whose weights differ by rounding alone, as one."""
    merged: list[tuple[str, float]] = []
    for words, weight in fragments:
        if merged and merged[-1][1] == pytest.approx(weight):
            merged[-1] = (merged[-1][0] + words, weight)
        else:
            merged.append((words, weight))
    return merged
