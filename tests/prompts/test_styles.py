"""Styles put their words around prompts; the studio's own are concrete, and told apart."""

import json
import re
from collections import Counter

import pytest
from pydantic import ValidationError

from pipelines.prompts.drawing import Texts, final_texts
from pipelines.prompts.styles import FILE, GROUPS, Style, apply_styles, load_styles
from pipelines.prompts.syntax import parse
from pipelines.prompts.variants import read_variants
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import TextToImageRequest

STYLES = load_styles()
EVERY = pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))


def make_style(name: str, prompt: str, negative: str = "") -> Style:
    title = {"en": name, "zh-CN": name}
    return Style.model_validate(
        {"name": name, "group": "print", "title": title, "prompt": prompt, "negative": negative, "colour": "#000000"}
    )


TWO = {
    "oil": make_style("oil", "oil painting of {prompt}, thick paint, canvas", "photograph, ink"),
    "night": make_style("night", "{prompt}, moonlight, thick paint", "avoid {prompt}, daylight, ink"),
}


def texts_of(styles: tuple[str, ...] = ("oil",), **values: object) -> Texts:
    """What a request with these styles lets the encoders read."""
    return final_texts(TextToImageRequest.model_validate({"styles": styles, **values}), TWO)


# How they are put around


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a fox", "oil painting of a fox, thick paint, canvas"),
        ("  a fox ,, ", "oil painting of a fox, thick paint, canvas"),
        ("a fox, Thick Paint", "oil painting of a fox, Thick Paint, canvas"),
        ("", "oil painting, thick paint, canvas"),
        ("{prompt} 100% {0}", "oil painting of {prompt} 100% {0}, thick paint, canvas"),
        ("(a fox:1.2) BREAK [a:b:0.5]", "oil painting of (a fox:1.2) BREAK [a:b:0.5], thick paint, canvas"),
    ],
)
def test_a_template_is_put_around_a_text_and_joined_cleanly(text: str, expected: str) -> None:
    assert apply_styles(text, [TWO["oil"].prompt]) == expected


def test_several_are_nested_in_order_and_no_term_is_said_twice() -> None:
    assert texts_of(("oil", "night"), prompt="a fox", negative_prompt="blur") == Texts(
        prompt="oil painting of a fox, thick paint, canvas, moonlight",
        negative_prompt="avoid blur, photograph, ink, daylight",
    )
    assert texts_of(("night", "oil"), prompt="a fox", negative_prompt="blur") == Texts(
        prompt="oil painting of a fox, moonlight, thick paint, canvas",
        negative_prompt="avoid blur, daylight, ink, photograph",
    )


def test_one_chosen_twice_counts_once() -> None:
    assert texts_of(("oil", "oil"), prompt="a fox") == texts_of(("oil",), prompt="a fox")


def test_words_that_belong_to_the_prompt_stay_beside_it() -> None:
    template = "a toy of {prompt} in a box, plastic"
    assert apply_styles("a fox, ", [template]) == "a toy of a fox in a box, plastic"


def test_the_second_encoders_prompts_get_them_only_where_they_are_set() -> None:
    both = texts_of(prompt="a fox", prompt_2="a red fox", negative_prompt_2="grey")
    assert both.prompt_2 == "oil painting of a red fox, thick paint, canvas"
    assert both.negative_prompt_2 == "grey, photograph, ink"
    assert (texts_of(prompt="a fox").prompt_2, texts_of(prompt="a fox").negative_prompt_2) == ("", "")


@pytest.mark.parametrize("text", ["", "   ", "<lora:x:1>", " <lora:x:1> <lyco:y:1>\n"])
def test_nothing_is_put_around_a_second_prompt_that_says_nothing(text: str) -> None:
    texts = texts_of(prompt="a red fox", prompt_2=text, negative_prompt_2=text)
    assert (texts.prompt_2, texts.negative_prompt_2) == (text, text)
    spoken = texts_of(prompt="a red fox", prompt_2=f"{text}a cat").prompt_2
    assert spoken == f"oil painting of {text.lstrip()}a cat, thick paint, canvas"


def test_an_empty_negative_prompt_gets_the_terms_alone() -> None:
    assert texts_of(prompt="a fox").negative_prompt == "photograph, ink"


