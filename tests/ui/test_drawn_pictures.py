"""Pictures whose texts differ: from wildcards, from variants, from all combinations."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from pipelines.job import Job
from pipelines.schema.errors import ModelError
from pipelines.schema.events import Event, Failed, Result, Step, Stopped
from pipelines.schema.requests import GenerationRequest, TextToImageRequest, make_request
from tests.ui.fake_manager import FakeManager
from tests.ui.test_running import collect
from ui.generate import describe
from ui.progress import describe_result
from ui.stage import CAPTION_CHARACTERS, Stage, caption_pictures
from ui.studio_blocks import StudioBlocks
from ui.tabs import TABS
from ui.view import build_view


@pytest.fixture
def stage(manager: FakeManager) -> Stage:
    with StudioBlocks():
        return build_view(TABS[0], manager, ["inpaint"], gr.Dropdown()).stage  # type: ignore[arg-type]


def make_result(tmp_path: Path, typed: dict[str, Any], *drawn: dict[str, Any]) -> Result:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    requests: list[GenerationRequest] = [make_request(TextToImageRequest, {**typed, "seed": 7, **own}) for own in drawn]
    files = (tmp_path / "a.png",) * len(drawn)
    seeds = tuple(request.seed for request in requests)
    request = make_request(TextToImageRequest, {**typed, "seed": 7})
    return Result(files, seeds, request, 1.0, {"base": 4}, "demo", drawn=tuple(requests))


def post(manager: FakeManager, result: Result, *events: Event) -> None:
    """Lets the next job bring these events."""
    job = Job(result.request, "")
    for event in events:
        job.post(event)
    manager.submit = lambda *_: job  # type: ignore[method-assign]


def test_every_combination_is_shown_under_its_own_text(manager: FakeManager, stage: Stage) -> None:
    updates, error = collect(
        manager, stage, prompt="a __colour__ fox", num_inference_steps=1, all_combinations=True, seed=7
    )
    assert error == ""
    gallery = updates[-1][stage.gallery]
    assert (gallery["selected_index"], gallery["preview"]) == (None, False), "side by side, none of them large"
    shown = gallery["value"]
    assert [caption for _, caption in shown] == ["a red fox", "a blue fox", "a green fox"]
    outcome = updates[-1][stage.outcome]
    assert [file for file, _ in shown] == outcome["files"]
    assert outcome["request"]["prompt"] == "a __colour__ fox"
    own = [(one["prompt"], one["seed"], one["num_images_per_prompt"]) for one in outcome["drawn"]]
    assert own == [("a red fox", 7, 1), ("a blue fox", 7, 1), ("a green fox", 7, 1)]
    assert [one["all_combinations"] for one in outcome["drawn"]] == [False] * 3


def test_pictures_of_what_was_typed_have_no_captions(manager: FakeManager, stage: Stage) -> None:
    updates, _ = collect(manager, stage, prompt="a fox", num_inference_steps=1, num_images_per_prompt=2, seed=7)
    gallery = updates[-1][stage.gallery]
    assert (gallery["selected_index"], gallery["preview"]) == (0, True)
    assert [caption for _, caption in gallery["value"]] == [None, None]
    assert [one["seed"] for one in updates[-1][stage.outcome]["drawn"]] == [7, 8]


def test_a_caption_names_the_drawn_text_wherever_it_stood(tmp_path: Path) -> None:
    typed = {"prompt": "a fox", "negative_prompt": "{blur|grain}"}
    result = make_result(tmp_path, typed, {"negative_prompt": "blur"}, {"negative_prompt": "grain"})
    assert caption_pictures(result) == ["blur", "grain"]
    long = make_result(tmp_path, {"prompt": "{a|b}"}, {"prompt": "长" * 1000})
    assert caption_pictures(long) == ["长" * CAPTION_CHARACTERS + "…"]


def test_an_answer_of_the_api_tells_each_pictures_prompt(tmp_path: Path) -> None:
    answer = describe(make_result(tmp_path, {"prompt": "{a|b}"}, {"prompt": "a"}, {"prompt": "b"}))
    assert answer["drawn"] == ["a", "b"]
    assert answer["request"]["prompt"] == "{a|b}"


def test_a_seed_of_several_combinations_is_named_once(tmp_path: Path) -> None:
    facts = describe_result(make_result(tmp_path, {}, {"prompt": "a"}, {"prompt": "b"}, {"seed": 8}), "en")
    assert "<dd>7, 8</dd>" in facts


def test_a_stopped_job_shows_what_was_finished(manager: FakeManager, stage: Stage, tmp_path: Path) -> None:
    result = make_result(tmp_path, {"prompt": "{a|b}"}, {"prompt": "a"})
    post(manager, result, Step(5, 8, "base", 1.0, 3.0), Stopped(result))
    updates, error = collect(manager, stage, prompt="{a|b}")
    assert error == ""
    assert "Stopped: step 5 of 8. What was finished is shown; pictures: 1" in updates[-1][stage.status]
    assert [caption for _, caption in updates[-1][stage.gallery]["value"]] == ["a"]
    assert updates[-1][stage.outcome]["drawn"][0]["prompt"] == "a"
    assert updates[-1][stage.generate]["interactive"] is True


def test_a_job_that_fails_late_shows_what_was_finished_under_the_error(
    manager: FakeManager, stage: Stage, tmp_path: Path
) -> None:
    result = make_result(tmp_path, {"prompt": "{a|b}"}, {"prompt": "a"})
    post(manager, result, Failed(ModelError("a file is gone"), result))
    updates, error = collect(manager, stage, prompt="{a|b}")
    assert error == "a file is gone"
    assert 'class="sentence error"' in updates[-1][stage.status]
    assert "a file is gone" in updates[-1][stage.status]
    assert [caption for _, caption in updates[-1][stage.gallery]["value"]] == ["a"]
    assert updates[-1][stage.outcome]["files"]
    assert updates[-1][stage.generate]["interactive"] is True
