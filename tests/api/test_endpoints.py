"""The named endpoints: what they take, what they return, what they refuse, over HTTP."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio.utils import get_upload_folder
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import REQUESTS, TextToImageRequest, make_request
from tests.api.conftest import Studio

TASKS = list(REQUESTS)


def test_a_prompt_is_enough(studio: Studio) -> None:
    files, info = studio.client.predict(prompt="a fox on a blue background", api_name="/text_to_image")
    assert [size_of(file) for file in files] == [(256, 256)]
    assert info["seeds"] == [1234]
    assert info["steps"] == {"base": 20}
    assert info["elapsed_seconds"] >= 0
    assert info["request"]["prompt"] == "a fox on a blue background"


def test_the_files_are_the_saved_ones_byte_for_byte(studio: Studio) -> None:
    files, _ = studio.client.predict(prompt="a fox", seed=77, num_images_per_prompt=3, api_name="/text_to_image")
    assert len(files) == 3
    for file in files:
        assert Path(file).read_bytes() == (studio.manager.folder / Path(file).name).read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_parameters_are_the_requests_fields(studio: Studio, task: str) -> None:
    parameters = studio.client.view_api(return_format="dict")["named_endpoints"][f"/{task}"]["parameters"]
    fields = REQUESTS[task].model_fields
    assert {p["parameter_name"] for p in parameters} == set(fields)
    for parameter in parameters:
        field = fields[parameter["parameter_name"]]
        assert parameter["parameter_has_default"] is not field.is_required()
        if not field.is_required():
            own = studio.manager.model.defaults.get(parameter["parameter_name"], field.default)
            assert parameter["parameter_default"] == (list(own) if isinstance(own, tuple) else own)


def test_the_documentation_says_what_each_field_means(studio: Studio) -> None:
    documented = studio.client.view_api(return_format="dict")["named_endpoints"]["/text_to_image"]
    fields = TextToImageRequest.model_fields
    assert {p["label"]: p["python_type"]["description"] for p in documented["parameters"]} == {
        name: field.description for name, field in fields.items()
    }
    assert documented["description"] == TextToImageRequest.__doc__


def test_pictures_are_sent_as_files(studio: Studio, picture: Path) -> None:
    mask = picture.with_name("mask.png")
    Image.new("L", (64, 48), 255).save(mask)
    files, info = studio.client.predict(
        image=handle_file(picture), mask_image=handle_file(mask), prompt="a fox", api_name="/inpaint"
    )
    assert len(files) == 1
    assert info["request"]["image"] == "picture.png"
    request = studio.manager.requests[-1]
    assert request.image.read_bytes() == picture.read_bytes()
    assert request.mask_image.read_bytes() == mask.read_bytes()


BAD_VALUES = [
    ("width", 1023), ("width", 0), ("width", -8), ("width", 10**9), ("width", "wide"), ("width", 100.5),
    ("width", True),
    ("height", 1020), ("height", [256]), ("height", {"a": 1}),
    ("num_inference_steps", 0), ("num_inference_steps", 10**9), ("num_inference_steps", None),
    ("num_inference_steps", 2.7), ("num_inference_steps", True),
    ("guidance_scale", float("nan")), ("guidance_scale", float("inf")), ("guidance_scale", -float("inf")),
    ("guidance_scale", 0), ("guidance_scale", 1e30), ("guidance_scale", "much"), ("guidance_scale", False),
    ("scheduler", "plms2"), ("scheduler", 3), ("scheduler", None),
    ("seed", -2), ("seed", 2**32), ("seed", 10**400), ("seed", float("nan")), ("seed", "lucky"),
    ("num_images_per_prompt", 0), ("num_images_per_prompt", 9), ("num_images_per_prompt", []),
    ("prompt", "x" * 100_000), ("prompt", 5), ("prompt", None), ("prompt", ["a"]), ("prompt", {"text": "a"}),
    ("negative_prompt", "x" * 100_000), ("negative_prompt", 1.5),
    ("original_size", [1]), ("original_size", [1, 2, 3]), ("original_size", "big"), ("original_size", [-1, 5]),
    ("crops_coords_top_left", [10**9, 0]), ("crops_coords_top_left", None), ("crops_coords_top_left", [None, 0]),
    ("target_size", 7), ("target_size", [0.5, 1]), ("target_size", {"h": 1}),
    ("denoising_end", 0), ("denoising_end", 1.5), ("denoising_end", float("nan")), ("denoising_end", "half"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BAD_VALUES, ids=lambda value: str(value)[:24])
def test_a_bad_value_is_answered_with_the_engines_own_sentence(studio: Studio, field: str, value: Any) -> None:
    fields = {"prompt": "a fox", "width": 256, "height": 256, field: value}
    event, answer = studio.call("text_to_image", json.dumps(fields))
    with pytest.raises(InvalidRequest) as refused:
        make_request(TextToImageRequest, json.loads(json.dumps(fields)))
    assert event == "error"
    assert answer["error"] == str(refused.value)
    assert answer["error"].startswith(field)
    assert len(answer["error"]) < 400
    assert studio.call("text_to_image", '{"prompt": "a fox", "num_inference_steps": 1}')[0] == "complete"


PICTURE_TASK_VALUES = [
    ("image_to_image", "strength", 0), ("image_to_image", "strength", 1.1), ("image_to_image", "strength", None),
    ("image_to_image", "resize_mode", "squeeze"), ("inpaint", "invert_mask", "perhaps"),
    ("inpaint", "mask_grow", -1), ("inpaint", "mask_feather", 10**6), ("inpaint", "inpaint_area", "all"),
    ("inpaint", "padding_mask_crop", 0.5), ("refine", "aesthetic_score", 11), ("refine", "aesthetic_score", "nice"),
    ("refine", "negative_aesthetic_score", float("nan")), ("refine", "strength", 0.001),
]  # fmt: skip


@pytest.mark.parametrize(("task", "field", "value"), PICTURE_TASK_VALUES)
def test_a_picture_tasks_own_fields_are_checked_too(
    studio: Studio, picture: Path, task: str, field: str, value: Any
) -> None:
    uploaded = upload(studio, picture)
    pictures = {name: uploaded for name in ("image", "mask_image") if name in REQUESTS[task].model_fields}
    event, answer = studio.call(task, json.dumps({**pictures, field: value}))
    assert event == "error"
    assert answer["error"].startswith(field)


def size_of(file: str) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def upload(studio: Studio, file: Path) -> dict[str, Any]:
    """The file as the API takes it, uploaded."""
    answer = httpx.post(f"{studio.url}/gradio_api/upload", files={"files": (file.name, file.read_bytes())})
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


META = {"_type": "gradio.FileData"}


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "meta": META},
        {"path": "../../../../etc/passwd", "meta": META},
        {"path": f"{get_upload_folder()}/../../etc/passwd", "meta": META},
        {"path": "app.py", "meta": META},
        {"path": "http://127.0.0.1:1/a.png", "meta": META},
        {"path": "https://example.org/a.png", "url": "https://example.org/a.png", "meta": META},
        {"path": "data:image/png;base64,aGVsbG8=", "meta": META},
        {"path": 5, "meta": META},
        {"path": "a.png", "meta": 5},
        {"url": "http://127.0.0.1:1/a.png", "meta": META},
        {"nested": {"path": "/etc/passwd", "meta": META}},
        [{"path": "/etc/passwd", "meta": META}],
        5,
        True,
        None,
        "",
        "data:image/png;base64,aGVsbG8=",
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_an_uploaded_file_is_a_picture(studio: Studio, value: Any) -> None:
    before = len(studio.manager.requests)
    event, answer = studio.call("image_to_image", json.dumps({"image": value, "prompt": "a fox"}))
    assert event == "error"
    assert answer["error"].startswith("image must be ")
    assert len(studio.manager.requests) == before


def test_a_file_in_a_field_for_text_is_refused_before_gradio_fetches_it(studio: Studio) -> None:
    body = {"prompt": {"path": "http://127.0.0.1:1/a.png", "meta": META}}
    event, answer = studio.call("text_to_image", json.dumps(body))
    assert (event, answer["error"].split(",")[0]) == ("error", "prompt must be an uploaded file")


def test_a_wrong_number_of_values_is_a_sentence(studio: Studio) -> None:
    _, answer = studio.post("call/text_to_image", '{"data": ["a fox"]}')
    event_id = json.loads(answer)["event_id"]
    text = httpx.get(f"{studio.url}/gradio_api/call/text_to_image/{event_id}").text
    assert "data must hold the 39 values of prompt, " in text


def test_an_unknown_or_missing_field_is_a_sentence(studio: Studio) -> None:
    status, answer = studio.post("call/v2/text_to_image", '{"prompt": "a", "cfg_scale": 7}')
    assert (status, json.loads(answer)) == (422, {"error": "cfg_scale is not a field of this request"})
    status, answer = studio.post("call/v2/refine", '{"prompt": "a"}')
    assert (status, json.loads(answer)) == (422, {"error": "image is required"})


def test_the_engines_failure_is_a_sentence_and_the_next_call_works(studio: Studio) -> None:
    with pytest.raises(AppError, match="holds no weights"):
        studio.client.predict(prompt="break", api_name="/text_to_image")
    with pytest.raises(AppError, match="the queue is full"):
        studio.client.predict(prompt="full", api_name="/text_to_image")
    assert studio.client.predict(prompt="a fox", api_name="/text_to_image")[1]["seeds"] == [1234]


def test_a_cancelled_call_stops_its_job(studio: Studio) -> None:
    studio.manager.step_seconds = 0.05
    try:
        before = set(studio.manager.jobs)
        call = studio.client.submit(prompt="a fox", num_inference_steps=150, api_name="/text_to_image")
        job = wait_for_job(studio, before)
        assert not job.is_finished
        # before the client has read its call's id it cannot name the call to the server, and never does
        wait_until(lambda: call.communicator is not None and call.communicator.event_id)
        call.cancel()
        wait_until(lambda: job.is_finished, seconds=2)
    finally:
        studio.manager.step_seconds = 0.0
    assert job.is_cancelled


def test_a_call_whose_caller_has_gone_stops_its_job(studio: Studio) -> None:
    studio.manager.step_seconds = 0.05
    try:
        before = set(studio.manager.jobs)
        _, answer = studio.post("call/v2/text_to_image", '{"prompt": "a fox", "num_inference_steps": 150}')
        job = wait_for_job(studio, before)
        with httpx.stream("GET", f"{studio.url}/gradio_api/call/text_to_image/{json.loads(answer)['event_id']}"):
            assert not job.is_finished
        wait_until(lambda: job.is_finished, seconds=4)
    finally:
        studio.manager.step_seconds = 0.0
    assert job.is_cancelled


def wait_for_job(studio: Studio, before: set[str]) -> Any:
    """The job that was not there before."""
    wait_until(lambda: set(studio.manager.jobs) - before)
    (new,) = set(studio.manager.jobs) - before
    return studio.manager.jobs[new]


def wait_until(is_true: Any, seconds: float = 5) -> None:
    ends = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_what_cannot_be_handed_over_is_a_sentence_without_a_folder(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise OSError(28, "No space left on device", "/srv/cache/a.png")

    monkeypatch.setattr("ui.generate.save_file_to_cache", fail)
    event, answer = studio.call("text_to_image", '{"prompt": "a fox", "num_inference_steps": 1}')
    assert event == "error"
    assert answer["error"].endswith("was saved but cannot be shown: No space left on device")
    assert "/" not in answer["error"]


def test_a_fault_of_ours_names_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise ZeroDivisionError("in /srv/studio")

    monkeypatch.setattr("ui.endpoints.describe", fail)
    event, answer = studio.call("text_to_image", '{"prompt": "a fox", "num_inference_steps": 1}')
    assert event == "error"
    assert answer["error"].startswith("Something went wrong inside the studio")


def test_lists_in_lists_without_end_are_a_sentence(studio: Studio) -> None:
    event, answer = studio.call("text_to_image", f'{{"prompt": {"[" * 600}{"]" * 600}}}')
    assert (event, answer["error"]) == ("error", "prompt must be nested at most 16 levels deep, got more")


def test_the_queue_cannot_be_gone_around(studio: Studio) -> None:
    assert studio.post("run/text_to_image", '{"data": ["a fox"]}')[0] == 404


def test_the_output_folder_is_not_served(studio: Studio) -> None:
    studio.client.predict(prompt="a fox", api_name="/text_to_image")
    saved = next(studio.manager.folder.glob("*.png"))
    assert httpx.get(f"{studio.url}/gradio_api/file={saved}").status_code in (403, 404)
    assert httpx.get(f"{studio.url}/gradio_api/file=/etc/passwd").status_code in (403, 404)
    assert httpx.get(f"{studio.url}/gradio_api/file=app.py").status_code in (403, 404)


def test_two_visitors_are_told_apart(studio: Studio) -> None:
    owners = set()
    for _ in range(2):
        studio.client.predict(prompt="a fox", num_inference_steps=1, api_name="/text_to_image")
        owners.add(list(studio.manager.jobs.values())[-1].owner)
    assert len(owners) == 2
    assert "" not in owners


def test_plain_posts_count_as_one_visitor(studio: Studio) -> None:
    owners = set()
    for _ in range(2):
        assert studio.call("text_to_image", '{"prompt": "a fox", "num_inference_steps": 1}')[0] == "complete"
        owners.add(list(studio.manager.jobs.values())[-1].owner)
    assert owners == {"address 127.0.0.1"}
