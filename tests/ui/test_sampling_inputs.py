"""Quality, scheduler and the options that not every scheduler knows."""

from collections.abc import Callable

import pytest

from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.schedulers import SCHEDULER_NAMES
from ui.fields import Fields
from ui.sampling import LEVEL, OPTIONS, is_known, keep_known, limit_options, list_levels

Draw = Callable[[str], Fields]


def levels_of(fields: Fields, defaults: dict[str, object]) -> dict[str, str]:
    return {str(label.key).rsplit(".", 1)[1]: value for label, value in list_levels(fields, defaults)}


def test_a_draft_is_ten_steps_on_karras_sigmas_and_the_best_takes_longest(draw: Draw) -> None:
    levels = levels_of(draw("text_to_image"), {"num_inference_steps": 20})
    assert levels == {
        "draft": "10 dpmpp_2m default karras default",
        "balanced": "20 euler default default default",
        "quality": "35 euler default default default",
    }


def test_a_model_of_few_steps_keeps_its_sampler_at_every_level(draw: Draw) -> None:
    fields = draw("text_to_image")
    own = {"num_inference_steps": 4, "scheduler": "lcm", "timestep_spacing": "default"}
    assert levels_of(fields, own) == {
        "draft": "2 lcm default default default",
        "balanced": "4 lcm default default default",
        "quality": "7 lcm default default default",
    }
    assert list(levels_of(fields, {**own, "num_inference_steps": 1})) == ["balanced", "quality"], "no two are alike"


def test_the_page_starts_with_the_models_own_level_chosen(draw: Draw) -> None:
    assert draw("text_to_image").quality.value == "20 euler default default default"


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
def test_every_option_that_is_offered_alone_makes_a_request(draw: Draw, scheduler: str) -> None:
    fields = draw("text_to_image")
    offered = limit_options(fields, scheduler, "default", "default", "default")
    for name, update in offered.items():
        for _, option in update["choices"]:
            make_request(TextToImageRequest, {"scheduler": scheduler, name: option})
        assert update["visible"] is (len(update["choices"]) > 1)


def test_what_a_scheduler_does_not_know_goes_back_to_its_default(draw: Draw) -> None:
    updates = limit_options(draw("text_to_image"), "euler_ancestral", "trailing", "karras", "align_your_steps")
    assert [updates[name]["value"] for name in OPTIONS] == ["trailing", "default", "default"]


@pytest.mark.parametrize(
    ("chosen", "values", "kept"),
    [
        ("sigmas", ("default", "karras", "align_your_steps"), ("default", "karras", "default")),
        ("timesteps", ("trailing", "default", "align_your_steps"), ("default", "default", "align_your_steps")),
        ("timesteps", ("trailing", "karras", "align_your_steps"), ("default", "default", "align_your_steps")),
        ("timestep_spacing", ("trailing", "default", "default"), ("trailing", "default", "default")),
    ],
)
def test_the_option_chosen_last_stays(chosen: str, values: tuple[str, ...], kept: tuple[str, ...]) -> None:
    after = keep_known("euler", chosen, dict(zip(OPTIONS, values, strict=True)))
    assert tuple(after[name] for name in OPTIONS) == kept
    assert is_known("euler", after)


def test_a_levels_chip_holds_what_it_sets_in_the_order_of_its_inputs(draw: Draw) -> None:
    fields = draw("refine")
    for _, value in list_levels(fields, {"num_inference_steps": 20}):
        request = make_request(
            TextToImageRequest, dict(zip(LEVEL, [int(value.split()[0]), *value.split()[1:]], strict=True))
        )
        assert [str(getattr(request, name)) for name in LEVEL] == value.split()
