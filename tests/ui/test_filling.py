"""Settings on their way into a tab: each list shows what can be chosen, and nothing is shown that cannot."""

from typing import Any

import pytest

from pipelines.schema.requests import REQUESTS
from tests.ui.desk import draw_desks, value_of
from ui.fields import Fields
from ui.filling import default_values, fill, kept_names, read_shown, write_values


@pytest.fixture(scope="module")
def tabs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fields]:
    return {task: desk.fields for task, desk in draw_desks(tmp_path_factory.mktemp("manager")).items()}


@pytest.fixture
def fields(tabs: dict[str, Fields]) -> Fields:
    return tabs["text_to_image"]


def defaults(fields: Fields, model: str = "demo") -> dict[str, Any]:
    return write_values(fields, default_values(fields, fields.find_model(model)))


@pytest.mark.parametrize("task", list(REQUESTS))
def test_the_inputs_start_as_the_defaults_say(tabs: dict[str, Fields], task: str) -> None:
    fields = tabs[task]
    shown = {name: fields.components[name].value for name in kept_names(fields)}
    assert read_shown(fields, shown) == read_shown(fields, defaults(fields))


def test_pictures_are_never_kept(tabs: dict[str, Fields]) -> None:
    assert not {"image", "mask_image"} & set(kept_names(tabs["inpaint"]))


def test_what_is_not_named_stays(fields: Fields) -> None:
    filled = fill(fields, {"prompt": "a fox", "nonsense": 1}, defaults(fields), "en")
    assert filled.updates == {"prompt": "a fox"}
    assert filled.missing == ()


def test_a_list_offers_what_is_chosen_for_the_model_that_comes_with_it(fields: Fields) -> None:
    filled = fill(fields, {"model": "big", "refiner": "big-refiner"}, defaults(fields), "en")
    refiner = filled.updates["refiner"]
    assert refiner["value"] == "big-refiner"
    assert "big-refiner" in [value for _, value in refiner["choices"]]
    assert "big" in [value for _, value in filled.updates["model"]["choices"]]


def test_what_is_not_here_is_named_and_a_list_falls_back(fields: Fields) -> None:
    shown = {
        "model": "gone", "refiner": "big-refiner", "vae": "lost",
        "loras": fields.write("loras", [{"name": "ink", "weight": 0.5}, {"name": "away", "weight": 1}]),
        "styles": fields.write("styles", ["film", "forgotten"]),
    }  # fmt: skip
    filled = fill(fields, shown, defaults(fields), "en")
    assert set(filled.missing) == {"gone", "big-refiner", "lost", "away", "forgotten"}
    assert "model" not in filled.updates
    assert (value_of(filled.updates["refiner"]), value_of(filled.updates["vae"])) == ("", "")
    assert fields.read([value_of(filled.updates["loras"])], ["loras"])["loras"] == [{"name": "ink", "weight": 0.5}]
    assert fields.read([value_of(filled.updates["styles"])], ["styles"])["styles"] == ["film"]


def test_options_follow_the_scheduler_that_is_filled_in(fields: Fields) -> None:
    current = {**defaults(fields), "scheduler": "dpmpp_2m", "sigmas": "karras"}
    filled = fill(fields, {"scheduler": "ddim"}, current, "en")
    assert filled.updates["scheduler"] == "ddim"
    assert filled.updates["sigmas"]["value"] == "default"
    assert not filled.updates["sigmas"]["visible"]


def test_the_quality_shows_the_level_that_was_filled_in_or_none(fields: Fields) -> None:
    draft = {"num_inference_steps": 10, "scheduler": "dpmpp_2m", "sigmas": "karras"}
    assert fill(fields, draft, defaults(fields), "en").quality["value"] == "10 dpmpp_2m default karras default"
    assert fill(fields, {"num_inference_steps": 11}, defaults(fields), "en").quality["value"] is None


def test_defaults_are_those_of_the_model(tabs: dict[str, Fields], fields: Fields) -> None:
    fast = fields.find_model("fast")
    values = default_values(fields, fast)
    assert (values["num_inference_steps"], values["width"], values["model"]) == (4, 512, "fast")
    assert default_values(tabs["inpaint"], fast)["width"] is None
