"""Chunks are 75 tokens at most, cut where A1111 and compel cut, and nothing is dropped."""

from functools import cache
from itertools import chain
from typing import Any

import pytest
from transformers import CLIPTokenizer

from pipelines.components.single_file import CONFIGS
from pipelines.prompts.chunking import cost_of, cut, cut_at_commas, sections_of, tokenize
from pipelines.prompts.inversion_names import FIRST_PLACEHOLDER
from pipelines.prompts.reading import Fragment, Passage, Section
from pipelines.prompts.syntax import parse
from pipelines.prompts.textual_inversion import extend


@cache
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(str(CONFIGS / "tokenizer"), pad_token="!", model_max_length=77)


@cache
def with_vectors() -> CLIPTokenizer:
    return extend(tokenizer(), 128)


def section(*texts: str) -> Section:
    return tuple(map(Fragment, texts))


def lengths(text: str, weighting: Any = "a1111") -> list[int]:
    return [len(chunk) for chunk in cut(section(text), tokenizer(), weighting)]


def placeholders(first: int, count: int) -> str:
    return "".join(chr(FIRST_PLACEHOLDER + number) for number in range(first, first + count))


@pytest.mark.parametrize("weighting", ["a1111", "compel"])
@pytest.mark.parametrize(("count", "chunks"), [(0, 1), (1, 1), (75, 1), (76, 2), (150, 2), (151, 3)])
def test_a_chunk_holds_75_tokens(count: int, chunks: int, weighting: Any) -> None:
    found = lengths("fox " * count, weighting)
    assert sum(found) == count
    assert len(found) == chunks
    assert max(found) <= 75


@pytest.mark.parametrize("weighting", ["a1111", "compel"])
def test_nothing_is_dropped_and_the_order_stays(weighting: Any) -> None:
    text = "A fox, seen at night. It sits on a hill, near a house; behind it, the sea: " * 40
    chunks = cut(section(text), tokenizer(), weighting)
    assert list(chain(*chunks)) == tokenize([text], tokenizer())[0]
    assert max(map(len, chunks)) <= 75


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (60, 20, [61, 20]),  # a comma is the 61st token: 14 tokens behind it go over
        (55, 30, [56, 30]),  # the earliest comma that counts is the 56th token
        (54, 30, [75, 10]),  # the 55th is too far back
        (74, 5, [75, 5]),  # the last token is the comma itself
        (75, 5, [75, 6]),  # the comma is the first token that does not fit
        (10, 64, [75]),
    ],
)
def test_what_stands_behind_a_late_comma_goes_over_as_in_a1111(before: int, after: int, expected: list[int]) -> None:
    assert lengths("fox " * before + ", " + "cat " * after) == expected


def test_a_comma_of_the_chunk_before_does_not_count() -> None:
    assert lengths("fox " * 60 + ", " + "cat " * 100) == [61, 75, 25]


def test_compel_cuts_at_the_last_sentence() -> None:
    assert lengths("fox " * 40 + ". " + "cat " * 60, "compel") == [41, 60]
    assert lengths("fox " * 40 + ". " + "cat " * 60) == [75, 26]


def test_fragments_are_tokenized_one_by_one_and_keep_their_weights() -> None:
    chunks = cut_at_commas((Fragment("a fox", 1.5), Fragment("es", 0.5)), tokenizer())
    assert [weight for _, weight in chunks[0]] == [1.5, 1.5, 0.5]


def test_the_vectors_of_a_textual_inversion_stay_together() -> None:
    text = "fox " * 70 + placeholders(0, 8) + " cat"
    assert [len(chunk) for chunk in cut(section(text), with_vectors(), "a1111")] == [70, 9]
    late_comma = "fox " * 66 + ", " + "cat " * 8 + placeholders(0, 70)
    assert [len(chunk) for chunk in cut(section(late_comma), with_vectors(), "a1111")] == [67, 8, 70]
    whole = placeholders(0, 75) + " fox " + placeholders(75, 50)
    assert [len(chunk) for chunk in cut(section(whole), with_vectors(), "a1111")] == [75, 51]


@pytest.mark.parametrize("weighting", ["a1111", "compel"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a BREAK b", [1, 1]),
        ("a BREAK BREAK b", [1, 0, 1]),
        ("BREAK a", [0, 1]),
        ("a BREAK ", [1]),
        ("BREAK", [0]),
        ("fox " * 80 + "BREAK b", [75, 5, 1]),
    ],
)
def test_break_begins_a_chunk(text: str, expected: list[int], weighting: Any) -> None:
    (passage,) = parse(text, "a1111").reading(1, 1).parts
    assert isinstance(passage, Passage)
    chunks = [cut(part, tokenizer(), weighting) for part in sections_of(passage)]
    assert [len(chunk) for chunk in chain(*chunks)] == expected


@pytest.mark.parametrize(
    ("text", "weighting", "expected"),
    [
        ("a fox", "a1111", (2, 1, 1)),
        ("(a)0.5 fox (by)0.5 night", "a1111", (4, 1, 1)),
        ("(a)0.5 fox (by)0.5 night", "compel", (4, 1, 3)),
        ('("a fox", "' + "cat " * 80 + '").blend(1, 1)', "compel", (82, 2, 3)),
        ('("a fox", "a cat").and()', "compel", (4, 2, 2)),
    ],
)
def test_what_a_prompt_costs_is_known_before_it_is_encoded(text: str, weighting: Any, expected: Any) -> None:
    cost = cost_of(parse(text, "compel").reading(1, 1), tokenizer(), weighting)
    assert (cost.tokens, cost.chunks, cost.passes) == expected