def test_unknown_styles_are_refused_with_the_nearest_names() -> None:
    with pytest.raises(InvalidRequest, match=r"^styles must be names of styles \(nearest: night\), got 'nigth'$"):
        texts_of(("oil", "nigth"))
    with pytest.raises(InvalidRequest, match=r"^styles must be names of styles, got 'x{9}'$"):
        texts_of(("x" * 9,))


@pytest.mark.parametrize("form", ['("a", "b").and()', '("a", "b").blend(1, 1)', '("a", "b") .blend( 0.3, 1)'])
def test_nothing_is_put_around_a_form_that_speaks_of_the_whole_prompt(form: str) -> None:
    for field in ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2"):
        with pytest.raises(InvalidRequest, match=r"^styles must be empty for a prompt with \.and\(\) or \.blend\(\)"):
            texts_of(("oil",), **{field: form})
        assert getattr(texts_of((), **{field: form}), field) == form
    assert texts_of(prompt=form, prompt_syntax="a1111").prompt == f"oil painting of {form}, thick paint, canvas"


def test_words_in_brackets_before_a_dot_are_no_such_form() -> None:
    text = "(docs:1.2) see (app).and(more)"
    assert texts_of(prompt=text).prompt == f"oil painting of {text}, thick paint, canvas"


# The studio's own


def test_there_are_enough_in_each_group_and_they_stand_in_the_groups_order() -> None:
    assert len(GROUPS) == 8
    assert len(STYLES) >= 64
    groups = [style.group for style in STYLES.values()]
    assert groups == sorted(groups, key=GROUPS.index)
    assert min(Counter(groups).values()) >= 8


def test_the_file_holds_nothing_that_is_not_loaded_and_no_name_twice() -> None:
    seen: list[str] = []

    def remember(pairs: list[tuple[str, object]]) -> dict[str, object]:
        seen.extend(name for name, _ in pairs)
        return dict(pairs)

    data = json.loads(FILE.read_text(encoding="utf-8"), object_pairs_hook=remember)
    assert tuple(data) == GROUPS
    assert sum(len(group) for group in data.values()) == len(STYLES)
    assert all(seen.count(name) == 1 for name in STYLES)


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_titles_are_told_apart_in_each_language(language: str) -> None:
    titles = [style.title[language] for style in STYLES.values()]  # pyright: ignore[reportArgumentType]
    assert len({title.casefold() for title in titles}) == len(titles)
    assert all(bool(re.search(r"[\u4e00-\u9fff]", title)) == (language == "zh-CN") for title in titles)


def test_templates_and_colours_are_told_apart() -> None:
    for attribute in ("prompt", "negative", "colour"):
        assert len({getattr(style, attribute) for style in STYLES.values()}) == len(STYLES)
    terms = Counter(term.strip() for style in STYLES.values() for term in style.prompt.split(","))
    assert [term for term, count in terms.items() if count > 1 and term != "{prompt}"] == []


@EVERY
def test_a_style_is_concrete_and_short_enough_to_leave_room(style: Style) -> None:
    words = f"{style.prompt}, {style.negative}".lower()
    assert style.prompt.count("{prompt}") == 1
    assert len(style.prompt.split(",")) >= 4
    assert len(style.negative.split(",")) >= 3
    assert len(style.prompt.split()) <= 40
    assert not re.search(
        r"masterpiece|best quality|ultra.?detailed|\b[48]k\b|trending|award|style of|(art|painted|drawn) by", words
    )
    assert words.isascii() or "époque" in words
    assert not re.search(r"[\[\]()|:\\+]|__|BREAK|AND", f"{style.prompt}, {style.negative}")


@EVERY
def test_a_style_joins_any_prompt_without_gaps(style: Style) -> None:
    for text in ("", "a fox", "a fox,", "a fox, snow"):
        for template in (style.prompt, style.negative):
            joined = apply_styles(text, [template])
            assert read_variants(joined) == (joined,)
            assert ",," not in joined
            assert "  " not in joined
            assert joined == joined.strip(" ,")
            assert not re.search(r"\b(of|in|with|as)(,|$)", joined)
            assert (parse(joined).dialect, parse(joined).hints) == ("plain", ())


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "no place"},
        {"prompt": "{prompt} {prompt}"},
        {"negative": "{prompt} {prompt}"},
        {"title": {"en": "Only English"}},
        {"colour": "red"},
        {"name": "Not Kebab"},
        {"group": "other"},
        {"author": "somebody"},
    ],
)
def test_a_style_that_breaks_a_rule_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Style.model_validate({**TWO["oil"].model_dump(), **change})
