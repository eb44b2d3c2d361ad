"""The page as built: its tabs, its inputs, and the words on them."""

import json
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest

from pipelines.schema.buckets import load_buckets
from pipelines.schema.models import load_catalogue
from pipelines.schema.requests import REQUESTS
from tests.ui.fake_manager import FakeManager
from ui.fields import Fields, read_number
from ui.header import load_vocabulary, show_vocabulary
from ui.i18n import ENGLISH, FOLDER, language_of, load_words, make_i18n, say, word
from ui.layout import build_app
from ui.shapes import draw_aspects
from ui.studio_blocks import StudioBlocks
from ui.tabs import TABS
from ui.view import build_view


@pytest.fixture
def fields_by_task(draw: Callable[[str], Fields]) -> dict[str, Fields]:
    return {task: draw(task) for task in REQUESTS}


def test_the_tabs_stand_in_the_order_of_the_tasks() -> None:
    assert [tab.task for tab in TABS] == list(REQUESTS)


@pytest.mark.parametrize("task", list(REQUESTS))
def test_every_field_that_a_task_reads_has_an_input(fields_by_task: dict[str, Fields], task: str) -> None:
    unread = {"loras", "prompt_2", "negative_prompt_2"} if task == "refine" else set()
    assert set(fields_by_task[task].components) == set(REQUESTS[task].model_fields) - unread


@pytest.mark.parametrize("task", list(REQUESTS))
def test_sliders_have_the_limits_of_the_schema(fields_by_task: dict[str, Fields], task: str) -> None:
    fields = fields_by_task[task]
    sliders = {name: c for name, c in fields.components.items() if isinstance(c, gr.Slider)}
    assert "num_inference_steps" in sliders
    for name, slider in sliders.items():
        info = fields.describe(name)
        assert slider.maximum == info.maximum
        assert slider.minimum >= (info.minimum or 0)


def test_inputs_start_with_the_models_own_defaults(fields_by_task: dict[str, Fields]) -> None:
    components = fields_by_task["text_to_image"].components
    assert components["num_inference_steps"].value == 20
    assert (components["width"].value, components["height"].value) == ("256", "256")


def test_the_size_of_picture_tasks_follows_the_picture(fields_by_task: dict[str, Fields]) -> None:
    components = fields_by_task["inpaint"].components
    assert (components["width"].value, components["height"].value) == ("", "")
    assert fields_by_task["inpaint"].readers["width"]("") is None


@pytest.mark.parametrize(("typed", "read"), [("256", 256), (" ", None), ("", None), ("100.5", 100.5), ("wide", "wide")])
def test_a_typed_size_is_a_number_where_it_is_one(typed: str, read: object) -> None:
    assert read_number(typed) == read


@pytest.mark.parametrize(("typed", "read"), [("", -1), (" ", -1), ("0", 0), ("7", 7), (7, 7), ("lucky", "lucky")])
def test_an_emptied_seed_is_a_random_one(fields_by_task: dict[str, Fields], typed: object, read: object) -> None:
    assert fields_by_task["refine"].readers["seed"](typed) == read
    assert fields_by_task["refine"].components["seed"].value == "-1"


@pytest.mark.parametrize("task", list(REQUESTS))
def test_only_generate_draws(manager: Any, task: str) -> None:
    with StudioBlocks() as app:
        stage = build_view(next(tab for tab in TABS if tab.task == task), manager, [], gr.Dropdown()).stage
    (draws,) = [function for function in app.fns.values() if stage.canvas in function.outputs]
    assert draws.targets == [(stage.generate._id, "click")]
    assert draws.trigger_mode == "once"


def test_every_trained_size_has_a_drawing_of_its_shape() -> None:
    style = draw_aspects(256)
    assert style.count(".aspects-every") == len(load_buckets(256)) == 40


def test_only_the_tasks_and_what_reads_without_drawing_are_public(manager: Any) -> None:
    api = build_app(manager).get_api_info()
    public = [*REQUESTS, "count_tokens", "styles", "read_settings"]
    assert list(api["named_endpoints"]) == [f"/{name}" for name in public]
    assert api["unnamed_endpoints"] == {}


def test_every_language_has_every_word() -> None:
    words = load_words()
    assert {"en", "zh-CN"} <= set(words)
    for table in words.values():
        assert set(words[ENGLISH]) <= set(table)
        assert "" not in table.values()


def test_chinese_has_a_help_text_of_its_own_for_every_field() -> None:
    own = json.loads((FOLDER / "zh-CN.json").read_text(encoding="utf-8"))
    for task, request_class in REQUESTS.items():
        for name, field in request_class.model_fields.items():
            others = [REQUESTS[other].model_fields.get(name, field) for other in REQUESTS]
            is_shared = all(other.description == field.description for other in others)
            keys = [f"help.{task}.{name}"] + [f"help.{name}"] * is_shared
            assert any(own.get(key) for key in keys), keys


def test_every_list_of_the_embedded_model_has_a_heading() -> None:
    vocabulary = load_vocabulary(load_catalogue().checkpoints["demo"])
    assert vocabulary
    for table in load_words().values():
        assert [name for name in vocabulary if f"vocabulary.{name}" not in table] == []
    assert "<dt>主体</dt><dd>fox</dd><dt>my words</dt>" in show_vocabulary(
        {"subjects": ["fox"], "my_words": []}, "zh-CN"
    )


def test_a_browser_finds_chinese_under_each_of_its_common_names() -> None:
    tables = make_i18n().translations
    for name in ("zh", "zh-TW", "zh-HK"):
        assert tables[name] == tables["zh-CN"]


def test_translations_keep_the_places_for_values() -> None:
    words = load_words()
    for key, english in words[ENGLISH].items():
        for table in words.values():
            assert sorted(part.split("}")[0] for part in english.split("{")[1:]) == sorted(
                part.split("}")[0] for part in table[key].split("{")[1:]
            ), key


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(KeyError):
        word("label.nonsense")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9", "zh-CN"),
        ("zh", "zh-CN"),
        ("zh-TW", "zh-CN"),
        ("en-GB,zh;q=0.9", "en"),
        ("de-DE,zh;q=0.9", "en"),
        ("", "en"),
        (",;q=", "en"),
        ("*", "en"),
    ],
)
def test_the_language_follows_the_browser(header: str, language: str) -> None:
    class Client:
        headers = {"accept-language": header}  # noqa: RUF012

    assert language_of(Client()) == language


def test_sentences_are_made_in_both_languages() -> None:
    assert say("status.waiting", "en", position=2) == "waiting, 2 before you"
    assert "2" in say("status.waiting", "zh-CN", position=2)


def test_a_model_without_a_vocabulary_shows_none(manager: FakeManager) -> None:
    assert load_vocabulary(manager.model)["subjects"] == ["fox", "cactus", "penguin"]
    assert load_vocabulary(manager.model.model_copy(update={"vocabulary": "nowhere.json"})) == {}
