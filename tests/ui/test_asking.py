"""What the browser asks about a tab's settings: presets, last settings, links."""

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.schema.buckets import nearest_bucket
from pipelines.schema.presets import KEY, SCHEMA, load_presets
from pipelines.schema.recipe import decode_recipe, encode_recipe
from pipelines.schema.requests import REQUESTS, TextToImageRequest, make_request
from pipelines.schema.types import MAX_PROMPT_CHARACTERS
from tests.ui.desk import CLIENT, SKIPPED, Desk, draw_desks
from ui.generate import request_as_json
from ui.presets import props_of
from ui.recipes import find_task, make_copier


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Desk]:
    return draw_desks(tmp_path_factory.mktemp("manager"))


@pytest.fixture
def sit_at(drawn: dict[str, Desk]) -> Callable[[str], Desk]:
    """The tab of a task, with its inputs at their defaults."""
    return lambda task: drawn[task].begin()


@pytest.fixture
def desk(sit_at: Callable[[str], Desk]) -> Desk:
    return sit_at("text_to_image")


@pytest.fixture
def library(desk: Desk) -> Any:
    return desk.fields.manager.library


# The studio's presets


@pytest.mark.parametrize(("task", "name"), [(task, preset.name) for preset in load_presets() for task in preset.tasks])
def test_every_preset_of_the_studio_makes_a_request_that_can_be_drawn(
    sit_at: Callable[[str], Desk], library: Any, monkeypatch: pytest.MonkeyPatch, task: str, name: str
) -> None:
    monkeypatch.setitem(library.add_ons, "lcm", library.add_ons["ink"].model_copy(update={"name": "lcm"}))
    desk = sit_at(task)
    answer = desk.fill(do="apply_own", name=name)
    assert "is set." in answer["sentence"]
    pictures = {field: "a.png" for field in ("image", "mask_image") if field in REQUESTS[task].model_fields}
    make_request(REQUESTS[task], desk.values | pictures)


def test_a_preset_fills_what_it_names_and_leaves_the_rest(desk: Desk) -> None:
    desk.show(prompt="a fox", seed=5, num_images_per_prompt=4, negative_prompt="rain")
    desk.fill(do="apply_own", name="portrait")
    assert {"width", "height", "num_inference_steps"} <= desk.touched
    assert not {"prompt", "seed", "negative_prompt", "num_images_per_prompt", "model"} & desk.touched


@pytest.mark.parametrize(("model", "native"), [("demo", 256), ("big", 1024), ("fast", 512)])
def test_a_shape_becomes_the_trained_size_of_the_model(desk: Desk, model: str, native: int) -> None:
    desk.show(model=model)
    desk.fill(do="apply_own", name="portrait")
    bucket = nearest_bucket(3, 4, native)
    assert (desk.values["width"], desk.values["height"]) == (bucket.width, bucket.height)


def test_a_level_of_quality_is_the_models_own(desk: Desk) -> None:
    desk.show(model="fast")
    desk.fill(do="apply_own", name="best_quality")
    assert (desk.values["num_inference_steps"], desk.values["guidance_scale"]) == (7, 1.0)
    assert desk.values["timestep_spacing"] == "trailing"


