"""Results and examples on their way into inputs."""

import json
from pathlib import Path

import gradio as gr
import pytest

from pipelines.schema.models import find_model
from pipelines.schema.paths import PRESETS
from pipelines.schema.requests import REQUESTS, InpaintRequest, TextToImageRequest, make_request
from tests.ui.fake_manager import FakeManager
from ui.examples import load_examples
from ui.generate import request_as_json
from ui.restoring import SHARED
from ui.sending import make_sender


@pytest.fixture
def outcome() -> dict:
    request = make_request(
        TextToImageRequest,
        {"prompt": "a fox", "seed": 7, "num_images_per_prompt": 2, "original_size": [64, 48]}
        | {"width": 256, "height": 256},
    )
    return {"files": ["a.png", "b.png"], "seeds": [7, 8], "request": request_as_json(request)}


def test_the_looked_at_picture_goes_with_its_own_seed(outcome: dict) -> None:
    _, *values, picture = make_sender("refine", takes_picture=True)(outcome, 1)
    sent = dict(zip(SHARED, values, strict=True))
    assert picture == "b.png"
    assert (sent["prompt"], sent["seed"], sent["num_images_per_prompt"]) == ("a fox", 8, 1)
    assert sent["original_size"] == "64, 48"


def test_settings_alone_go_to_text_to_image(outcome: dict) -> None:
    tab, *values = make_sender("text_to_image", takes_picture=False)(outcome, 0)
    assert tab.selected == "text_to_image"
    assert len(values) == len(SHARED)


def test_without_a_picture_nothing_is_sent(outcome: dict) -> None:
    send = make_sender("refine", takes_picture=True)
    assert len(send(None, 0)) == len(send(outcome, 0))
    assert all(value == gr.skip() for value in send(None, 0))


def test_what_is_carried_makes_the_same_request_again(outcome: dict) -> None:
    _, *values = make_sender("text_to_image", takes_picture=False)(outcome, 0)
    again = make_request(TextToImageRequest, dict(zip(SHARED, values, strict=True)))
    assert request_as_json(again) == {**outcome["request"], "num_images_per_prompt": 1}


def test_an_answer_names_uploads_without_their_folder() -> None:
    values = {"image": "/srv/cache/ab/me.png", "mask_image": "/srv/cache/cd/mask.png"}
    assert "/srv" not in json.dumps(request_as_json(make_request(InpaintRequest, values)))


def test_every_task_has_three_examples_that_the_embedded_model_knows() -> None:
    model = find_model("demo")
    words = set(json.loads(Path(model.vocabulary or "").read_text(encoding="utf-8"))["subjects"])
    for task in REQUESTS:
        examples = load_examples(model, task)
        assert len(examples) == 3
        for example in examples:
            assert any(subject in example.prompt for subject in words), example.prompt
            assert example.picture is not None
            assert example.picture.is_file()


def test_a_model_of_ones_own_gets_the_examples_for_any_sdxl(manager: FakeManager) -> None:
    model = manager.model.model_copy(update={"name": "my-checkpoint"})
    assert len(load_examples(model, "text_to_image")) == 3
    assert load_examples(model, "inpaint") == []


def test_examples_are_small_enough_for_a_page() -> None:
    assert sum(file.stat().st_size for file in (PRESETS / "examples").iterdir()) < 400_000
