"""Results and examples on their way into inputs."""

import json
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest

from pipelines.schema.models import load_catalogue
from pipelines.schema.paths import PRESETS
from pipelines.schema.requests import REQUESTS, InpaintRequest, TextToImageRequest, make_request
from tests.ui.fake_manager import FakeManager
from ui.examples import build_examples, load_examples
from ui.fields import Fields
from ui.generate import request_as_json
from ui.sending import make_sender, sent_fields
from ui.tabs import TABS

Draw = Callable[[str], Fields]


@pytest.fixture
def outcome() -> dict:
    request = make_request(
        TextToImageRequest,
        {"prompt": "a fox", "seed": 7, "num_images_per_prompt": 2, "original_size": [64, 48]}
        | {"width": 256, "height": 256, "model": "fast", "loras": [{"name": "paper", "weight": 0.4}]},
    )
    return {"files": ["a.png", "b.png"], "seeds": [7, 8], "request": request_as_json(request)}


def test_the_looked_at_picture_goes_with_its_own_seed(draw: Draw, outcome: dict) -> None:
    target = draw("refine")
    tab, *values = make_sender(target)(outcome, 1)
    sent = dict(zip(sent_fields(target), values, strict=True))
    assert tab.selected == "refine"
    assert sent["image"] == "b.png"
    assert (sent["prompt"], sent["seed"], sent["num_images_per_prompt"]) == ("a fox", 8, 1)
    assert sent["original_size"] == "64, 48"
    assert not {"loras", "prompt_2", "negative_prompt_2"} & set(sent), "a refiner reads none of them"


def test_settings_alone_go_to_text_to_image(draw: Draw, outcome: dict) -> None:
    target = draw("text_to_image")
    tab, *values = make_sender(target)(outcome, 0)
    assert tab.selected == "text_to_image"
    assert len(values) == len(sent_fields(target))
    assert "image" not in sent_fields(target)


def test_without_a_picture_nothing_is_sent(draw: Draw, outcome: dict) -> None:
    send = make_sender(draw("refine"))
    assert len(send(None, 0)) == len(send(outcome, 0))
    assert all(value == gr.skip() for value in send(None, 0))


def test_what_is_carried_makes_the_same_request_again(draw: Draw, outcome: dict) -> None:
    target = draw("text_to_image")
    _, *values = make_sender(target)(outcome, 0)
    by_name = dict(zip(sent_fields(target), values, strict=True))
    carried = target.read([by_name.get(name, part.value) for name, part in target.components.items()])
    again = make_request(TextToImageRequest, carried)
    assert request_as_json(again) == {**outcome["request"], "num_images_per_prompt": 1}
    assert [lora.name for lora in again.loras] == ["paper"]


def test_an_answer_names_uploads_without_their_folder() -> None:
    values = {"image": "/srv/cache/ab/me.png", "mask_image": "/srv/cache/cd/mask.png"}
    assert "/srv" not in json.dumps(request_as_json(make_request(InpaintRequest, values)))


def test_every_task_has_three_examples_that_the_embedded_model_knows() -> None:
    model = load_catalogue().checkpoints["demo"]
    words = set(json.loads(Path(model.vocabulary or "").read_text(encoding="utf-8"))["subjects"])
    for task in REQUESTS:
        examples = load_examples(task)["demo"]
        assert len(examples) == 3
        for example in examples:
            assert any(subject in example.prompt for subject in words), example.prompt
            assert example.picture is not None
            assert example.picture.is_file()


def test_a_model_of_ones_own_gets_the_examples_for_any_sdxl(manager: FakeManager) -> None:
    with gr.Blocks():
        fields = Fields(TABS[0].request_class, manager)  # type: ignore[arg-type]
        cards = build_examples(fields)
    assert len(cards) == 6
    seen = [
        [show(manager.library.checkpoints[name], "en")["visible"] for _, show in fields.followers]
        for name in ("demo", "big")
    ]
    assert seen == [[True, False], [False, True]]


def test_a_card_says_that_its_picture_becomes_something_else(manager: FakeManager) -> None:
    labels = {}
    for tab in TABS:
        with gr.Blocks():
            labels[tab.task] = build_examples(Fields(tab.request_class, manager))[0][0].value  # type: ignore[arg-type]
    assert labels["text_to_image"] == "a fox in the snow"
    assert labels["image_to_image"] == "→ a cat in the snow"


def test_examples_are_small_enough_for_a_page() -> None:
    assert sum(file.stat().st_size for file in (PRESETS / "examples").iterdir()) < 400_000
