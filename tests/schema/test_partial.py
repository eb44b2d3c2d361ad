"""Settings judged one by one."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.schema import partial
from pipelines.schema.partial import check_values, setting_names
from pipelines.schema.requests import REQUESTS, GenerationRequest, InpaintRequest, TextToImageRequest, make_request
from pipelines.schema.schedulers import SCHEDULER_NAMES, SigmasName, SpacingName, TimestepsName


def test_what_is_right_outlives_what_is_wrong() -> None:
    checked = check_values(
        TextToImageRequest, {"prompt": "a fox", "guidance_scale": 900, "seed": "lucky", "original_size": "64, 48"}
    )
    assert checked.values == {"prompt": "a fox", "original_size": [64, 48]}
    assert [str(wrong) for wrong in checked.wrong] == [
        "guidance_scale must be at most 30, got 900",
        "seed must be a whole number, got 'lucky'",
    ]


def test_pictures_and_unknown_fields_are_no_settings() -> None:
    checked = check_values(InpaintRequest, {"image": "/etc/passwd", "strength": 0.5, "\ud800wide": 1})
    assert checked.values == {"strength": 0.5}
    assert [wrong.rule for wrong in checked.wrong] == ["is not a setting of this task"] * 2
    "".join(str(wrong) for wrong in checked.wrong).encode()
    assert not {"image", "mask_image"} & set(setting_names(InpaintRequest))


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"width": 512, "prompt": "a"}, {"prompt": "a"}),
        ({"guidance_start": 1.0, "prompt": "a"}, {"prompt": "a"}),
        ({"guidance_start": 0.5, "guidance_end": 0.4}, {"guidance_start": 0.5}),
        ({"scheduler": "ddim", "sigmas": "karras"}, {"scheduler": "ddim"}),
        ({"sigmas": "karras", "timesteps": "align_your_steps"}, None),
        ({"loras": [{"name": "ink"}, {"name": "ink"}], "seed": 3}, {"seed": 3}),
    ],
)
def test_values_that_do_not_go_together_give_way_until_they_do(values: dict, kept: dict | None) -> None:
    checked = check_values(TextToImageRequest, values)
    assert checked.wrong
    assert kept is None or checked.values == kept
    make_request(TextToImageRequest, checked.values)


CONTRADICTIONS: dict[str, st.SearchStrategy[Any]] = {
    "width": st.sampled_from([None, 512]),
    "height": st.sampled_from([None, 512]),
    "guidance_start": st.sampled_from([0.0, 0.5, 1.0]),
    "guidance_end": st.sampled_from([0.0, 0.5, 1.0]),
    "num_inference_steps": st.sampled_from([1, 20, 150]),
    "strength": st.sampled_from([0.01, 1.0]),
    "scheduler": st.sampled_from(SCHEDULER_NAMES),
    "timestep_spacing": st.sampled_from(get_args(SpacingName)),
    "sigmas": st.sampled_from(get_args(SigmasName)),
    "timesteps": st.sampled_from(get_args(TimestepsName)),
}
"""Every field that a rule about several looks at."""


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(REQUESTS.values())), st.fixed_dictionaries({}, optional=CONTRADICTIONS))
def test_fields_that_no_rule_about_several_looks_at_are_kept(
    request_class: type[GenerationRequest], values: dict[str, Any]
) -> None:
    values = {name: value for name, value in values.items() if name in request_class.model_fields}
    checked = check_values(request_class, {"prompt": "a fox", **values, "seed": 3})
    assert checked.values.items() >= {"prompt": "a fox", "seed": 3}.items()
    assert len(checked.wrong) <= len(CONTRADICTIONS)


def test_contradictions_are_found_in_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[object] = []
    monkeypatch.setattr(partial, "make_request", lambda *given: attempts.append(given) or make_request(*given))
    fields = TextToImageRequest.model_fields
    values = {name: fields[name].get_default() for name in setting_names(TextToImageRequest)}
    values |= {"width": 64, "height": None, "guidance_start": 1.0, "guidance_end": 0.1, "scheduler": "lcm"}
    values |= {"num_inference_steps": 150, "sigmas": "karras", "timesteps": "align_your_steps"}
    checked = check_values(TextToImageRequest, values)
    assert len(checked.wrong) >= 5
    assert len(attempts) <= 2 * len(checked.wrong) + 1


@pytest.mark.parametrize("task", list(REQUESTS))
def test_every_default_is_right(task: str) -> None:
    fields = REQUESTS[task].model_fields
    defaults = {name: fields[name].get_default() for name in setting_names(REQUESTS[task])}
    assert check_values(REQUESTS[task], defaults).wrong == ()
