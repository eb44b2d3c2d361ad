"""The studio's presets, and files of presets from anywhere."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import load_catalogue
from pipelines.schema.presets import (
    KEY,
    MAX_FILE_CHARACTERS,
    MAX_PRESETS,
    SCHEMA,
    Preset,
    load_presets,
    read_preset,
    read_presets,
)
from pipelines.schema.requests import REQUESTS

ONE = {"name": "mine", "tasks": ["text_to_image"], "values": {"prompt": "a fox", "seed": 3}}


def as_file(*entries: Any, **changes: Any) -> str:
    return json.dumps({KEY: SCHEMA, "presets": list(entries), **changes})


def test_the_studios_own_serve_every_task_and_are_named_in_both_languages() -> None:
    presets = load_presets()
    assert len({preset.name for preset in presets}) == len(presets) >= 12
    assert {task for preset in presets for task in preset.tasks} == set(REQUESTS)
    for preset in presets:
        assert set(preset.title) == {"en", "zh-CN"}
        assert preset.values or preset.quality or preset.shape


def test_presets_about_a_shape_leave_the_pixels_to_the_model() -> None:
    assert sum(preset.shape is not None for preset in load_presets()) >= 3
    assert not any({"width", "height"} & set(preset.values) for preset in load_presets())


def test_whoever_names_a_scheduler_names_its_options_too() -> None:
    options = {"timestep_spacing", "sigmas", "timesteps"}
    for preset in load_presets():
        assert "scheduler" not in preset.values or options <= set(preset.values), preset.name


def test_loras_of_the_studios_presets_are_in_its_catalogue() -> None:
    known = load_catalogue().add_ons
    named = [lora["name"] for preset in load_presets() for lora in preset.values.get("loras", [])]
    assert named
    assert set(named) <= set(known)


def test_what_is_exported_is_read_again() -> None:
    presets, sentences = read_presets(as_file(*(preset.as_json() for preset in load_presets())))
    assert tuple(presets) == load_presets()
    assert sentences == []


def test_wrong_values_are_named_and_the_rest_of_a_preset_is_kept() -> None:
    presets, sentences = read_presets(as_file({**ONE, "values": {"prompt": "a fox", "width": 100, "hue": 3}}))
    assert presets[0].values == {"prompt": "a fox"}
    assert sentences == [
        "mine: width must be a multiple of 8, got 100",
        "mine: 'hue' is not a setting of this task, got 3",
    ]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("mine", "preset 1: must have a name, tasks and values"),
        ({"name": "mine"}, "preset 1: must have a name, tasks and values"),
        ({**ONE, "name": " "}, "preset 1: name must not be empty"),
        ({**ONE, "name": "m" * 61}, "preset 1: name must have at most 60 characters"),
        ({**ONE, "tasks": ["fly"]}, "preset 1: tasks must be tasks of this studio"),
        ({**ONE, "tasks": [3]}, "preset 1: tasks must be tasks of this studio"),
        ({**ONE, "tasks": ["refine"] * 9}, "preset 1: tasks must have at most 8 of them"),
        ({**ONE, "title": "mine"}, "preset 1: title must be values under names"),
        *(
            ({**ONE, "shape": shape}, "preset 1: shape must be a shape from 1:4 to 4:1")
            for shape in ("1:9", "wide", "0:1", "٣:٤", "16:9\n:", "")
        ),
        ({**ONE, "colour": "red"}, "preset 1: 'colour' is not a field of a preset"),
        ({**ONE, "": 1}, "preset 1: '' is not a field of a preset"),
        ({**ONE, "tasks": []}, "preset 1: tasks must have at least 1 of them"),
        ({**ONE, "title": {str(k): "a" for k in range(9)}}, "preset 1: title must have at most 8 of them"),
        ({**ONE, "needs": "money"}, "preset 1: needs must be a list"),
        ({**ONE, "needs": ["money"]}, "preset 1: needs must be one of 'refiner' or 'many_steps'"),
    ],
)
def test_a_preset_that_cannot_be_used_is_named_and_the_others_come(entry: Any, sentence: str) -> None:
    presets, sentences = read_presets(as_file(entry, ONE))
    assert presets == [Preset(**ONE)]
    assert sentences == [sentence]


@pytest.mark.parametrize(
    "changed", [{"tasks": [0] * 1000}, {"needs": [0] * 1000}, {"title": {str(k): 0 for k in range(1000)}}]
)
def test_a_list_too_long_is_one_fault_of_a_preset(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Preset.model_validate({**ONE, **changed})
    assert caught.value.error_count() == 1


def test_a_preset_of_foreign_names_is_refused_at_the_first() -> None:
    _, sentences = read_preset({**ONE, **{str(k): 0 for k in range(1000)}})
    assert sentences == ["'0' is not a field of a preset"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", as_file(ONE, **{KEY: 99}), "[" * 200_000, '{"presets": []}', as_file(*[ONE] * 201)],
)
def test_a_file_of_something_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^file must "):
        read_presets(text)


def test_what_a_foreign_file_holds_is_not_read_out() -> None:
    sentence = "^file must be presets that this studio exported, got a file of something else$"
    with pytest.raises(InvalidRequest, match=sentence):
        read_presets('{"private": "letter"}')


def test_a_file_is_read_up_to_a_limit() -> None:
    with pytest.raises(InvalidRequest, match="at most 4 million characters"):
        read_presets(as_file(ONE) + " " * MAX_FILE_CHARACTERS)
    assert len(read_presets(as_file(*[ONE] * MAX_PRESETS))[0]) == MAX_PRESETS


def test_a_file_that_is_wrong_everywhere_is_not_read_out_to_the_end() -> None:
    _, sentences = read_presets(as_file(*[{**ONE, "values": {"width": 1}}] * 50))
    assert len(sentences) == 21
    assert sentences[-1] == "… and 30 more"


def test_a_name_that_no_text_can_hold_is_refused() -> None:
    assert read_preset({**ONE, "name": "\ud800"})[0] is None
