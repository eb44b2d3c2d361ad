"""Settings read back from a picture that may name what this studio does not have."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from pipelines.media.metadata import make_text_chunks
from pipelines.schema.requests import TextToImageRequest, make_request
from tests.ui.fake_manager import FakeManager
from tests.ui.handlers import find_page
from ui.fields import Fields
from ui.restoring import build_restoring, keep_known

Draw = Callable[[str], Fields]
CLIENT: Any = SimpleNamespace(headers={"accept-language": "en"})


def write_picture(path: Path, model: str = "demo", **values: Any) -> dict[str, Any]:
    """A picture with its settings inside, as an upload."""
    request = make_request(TextToImageRequest, {"width": 64, "height": 64, **values})
    Image.new("RGB", (64, 64)).save(path, pnginfo=make_text_chunks(request, seed=7, model=model))
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def restore(fields: Fields, upload: Any) -> tuple[str, dict[str, Any]]:
    """The note, and what each input is filled with."""
    page = find_page(fields.components["seed"])
    (function,) = [found for found in page.fns.values() if any(event == "upload" for _, event in found.targets)]
    note, *values = function.fn(CLIENT, upload)
    by_id = {part._id: name for name, part in fields.components.items()}
    return note, dict(zip((by_id[part._id] for part in function.outputs[1:]), values, strict=True))


@pytest.fixture
def fields(draw: Draw) -> Fields:
    drawn = draw("text_to_image")
    with find_page(drawn.components["loras"]):
        build_restoring(drawn)
    return drawn


def test_every_setting_comes_back(fields: Fields, tmp_path: Path) -> None:
    upload = write_picture(
        tmp_path / "a.png", model="fast", prompt="a fox", vae="clear", sigmas="karras", clip_skip=2,
        loras=[{"name": "ink", "weight": 0.5}], negative_original_size=[32, 32], denoising_end=0.8,
    )  # fmt: skip
    note, filled = restore(fields, upload)
    assert note == ""
    assert filled["model"] == "fast"
    assert (filled["prompt"], filled["vae"], filled["sigmas"], filled["clip_skip"]) == ("a fox", "clear", "karras", 2)
    assert filled["loras"] == {"rows": [{"name": "ink", "weight": 0.5}], "turned": []}
    assert (filled["negative_original_size"], filled["denoising_end"]) == ("32, 32", 0.8)


def test_settings_with_loras_fill_a_tab_that_has_none(draw: Draw, tmp_path: Path) -> None:
    refine = draw("refine")
    with find_page(refine.components["seed"]):
        build_restoring(refine)
    loras = [{"name": "ink", "weight": 0.5}, {"name": "lost-lora", "weight": 1}]
    upload = write_picture(tmp_path / "a.png", prompt="a fox", prompt_2="a hill", loras=loras)
    note, filled = restore(refine, upload)
    assert note == "", "what the tab does not use is not missed"
    assert filled["prompt"] == "a fox"
    assert not {"loras", "prompt_2"} & set(filled)


def test_what_is_not_there_is_named_and_the_rest_is_filled_in(fields: Fields, tmp_path: Path) -> None:
    loras = [{"name": "ink", "weight": 0.5}, {"name": "lost-lora", "weight": 1}]
    upload = write_picture(tmp_path / "a.png", model="<lost>", prompt="a fox", vae="lost-vae", loras=loras)
    note, filled = restore(fields, upload)
    assert 'role="alert"' in note
    assert "Not in this studio: &lt;lost&gt;, lost-vae, lost-lora." in note
    assert filled["prompt"] == "a fox"
    assert [row["name"] for row in filled["loras"]["rows"]] == ["ink"]
    assert filled["model"] == filled["vae"] == {"__type__": "update"}


def test_a_picture_without_settings_is_answered_where_it_was_put_in(fields: Fields, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    note, filled = restore(fields, {"path": str(tmp_path / "bare.png")})
    assert "file must be a PNG that this studio saved" in note
    assert all(value == {"__type__": "update"} for value in filled.values())


def test_the_studios_own_model_is_always_there(manager: FakeManager) -> None:
    del manager.library.checkpoints["demo"]
    request = {"model": "demo", "refiner": "", "vae": "", "loras": []}
    assert keep_known(manager, request) == (request, [])  # type: ignore[arg-type]
