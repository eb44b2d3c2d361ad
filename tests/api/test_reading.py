"""Settings of pictures and texts over the API, over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from pipelines.media.metadata import make_text_chunks
from pipelines.schema.requests import REQUESTS, TextToImageRequest, make_request
from tests.media.samples import COMFYUI_REFINER, FORGE
from tests.ui.fake_manager import FakeManager, leave_no_loop_open
from ui.reading import bind_reading_api
from ui.studio_blocks import StudioBlocks


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    manager: Any = FakeManager(tmp_path_factory.mktemp("fake"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_no_loop_open(monkeypatch)
        with StudioBlocks() as app:
            gr.Markdown()
            bind_reading_api(manager, app)
        _, url, _ = app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
        yield Client(url, verbose=False)
        app.close(verbose=False)


def test_a_picture_is_sent_as_a_file(client: Client, tmp_path: Path) -> None:
    request = make_request(TextToImageRequest, {"prompt": "a fox", "width": 64, "height": 64, "vae": "lost"})
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", pnginfo=make_text_chunks(request, seed=7, model="demo"))
    found = client.predict(file=handle_file(tmp_path / "a.png"), api_name="/read_settings")
    assert (found["source"], found["task"]) == ("SDXL Studio", "text_to_image")
    assert found["unmapped"] == ["VAE: lost is not in this studio"]
    assert make_request(REQUESTS[found["task"]], found["values"]).prompt == "a fox"


def test_a_text_is_read_without_a_file(client: Client) -> None:
    found = client.predict(text=FORGE.replace("waiIllustrious_v140", "Fast_Model"), api_name="/read_settings")
    assert (found["source"], found["values"]["model"]) == ("Forge", "fast")
    assert found["unmapped"][-1] == "VAE: sdxl_vae is not in this studio"
    found = client.predict(text=json.dumps(COMFYUI_REFINER), api_name="/read_settings")
    assert (found["source"], found["values"]["denoising_end"]) == ("ComfyUI", 0.8)


def test_values_can_be_drawn_as_they_come(client: Client) -> None:
    found = client.predict(text=FORGE.replace("dusk", "dusk <lora:lost:1>"), api_name="/read_settings")
    assert found["values"]["prompt"] == "a lighthouse at dusk"
    assert "LoRA: lost is not in this studio; its tag was taken out of the prompt" in found["unmapped"]
    found = client.predict(text=FORGE.replace("waiIllustrious_v140", "Big_Model"), api_name="/read_settings")
    assert "model" not in found["values"], "nobody waits for a download that they did not ask for"
    assert "Model: Big model is not downloaded yet; choose it by hand to download it" in found["unmapped"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "file or text is required"),
        ({"text": "a fox"}, "text must be an infotext"),
        ({"text": 5}, "text must be text, got 5"),
        ({"file": {"path": "/etc/passwd"}}, "file must be an uploaded file"),
        ({"file": "data:image/png;base64,AAAA"}, "file must be an uploaded file"),
    ],
)
def test_what_cannot_be_read_is_answered_in_a_sentence(client: Client, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(**values, api_name="/read_settings")


def test_the_parameters_have_names_and_explanations(client: Client) -> None:
    documented: Any = client.view_api(return_format="dict")
    endpoint = documented["named_endpoints"]["/read_settings"]
    assert endpoint["description"].startswith("What a picture or a text says")
    parameters = {part["parameter_name"]: part for part in endpoint["parameters"]}
    assert list(parameters) == ["file", "text"]
    assert all(part["parameter_has_default"] for part in parameters.values())
    assert "Fooocus" in parameters["file"]["python_type"]["description"]