def test_a_preset_for_two_experts_asks_for_a_refiner(desk: Desk, library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.fill(do="apply_own", name="two_experts")
    assert desk.values["denoising_end"] == 0.8
    monkeypatch.delitem(library.checkpoints, "big-refiner")
    desk.show(model="big", denoising_end=1.0)
    answer = desk.fill(do="apply_own", name="two_experts")
    assert answer["wrong"] == "“Two experts” needs a refiner, and none fits this model."
    assert desk.touched == set()


def test_a_preset_of_many_steps_is_not_for_a_model_of_few(desk: Desk) -> None:
    desk.show(model="fast")
    assert "trained for few" in desk.fill(do="apply_own", name="ten_steps")["wrong"]


def test_a_preset_with_a_lora_that_is_not_here_changes_nothing(desk: Desk) -> None:
    answer = desk.fill(do="apply_own", name="few_steps")
    assert "lcm" in answer["wrong"]
    assert desk.touched == set()


def test_presets_are_offered_in_the_visitors_language(desk: Desk) -> None:
    titles = {preset["name"]: preset["title"] for preset in props_of(desk.fields, "zh-CN")["own"]}
    assert titles["portrait"] == "人像"
    assert "polish" not in titles


# The visitor's presets


def test_saved_settings_come_back_as_they_were(desk: Desk) -> None:
    desk.show(prompt="a fox", seed=5, guidance_scale=7.5, width=224, height=288, styles=["film"])
    desk.show(loras=[{"name": "ink", "weight": 0.5}], original_size=[64, 48])
    before = desk.values
    preset = desk.ask(do="save", name="mine")["preset"]
    desk.fill(do="begin_again")
    assert desk.values != before
    answer = desk.fill(do="apply", preset=preset)
    assert answer["sentence"] == "“mine” is set."
    assert desk.values == {**before, "original_size": "64, 48"}


def test_prompts_and_seed_can_be_left_to_the_moment(desk: Desk) -> None:
    desk.show(prompt="a fox", seed=5)
    values = desk.ask(do="save", name="mine", with_texts=False)["preset"]["values"]
    assert not {"prompt", "negative_prompt", "prompt_2", "negative_prompt_2", "seed"} & set(values)
    assert "guidance_scale" in values


@pytest.mark.parametrize("name", ["", " ", "m" * 61, None, 5])
def test_a_name_has_its_limits(desk: Desk, name: Any) -> None:
    assert "name must" in desk.ask(do="save", name=name)["wrong"]


def test_wrong_settings_are_not_saved(desk: Desk) -> None:
    desk.show(width=100)
    assert desk.ask(do="save", name="mine") == {"wrong": "width must be a multiple of 8, got 100"}


def test_what_a_preset_names_and_nobody_has_is_told_and_the_rest_is_set(desk: Desk) -> None:
    values = {"prompt": "a fox", "vae": "lost", "guidance_scale": 99}
    answer = desk.fill(do="apply", preset={"name": "mine", "tasks": ["text_to_image"], "values": values})
    assert desk.values["prompt"] == "a fox"
    assert "for this model: lost." in answer["sentence"]
    assert "Left out: guidance_scale must be at most 30, got 99." in answer["sentence"]


def test_in_another_tab_a_preset_leaves_that_tabs_own_fields(sit_at: Callable[[str], Desk]) -> None:
    refine = sit_at("refine")
    preset = {"name": "mine", "tasks": ["inpaint"], "values": {"strength": 1.0, "guidance_scale": 3.0}}
    refine.fill(do="apply", preset=preset)
    assert (refine.values["guidance_scale"], refine.values["strength"]) == (3.0, 0.3)


def test_a_file_is_read_and_what_is_wrong_in_it_is_listed(desk: Desk) -> None:
    good = {"name": "mine", "tasks": ["refine"], "values": {"strength": 0.4}}
    text = json.dumps({KEY: SCHEMA, "presets": [good, "bad"]})
    answer = desk.ask(do="import", text=text)
    assert answer == {"presets": [good], "lines": ["preset 2: must have a name, tasks and values"]}
    assert desk.ask(do="import", text="{")["wrong"].startswith("file must be presets that this studio exported")


# Last settings, and beginning again


@pytest.mark.parametrize("task", list(REQUESTS))
def test_what_was_left_comes_back(sit_at: Callable[[str], Desk], task: str) -> None:
    desk = sit_at(task)
    desk.show(prompt="狐狸", seed=5, guidance_scale=7.5, model="fast", width=512, height=512, clip_skip=2)
    left, values = json.loads(json.dumps(desk.shown)), desk.values
    fresh = sit_at(task)
    assert fresh.values != values
    assert fresh.fill(do="restore", shown=left, select=True) == {"before": None}
    assert fresh.values == values
    assert fresh.tab.selected == task
    assert fresh.touched == set(fresh.names), (
        "an input that is skipped in a closed tab would lose what it is drawn with"
    )


@pytest.mark.parametrize("shown", [None, [], "all", {"prompt": ["a"], "seed": {}, "loras": 7, "styles": "film"}])
def test_broken_last_settings_are_the_defaults(desk: Desk, shown: Any) -> None:
    before = desk.values
    desk.fill(do="restore", shown=shown)
    assert desk.values == before


def test_each_wrong_field_of_the_last_settings_falls_back_alone(desk: Desk) -> None:
    left = {"prompt": "a fox", "guidance_scale": 900, "model": "gone", "scheduler": "old", "refiner": "lost", "hue": 1}
    desk.fill(do="restore", shown=left)
    values = desk.values
    assert (values["prompt"], values["guidance_scale"], values["scheduler"]) == ("a fox", 5.0, "euler")
    assert (values["model"], values["refiner"], values["num_inference_steps"]) == ("demo", "", 20)
    assert desk.touched | {"model"} == set(desk.names), "also what was not left anywhere"


def test_undo_brings_back_only_what_was_filled(desk: Desk) -> None:
    desk.show(prompt="a fox", width=1024, height=1024)
    answer = desk.fill(do="apply_own", name="portrait")
    assert set(answer["before"]) == desk.touched
    desk.show(prompt="a fox in the snow, written since")
    desk.fill(do="put_back", shown=answer["before"])
    assert (desk.values["prompt"], desk.values["width"]) == ("a fox in the snow, written since", 1024)


def test_what_was_typed_comes_back_right_or_wrong(desk: Desk) -> None:
    left = {"prompt": "x" * (MAX_PROMPT_CHARACTERS + 1), "width": "100", "seed": "lucky"}
    desk.fill(do="restore", shown=left)
    assert {name: desk.shown[name] for name in left} == left


@pytest.mark.parametrize("do", ["restore", "put_back"])
def test_half_a_character_stops_no_answer(desk: Desk, do: str) -> None:
    desk.show(negative_prompt="\udc00 rain")
    answer, *updates = desk.fill_tab(
        CLIENT, json.dumps({"id": "1", "do": do, "shown": {"prompt": "a \ud83e fox"}}), *desk.inputs
    )
    sent = json.dumps([answer, *updates[2:]], ensure_ascii=False, default=str).encode()
    assert b"a ? fox" in sent
    answer = desk.fill(do="begin_again")
    assert answer["before"]["negative_prompt"] == "? rain"


def test_what_was_left_and_is_gone_is_named(desk: Desk) -> None:
    answer = desk.fill(do="restore", shown={"prompt": "a fox", "model": "gone", "vae": "lost"})
    assert answer == {"before": None, "sentence": "No longer in this studio, so the default is set: gone, lost."}
    assert desk.values["prompt"] == "a fox"


def test_a_tab_that_is_restored_later_keeps_the_chosen_model(desk: Desk) -> None:
    left = {"prompt": "a fox", "model": "fast", "num_inference_steps": 7, "width": "512", "styles": ["film"]}
    desk.show(**left)
    shown = dict(desk.shown)
    desk.begin().show(model="demo")
    desk.fill(do="restore", shown=shown, beside=True)
    assert (desk.values["model"], desk.values["prompt"], desk.values["styles"]) == ("demo", "a fox", ["film"])
    assert (desk.values["num_inference_steps"], desk.values["width"]) == (20, 256), "what another model sets"
    desk.begin().show(model="fast")
    desk.fill(do="restore", shown=shown, beside=True)
    assert (desk.values["model"], desk.values["num_inference_steps"]) == ("fast", 7)


def test_beginning_again_keeps_the_model_and_can_be_undone(desk: Desk) -> None:
    desk.show(model="fast", prompt="a fox", width="100", seed=7)
    left = dict(desk.shown)
    answer = desk.fill(do="begin_again")
    assert (desk.values["prompt"], desk.values["model"], desk.values["num_inference_steps"]) == ("", "fast", 4)
    assert desk.values["width"] == 512
    desk.fill(do="put_back", shown=answer["before"])
    assert desk.shown == left, "what was typed is back, right or wrong"


@pytest.mark.parametrize("told", [None, "", "{", "[1]", "[" * 100_000, 5, '{"do": "fly"}', '{"do": ["save"]}'])
def test_a_question_that_nobody_asks_changes_nothing(desk: Desk, told: Any) -> None:
    answer, *updates = desk.fill_tab(CLIENT, told, *desk.inputs)
    assert answer == {"id": None}
    assert all(update == SKIPPED for update in updates)
    assert desk.answer(CLIENT, told, *desk.inputs) == {"id": None}


# Links


def test_a_link_brings_exactly_its_settings_over_whatever_was_there(desk: Desk) -> None:
    desk.show(prompt="a fox", seed=5, model="fast", loras=[{"name": "ink", "weight": 0.5}], sigmas="karras")
    link, values = desk.ask(do="link")["copy"], desk.values
    desk.begin().show(prompt="a hill", negative_prompt="rain", clip_skip=3, denoising_end=0.5)
    assert find_task(json.dumps({"id": "1", "link": link})) == {"id": "1", "task": "text_to_image"}
    answer = desk.fill(do="open_link", link=link, select=True)
    assert answer["sentence"] == "The settings of the link are set."
    assert desk.values == values
    assert desk.tab.selected == "text_to_image"


def test_names_that_this_studio_does_not_have_are_listed(desk: Desk) -> None:
    values = {"prompt": "a fox", "model": "gone", "loras": [{"name": "away", "weight": 1.0}]}
    answer = desk.fill(do="open_link", link=encode_recipe("text_to_image", values))
    assert "for this model: gone, away." in answer["sentence"]
    assert desk.values["prompt"] == "a fox"


@pytest.mark.parametrize("link", [None, "", "AAAA", "a" * 20_000, encode_recipe("refine", {"prompt": "a"})])
def test_a_broken_or_foreign_link_is_a_sentence_and_nothing_else(desk: Desk, link: Any) -> None:
    assert desk.fill(do="open_link", link=link)["wrong"].startswith("link must ")
    assert desk.touched == set()


def test_a_link_for_no_tab_says_so() -> None:
    assert find_task(json.dumps({"id": "1", "link": "AAAA"}))["wrong"].startswith("link must be a recipe")
    assert find_task("{")["wrong"].startswith("link must be a recipe")


def test_the_link_of_a_picture_draws_that_picture_alone() -> None:
    request = make_request(TextToImageRequest, {"prompt": "a {red|blue} fox", "seed": 7, "num_images_per_prompt": 2})
    drawn = [request_as_json(request.model_copy(update={"prompt": f"a {hue} fox"})) for hue in ("red", "blue")]
    outcome = {"files": ["a", "b"], "seeds": [7, 8], "request": request_as_json(request), "drawn": drawn}
    answer = make_copier("text_to_image")(CLIENT, outcome, 1)
    values = decode_recipe(answer["copy"]).values
    assert (values["prompt"], values["seed"], values["num_images_per_prompt"]) == ("a blue fox", 8, 1)
    assert make_copier("text_to_image")(CLIENT, None, 0) == {}


def test_a_link_that_blows_up_is_refused(desk: Desk) -> None:
    packed = zlib.compress(b"[" + b"0," * 5_000_000, 9)[2:-4]
    link = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    assert desk.fill(do="open_link", link=link)["wrong"].startswith("link must be")
