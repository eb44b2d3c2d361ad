"""Styles on their way from chips to a request, and into the boxes."""

import json
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest

from pipelines.prompts.drawing import final_texts
from pipelines.prompts.styles import load_styles
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.types import MAX_STYLES
from tests.ui.fake_manager import STYLES, FakeManager
from tests.ui.handlers import find_handler
from ui.fields import Fields
from ui.i18n import load_words
from ui.layout import build_app
from ui.styles import WORDS, as_choice, read_styles, table_of

Draw = Callable[[str], Fields]


def call(fields: Fields, event: str, value: Any, **texts: str) -> dict[str, Any]:
    """What an event of the choice fills, by field."""
    handler = find_handler(fields.components["styles"], event)
    names = {part._id: name for name, part in fields.components.items()}
    values = [value if names[part._id] == "styles" else texts.get(names[part._id], "") for part in handler.inputs]
    function: Any = handler.fn
    return dict(zip((names[part._id] for part in handler.outputs), function(*values), strict=True))


def test_chosen_styles_become_the_requests_and_come_back(drawn: Draw) -> None:
    fields = drawn("text_to_image")
    request = make_request(TextToImageRequest, {"styles": fields.readers["styles"](as_choice(["film", "oil"]))})
    assert request.styles == ("film", "oil")
    assert fields.write("styles", request.model_dump(mode="json")["styles"]) == as_choice(["film", "oil"])


@pytest.mark.parametrize("value", [None, "", {}, {"names": None}, {"names": [5, None, {}]}, ["film"], 7])
def test_no_choice_is_no_styles(value: Any) -> None:
    assert read_styles(value) == []


def test_too_many_styles_are_refused_by_the_request() -> None:
    names = read_styles({"names": [str(number) for number in range(MAX_STYLES + 1)]})
    with pytest.raises(InvalidRequest, match=r"^styles"):
        make_request(TextToImageRequest, {"styles": names})


def test_writing_into_the_box_says_what_the_engine_would_have_said(drawn: Draw) -> None:
    fields = drawn("text_to_image")
    typed = {"prompt": "a __colour__ fox", "negative_prompt": "blur", "prompt_2": "a hill"}
    written = call(fields, "write", as_choice(["film", "oil"]), **typed)
    request = make_request(TextToImageRequest, {**typed, "styles": ["film", "oil"]})
    final = final_texts(request, fields.manager.styles)
    assert (written["prompt"], written["negative_prompt"]) == (final.prompt, final.negative_prompt)
    assert written["prompt"] == "photo of a __colour__ fox, 35mm film, grain, oil on canvas, thick paint"
    assert (written["prompt_2"], written["negative_prompt_2"]) == (final.prompt_2, "")
    assert read_styles(written["styles"]) == []
    again = make_request(TextToImageRequest, {name: text for name, text in written.items() if name != "styles"})
    assert final_texts(again, fields.manager.styles) == final, "what is written needs no styles any more"


def test_undo_brings_back_texts_and_choice(drawn: Draw) -> None:
    fields = drawn("refine")
    typed = {"prompt": "a fox", "negative_prompt": "blur"}
    written = call(fields, "write", as_choice(["film"]), **typed)
    assert call(fields, "undo", written["styles"]) == {"styles": as_choice(["film"]), **typed}


@pytest.mark.parametrize("value", [None, {}, {"names": []}, {"before": 5}, as_choice(["film"])])
def test_nothing_written_is_nothing_to_undo(drawn: Draw, value: Any) -> None:
    assert all(update == gr.skip() for update in call(drawn("refine"), "undo", value).values())


def test_a_style_that_is_not_here_is_named(drawn: Draw) -> None:
    with pytest.raises(gr.Error, match="styles must be names of styles"):
        call(drawn("text_to_image"), "write", as_choice(["lost"]), prompt="a fox")


def test_chips_know_their_colour_and_what_they_add() -> None:
    table = table_of({style.name: style for style in STYLES})
    film, oil = table["styles"]
    assert film["colour"] == STYLES[0].colour
    assert (film["adds"], film["avoids"]) == ("photo of …, 35mm film, grain", "drawing")
    assert oil["avoids"] == ""
    assert [group["title"]["zh-CN"] for group in table["groups"]] == ["摄影", "绘画"]
    assert table["most"] == MAX_STYLES


def test_the_table_of_styles_stands_in_the_page_once(manager: FakeManager) -> None:
    page = json.dumps(build_app(manager).get_config_file(), default=str)  # type: ignore[arg-type]
    assert page.count(STYLES[0].colour) == 1


def test_a_model_that_draws_no_style_well_says_so_at_the_styles(drawn: Draw) -> None:
    fields = drawn("text_to_image")
    picker: Any = fields.components["styles"]
    show = next(show for part, show in fields.followers if part is picker)
    assert "seven style words of its own" in picker.props["note"]
    models = fields.manager.library.checkpoints
    assert "七个风格词" in show(models["demo"], "zh-CN")["note"]
    assert show(models["big"], "en")["note"] == ""


def test_the_studios_own_styles_can_all_be_drawn_as_chips() -> None:
    table = table_of(load_styles())
    assert {style["group"] for style in table["styles"]} == {group["name"] for group in table["groups"]}
    for words in table["words"].values():
        assert set(words) == set(WORDS)
    assert set(table["words"]) == set(load_words())
    assert all("{" not in style["adds"] + style["avoids"] for style in table["styles"])
