"""A scheduled prompt's stages: which reading holds up to which step."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.prompts.syntax import parse

FORMS = ["red", " ", "[", "]", "|", ":", "0.5", "3", "(", ")", "x", "BREAK", "[a:b:0.3]", "[a|b]", "[c::7]", "++"]
SCHEDULED = st.lists(st.sampled_from(FORMS), max_size=14).map("".join)


def ends(text: str, steps: int) -> list[tuple[int, str]]:
    return [(last, reading.text) for last, reading in parse(text).stages(steps)]


def test_a_prompt_that_is_not_scheduled_has_one_stage() -> None:
    for text in ("a fox", "(a fox:1.2)", "[fox]", "fox++", '("a", "b").and()', ""):
        prompt = parse(text)
        assert not prompt.is_scheduled
        assert prompt.stages(20) == ((20, prompt.reading(7, 20)),)


def test_what_comes_after_the_last_step_is_no_stage() -> None:
    assert ends("[a:b:30]", 20) == [(20, "a")]
    assert ends("[a:b:30]", 40) == [(30, "a"), (40, "b")]
    assert ends("[a:b:30] [c:d:40]", 20) == [(20, "a c")]


def test_what_would_come_before_the_first_step_holds_from_the_beginning() -> None:
    assert ends("[a:b:0.01]", 20) == [(20, "b")]


def test_edits_at_one_step_are_one_change() -> None:
    assert ends("[a:b:0.5] [c:d:10]", 20) == [(10, "a c"), (20, "b d")]


def test_an_edit_that_changes_nothing_is_no_stage() -> None:
    prompt = parse("[fox:fox:5]")
    assert prompt.is_scheduled
    assert ends("[fox:fox:5]", 20) == [(20, "fox")]


def test_alternation_changes_at_each_step_and_begins_again() -> None:
    assert ends("[a|b|c]", 5) == [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b")]


def test_alternations_of_two_lengths_run_side_by_side() -> None:
    assert [words for _, words in ends("[a|b][c|d|e]", 7)] == ["ac", "bd", "ae", "bc", "ad", "be", "ac"]


def test_one_step_is_one_stage() -> None:
    assert ends("[a:b:0.5]", 1) == [(1, "b")]
    assert ends("[a|b]", 1) == [(1, "a")]


def test_a_sections_number_may_change_from_stage_to_stage() -> None:
    sections = [len(reading.parts[0].sections) for _, reading in parse("[a BREAK b:c:2] BREAK d").stages(4)]
    assert sections == [3, 2]


@pytest.mark.parametrize("steps", [1, 2, 30, 150])
@pytest.mark.parametrize("when", ["1" + "0" * 300, "9" * 308 + ".0", "-" + "9" * 308, "-" + "9" * 308 + ".5"])
def test_a_time_beyond_all_steps_is_never_or_always(when: str, steps: int) -> None:
    assert ends(f"[a:b:{when}]", steps) == [(steps, "b" if when.startswith("-") else "a")]


@given(SCHEDULED, st.integers(1, 12))
@settings(deadline=None, max_examples=150)
def test_stages_are_the_readings_of_every_step_in_order(text: str, steps: int) -> None:
    prompt = parse(text)
    stages = prompt.stages(steps)
    lasts = [last for last, _ in stages]
    assert lasts == sorted(set(lasts))
    assert lasts[-1] == steps
    assert all(before != after for (_, before), (_, after) in pairwise(stages))
    for step in range(1, steps + 1):
        reading = next(reading for last, reading in stages if step <= last)
        assert reading == prompt.reading(step, steps)
