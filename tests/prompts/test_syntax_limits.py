"""Whatever strangers paste is read without an error, in work that grows with its length alone."""

import math
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.prompts.reading import Blend, Fragment, Passage
from pipelines.prompts.syntax import Prompt, parse
from pipelines.prompts.syntax.program import MAX_WEIGHT
from pipelines.schema.types import Syntax

SYNTAXES: tuple[Syntax, ...] = ("auto", "a1111", "compel")
SIGNS = ["(", ")", "[", "]", ":", "|", "\\", '"', ",", ".", "+", "-", "=", "<", ">", " ", "\n", "\t", "\x00", "1.3"]
SIGNS += ["0.5", "9", "x", "fox", "BREAK", "AND", "<lora:a:1>", "<lora:", "embedding:", "withLora(a, 1)", "withLora("]
SIGNS += [".and(", ".blend(1, 1)", ".swap(", ".attend(", "nan", "inf", "1e999", "🦊", "ث", "\ud83d", "\u200f", "\u00a0"]
ANYTHING = st.one_of(st.lists(st.sampled_from(SIGNS), max_size=40).map("".join), st.text(max_size=60))
WORDS = st.lists(
    st.sampled_from(
        ["fox", "t-shirt", "don't", "a+b", "x-ray-like", "35mm", "16", "8k", "é", "狐狸", "ثعلب", "🦊", "O_o"]
    ),
    min_size=1,
    max_size=8,
)
SPACES = st.sampled_from([" ", ", ", "  ", "\n", ". ", ": ", " | ", " - ", " = "])

GROWING: dict[str, Callable[[int], str]] = {
    "round": lambda n: "(" * n + "x" + ")" * n,
    "square": lambda n: "[" * n + "x" + "]" * n,
    "weighted": lambda n: "(" * n + "x" + ":1.1)" * n,
    "edits": lambda n: "[a:" * n + "x" + ":3]" * n,
    "alternations": lambda n: "[a|" * n + "x" + "]" * n,
    "compel": lambda n: "(" * n + "x" + ")+" * n,
    "lists": lambda n: "(" * n + "a" + ").and()" * n,
    "crossed": lambda n: "([" * n + ")]" * n,
    "unclosed": lambda n: "((" * n,
    "unopened": lambda n: "])" * n,
    "colons": lambda n: "(x:" * n,
    "numbers": lambda n: "(x:" + "9" * 3 * n + ")",
    "points": lambda n: "[x:" + "9." * n + "]",
    "spaces": lambda n: "(x:" + " " * 3 * n + "y)",
    "breaks": lambda n: "   BREAK" * n,
    "tags": lambda n: "<lora:a:1>" * n,
    "open tags": lambda n: "<lora:" * n,
    "names": lambda n: "embedding:" * n,
    "quotes": lambda n: '"' * 3 * n,
    "quotes and brackets": lambda n: '"(' * n,
    "escaped quotes": lambda n: '"\\' * n,
    "quotes on lines": lambda n: '"\n' * n,
    "signs": lambda n: "x" + "+" * 3 * n,
    "mixed signs": lambda n: "x" + "+-" * n,
    "weighted words": lambda n: "x++ " * n,
    "swaps": lambda n: "a.swap((" * n,
    "open swap": lambda n: "a.swap(" + "b c " * n,
    "attends": lambda n: "a.attend(" * n,
    "loras": lambda n: "withLora(a   " * n,
    "items": lambda n: "(" + "a," * n + "b).and()",
    "options": lambda n: "(a, b).and(" + "1," * n + "1)",
    "backslashes": lambda n: "\\" * 3 * n,
    "words": lambda n: "a cat, " * n,
    "one word": lambda n: "x" * 3 * n,
    "emoji": lambda n: "🦊" * 3 * n,
    "faces": lambda n: ":) " * n,
}
LOOKED_AHEAD = ("numbers", "points", "spaces", "breaks", "open tags", "names", "quotes", "escaped quotes")
LOOKED_AHEAD += ("quotes on lines", "swaps", "open swap", "attends", "loras", "options", "signs")
"""Forms for which regular expressions look far ahead."""


def test_prompts_are_read_without_torch_compel_or_a_library_for_parsers() -> None:
    code = "import sys, pipelines.prompts.syntax; print({'torch', 'compel', 'pyparsing', 'lark'} & set(sys.modules))"
    project = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


@given(ANYTHING, st.sampled_from(SYNTAXES))
@settings(deadline=None, max_examples=200)
def test_anything_is_read_with_finite_weights_and_at_least_one_fragment(text: str, syntax: Syntax) -> None:
    prompt = parse(text, syntax)
    for passage, weight in passages(prompt):
        assert abs(weight) <= MAX_WEIGHT
        assert passage.sections
        assert all(section for section in passage.sections)
        for fragment in (fragment for section in passage.sections for fragment in section):
            assert abs(fragment.weight) <= MAX_WEIGHT
    assert all(math.isfinite(lora.weight) for lora in prompt.loras)
    assert all(hint.value == hint.value.strip() and len(hint.value) <= 24 for hint in prompt.hints)
    assert parse(text, syntax) == prompt


