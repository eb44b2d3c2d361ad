"""compel's forms are read as compel's own parser reads them."""

from functools import cache
from typing import Any

import pytest
from compel import Compel
from compel.prompt_parser import Blend as CompelBlend
from compel.prompt_parser import PromptParser

from pipelines.prompts.reading import Blend, Passage
from pipelines.prompts.syntax import parse

FORMS = (
    "x++",
    "a x-- b",
    "a+ b- c+++ d---",
    "(x)",
    "((x))",
    "(x y)1.3",
    "(x y).5 z",
    "(x y)2 z",
    "(x)- (y)++",
    "(x y)-1",
    "(x)+.5",
    "(x)1.3.5",
    "(x)1e3",
    "(a (b)++ c)0.5",
    "(a+ b)-",
    "(((a)1.1)1.1)1.1",
    "(a, b.c)1.2",
    "(b++,c)1.1",
    "(a)1.2(b)1.3",
    "(a)(b)++",
    "a, b++, c",
    "a,b++,,c",
    "a ,b++ , c.",
    "x++y",
    "a++b++",
    "a+- b",
    "x++.",
    "e.g. cat++",
    "(e.g. cat)1.1",
    "t-shirt++ and a 35mm- lens",
    "1-2+ 16:9+ -5+ a-b-c--",
    "don't++ a/b++ #1+ 日本語++ é- 🦊++",
    "C++",
    ";-)",
    "f(x)1.2 y++",
    "f(x y)1.2 z++",
    "f(x (y)1.2 z)",
    '"x y"++ z',
    '"x y"1.3',
    'a "x (y)1.2 z"0.5 b',
    '(a "b c"++ d)1.1',
    "\\(x\\)++",
    "a \\(x\\) (y)1.2",
    "(a \\) b)1.2",
    '\\"a\\" b++',
    "x\\+ y++",
    "x.attend(1.3) y",
    "(x y).attend(++)",
    '"x y".attend(0.5)',
    "a fox withLora(ink, 0.5)",
    "withLora(ink-1) a fox++",
    "(a withLora(ink,0.4) b)1.1",
    '("a","b").and()',
    '("a", "b", "c").and(1, 0.5, .25)',
    "(a, b).and(1, 0.5)",
    '("a").and()',
    '("a", "b").add()',
    '("a, b", "c d").and()',
    '("a", "b").blend(0.7, 0.3)',
    '("a", "b").blend(1, -0.5, no_normalize)',
    '("a++ b", "c (d)1.2").blend(1, 1)',
    '("a (b c)0.5, d", (e f)).blend(1, 1)',
    '("a", (b (c)++ d), e).blend(1, 2, 3)',
    '( "a" , "b" ).blend( 1 , 1 )',
    'withLora(ink, 0.5) ("a","b").blend(1, 1)',
    'c ("a", "b").and()',
    "x.and() y++",
    "  a   x++ \n b\tc ",
)
UNSURE = {"(x)", "((x))", "(x y)-1", "(x)1e3", "x++y", "a+- b", "C++", ";-)"}
"""Forms that may as well be A1111's, or words."""


@pytest.mark.parametrize("text", FORMS)
def test_a_form_is_read_as_compel_reads_it(text: str) -> None:
    prompt = parse(text, "compel")
    reading = prompt.reading(1, 1)
    theirs = parser().parse_conjunction(text)
    assert [(lora.name, lora.weight) for lora in prompt.loras] == [
        (lora.model, lora.weight) for lora in theirs.lora_weights
    ]
    assert [_ours(part) for part in reading.parts] == [_theirs(part) for part in theirs.prompts]
    assert list(reading.weights) == theirs.weights
    assert reading.text == text


@pytest.mark.parametrize("text", FORMS)
def test_a_form_that_only_compel_knows_is_told_by_itself(text: str) -> None:
    assert (parse(text).dialect == "compel") == (text not in UNSURE)


def test_the_parser_compared_with_is_the_one_that_compel_uses() -> None:
    assert parser().parse_conjunction("a fox++") == Compel.parse_prompt_string("a fox++")


def test_a_sign_beside_a_space_is_text_where_compel_gives_up_the_whole_bracket() -> None:
    assert parser().parse_conjunction("(a - b)1.2").prompts[0].children[0].text == "(a - b)1.2"
    assert _ours(parse("(a - b)1.2").reading(1, 1).parts[0]) == [("a - b", 1.2)]


@cache
def parser() -> PromptParser:
    return PromptParser()


def _ours(part: Passage | Blend) -> Any:
    if isinstance(part, Blend):
        return [_ours(passage) for passage in part.passages], list(part.weights), part.normalized
    (section,) = part.sections
    return [(fragment.text, pytest.approx(fragment.weight)) for fragment in section]


def _theirs(part: Any) -> Any:
    if isinstance(part, CompelBlend):
        return [_theirs(prompt) for prompt in part.prompts], part.weights, part.normalize_weights
    return [(fragment.text, fragment.weight) for fragment in part.children]