@given(ANYTHING, st.sampled_from(SYNTAXES))
@settings(deadline=None, max_examples=150)
def test_a_plain_text_comes_out_as_it_went_in(text: str, syntax: Syntax) -> None:
    prompt = parse(text, syntax)
    if prompt.dialect == "plain":
        assert words_of(prompt) == text


@given(st.lists(st.tuples(WORDS, SPACES), min_size=1, max_size=4), st.sampled_from(SYNTAXES))
@settings(deadline=None, max_examples=100)
def test_words_without_signs_are_plain_in_every_dialect(pairs: list[tuple[list[str], str]], syntax: Syntax) -> None:
    text = "".join(space.join(words) + space for words, space in pairs)
    prompt = parse(text, syntax)
    assert (prompt.dialect, words_of(prompt), prompt.hints, prompt.is_scheduled) == ("plain", text, (), False)


@given(st.text("ab ()[]\\", max_size=30))
@settings(deadline=None, max_examples=200)
def test_what_is_escaped_comes_out_as_it_was(text: str) -> None:
    escaped = "".join("\\" + character if character in "()[]\\" else character for character in text)
    assert words_of(parse(escaped)) == text


@given(st.text("ab ()", max_size=30), st.sampled_from(SYNTAXES))
@settings(deadline=None, max_examples=200)
def test_no_word_is_lost_whatever_the_brackets(text: str, syntax: Syntax) -> None:
    letters = [character for character in text if character in "ab"]
    assert [character for character in words_of(parse(text, syntax)) if character in "ab"] == letters


@given(ANYTHING)
@settings(deadline=None, max_examples=120)
def test_the_dialect_that_is_seen_is_the_one_that_would_be_fixed(text: str) -> None:
    seen = parse(text)
    if seen.dialect != "plain":
        fixed = parse(text, seen.dialect)
        assert (seen.parts, seen.weights, seen.loras) == (fixed.parts, fixed.weights, fixed.loras)


@pytest.mark.parametrize("form", GROWING)
def test_work_grows_with_the_length_alone(form: str) -> None:
    """Calls of functions, Python's and C's, at two lengths; all work outside of them is in regular expressions."""
    make = GROWING[form]
    for syntax in SYNTAXES:
        short, long = (count_calls(lambda n=n, syntax=syntax: parse(make(n), syntax).stages(5)) for n in (50, 200))
        assert long < 4.4 * short + 200


@pytest.mark.parametrize("form", LOOKED_AHEAD)
def test_no_regular_expression_goes_back_and_forth(form: str) -> None:
    """In the processor's time, which is no promise of speed: one that is quadratic takes a minute."""
    text = GROWING[form](10_000)
    begun = time.process_time()
    prompt = parse(text)
    prompt.stages(2)
    assert time.process_time() - begun < 5
    assert prompt.text == text


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_ten_thousand_brackets_have_a_limited_weight(syntax: Syntax) -> None:
    text = "(" * 10_000 + "fox" + ")" * 10_000
    prompt = parse(text, syntax)
    expected = {"a1111": MAX_WEIGHT, "compel": 1.0}[prompt.dialect]
    assert [passage.sections for passage, _ in passages(prompt)] == [((Fragment("fox", expected),),)]


def test_ten_thousand_brackets_can_be_compared_copied_and_shown() -> None:
    prompt = parse("[" * 10_000 + "fox" + "]" * 10_000)
    assert pickle.loads(pickle.dumps(prompt)) == prompt
    assert hash(prompt) == hash(parse(prompt.text))
    assert "fox" in repr(prompt)


@pytest.mark.parametrize(
    "text", ["a fox, " * 14_286, " " * 100_000, "BREAK " * 16_667, "(fox:1.2), " * 9_091, "🦊" * 100_000]
)
def test_a_hundred_thousand_characters_are_read(text: str) -> None:
    assert len(text) >= 100_000
    prompt = parse(text)
    assert len(prompt.stages(30)) == 1
    if prompt.dialect == "plain":
        assert words_of(prompt) == text


def passages(prompt: Prompt) -> list[tuple[Passage, float]]:
    """Every passage of every stage, with the weight of the part or the item that it is."""
    found = []
    for _, reading in prompt.stages(3):
        for part, weight in zip(reading.parts, reading.weights, strict=True):
            if isinstance(part, Blend):
                found += list(zip(part.passages, part.weights, strict=True))
            else:
                found.append((part, weight))
    return found


def words_of(prompt: Prompt) -> str:
    """All words of the first step."""
    found = []
    for part in prompt.reading(1, 3).parts:
        for passage in part.passages if isinstance(part, Blend) else (part,):
            found += [fragment.text for section in passage.sections for fragment in section]
    return "".join(found)


def count_calls(work: Callable[[], object]) -> int:
    """How many functions are called during `work`."""
    calls = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls
