"""A picture carries its request, gives it back, and never gives away where the server keeps things."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from pipelines.media.metadata import (
    KEY,
    MAX_CHARACTERS,
    VERSION,
    hash_pictures,
    make_infotext,
    make_text_chunks,
    read_request,
    read_settings,
)
from pipelines.schema.errors import InvalidRequest, PictureError
from pipelines.schema.requests import (
    GenerationRequest,
    ImageToImageRequest,
    InpaintRequest,
    RefineRequest,
    TextToImageRequest,
)
from pipelines.schema.types import MAX_PROMPT_CHARACTERS

PROMPT = 'a fox, "red": 狐狸 🦊\nÄrger, (soft:1.2)'
UNREADABLE_RULE = "must hold settings that this studio can read"


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "a secret folder" / "upload.png"
    path.parent.mkdir()
    Image.new("RGB", (16, 16), (1, 2, 3)).save(path)
    return path


def save(path: Path, request: GenerationRequest, seed: int = 7) -> Path:
    Image.new("RGB", (16, 16)).save(path, pnginfo=make_text_chunks(request, seed=seed, model="demo"))
    return path


def forge(path: Path, text: str, file_format: str = "PNG") -> Path:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(KEY, text)
    Image.new("RGB", (16, 16)).save(path, format=file_format, pnginfo=chunks)
    return path


def make_all_requests(upload: Path) -> list[GenerationRequest]:
    return [
        TextToImageRequest(prompt=PROMPT, width=256, height=320, denoising_end=0.8, original_size=(512, 640)),
        ImageToImageRequest(prompt=PROMPT, negative_prompt="blur", image=upload, strength=0.35, resize_mode="pad"),
        InpaintRequest(image=upload, mask_image=upload, invert_mask=True, mask_grow=3, inpaint_area="masked"),
        RefineRequest(image=upload, aesthetic_score=7.5, scheduler="dpmpp_2m", sigmas="karras", guidance_scale=1),
    ]


@pytest.mark.parametrize("which", range(4))
def test_a_request_is_read_back_from_its_picture(tmp_path: Path, upload: Path, which: int):
    request = make_all_requests(upload)[which].model_copy(update={"seed": 5, "num_images_per_prompt": 3})
    path = save(tmp_path / "picture.png", request, seed=6)
    pictures = {name: upload for name in ("image", "mask_image") if name in type(request).model_fields}
    again = read_request(path, **pictures)
    assert type(again) is type(request)
    assert again == request.model_copy(update={"seed": 6, "num_images_per_prompt": 1})


def test_settings_name_the_task_the_model_and_every_field(tmp_path: Path, upload: Path):
    settings = read_settings(save(tmp_path / "picture.png", RefineRequest(image=upload, prompt="a fox")))
    assert (settings["task"], settings["model"], settings["version"]) == ("refine", "demo", VERSION)
    assert set(settings["request"]) == set(RefineRequest.model_fields)
    assert settings["request"]["seed"] == 7


def test_uploads_are_named_by_their_hash_and_never_by_their_path(tmp_path: Path, upload: Path):
    digest = "sha256:" + hashlib.sha256(upload.read_bytes()).hexdigest()
    path = save(tmp_path / "picture.png", InpaintRequest(image=upload, mask_image=upload))
    request = read_settings(path)["request"]
    assert (request["image"], request["mask_image"]) == (digest, digest)
    content = path.read_bytes()
    assert b"secret" not in content
    assert b"upload" not in content


def test_an_upload_that_was_swept_away_does_not_cost_the_picture(tmp_path: Path, upload: Path):
    request = ImageToImageRequest(image=upload)
    upload.unlink()
    assert hash_pictures(request) == {"image": "sha256:unknown"}
    assert read_settings(save(tmp_path / "picture.png", request))["request"]["image"] == "sha256:unknown"


def test_a_missing_upload_is_asked_for_by_name(tmp_path: Path, upload: Path):
    path = save(tmp_path / "picture.png", InpaintRequest(image=upload, mask_image=upload))
    with pytest.raises(InvalidRequest, match=r"^mask_image is required") as caught:
        read_request(path, image=upload)
    assert caught.value.field == "mask_image"


def test_an_upload_that_the_task_has_no_use_for_is_refused(tmp_path: Path, upload: Path):
    path = save(tmp_path / "picture.png", TextToImageRequest())
    with pytest.raises(InvalidRequest, match=r"^image is not a field of this request"):
        read_request(path, image=upload)


def test_a_path_in_a_forged_picture_is_never_followed(tmp_path: Path, upload: Path):
    settings = read_settings(save(tmp_path / "picture.png", RefineRequest(image=upload)))
    settings["request"]["image"] = "/etc/passwd"
    path = forge(tmp_path / "forged.png", json.dumps(settings))
    with pytest.raises(PictureError, match=UNREADABLE_RULE):
        read_request(path)


def forged_settings() -> dict[str, str]:
    good = {"schema": 1, "version": VERSION, "model": "demo", "task": "text_to_image", "request": {"prompt": "a fox"}}
    return {
        "no JSON": "a fox",
        "not closed": "{",
        "a list": "[]",
        "a number of 10000 digits": "9" * 10_000,
        "nested without end": "[" * 100_000,
        "too long": json.dumps(good | {"model": "m" * MAX_CHARACTERS}),
        "no task": json.dumps({key: value for key, value in good.items() if key != "task"}),
        "unknown task": json.dumps(good | {"task": "text_to_video"}),
        "task of a wrong kind": json.dumps(good | {"task": ["inpaint"]}),
        "no request": json.dumps(good | {"request": None}),
        "a field of a wrong kind": json.dumps(good | {"request": {"num_inference_steps": "many"}}),
        "a value out of range": json.dumps(good | {"request": {"width": 10**9, "height": 64}}),
        "NaN": json.dumps(good | {"request": {"guidance_scale": float("nan")}}),
        "an unknown field": json.dumps(good | {"request": {"prompts": "a fox"}}),
        "half a character": json.dumps(good | {"request": {"prompt": "\ud800"}}),
        "an upload without its hash": json.dumps(good | {"task": "refine"}),
        "a later schema": json.dumps(good | {"schema": 2}),
    }


@pytest.mark.parametrize("what", forged_settings())
def test_malformed_settings_are_refused(tmp_path: Path, what: str):
    path = forge(tmp_path / "forged.png", forged_settings()[what])
    with pytest.raises(PictureError) as caught:
        read_settings(path)
    assert str(caught.value) == f"image {UNREADABLE_RULE}, got 'forged.png'"


def test_the_forgeries_differ_from_what_is_accepted_only_in_their_fault(tmp_path: Path):
    good = {"schema": 1, "version": VERSION, "model": "demo", "task": "text_to_image", "request": {"prompt": "a fox"}}
    assert read_settings(forge(tmp_path / "good.png", json.dumps(good)))["request"]["prompt"] == "a fox"


def test_an_overblown_packed_text_is_refused(tmp_path: Path):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(KEY, " " * 50_000_000, zip=True)
    path = tmp_path / "blown.png"
    Image.new("RGB", (16, 16)).save(path, pnginfo=chunks)
    assert path.stat().st_size < 100_000
    with pytest.raises(PictureError):
        read_settings(path)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_picture_without_settings_is_refused(tmp_path: Path, file_format: str):
    path = tmp_path / "foreign"
    Image.new("RGB", (16, 16)).save(path, format=file_format)
    with pytest.raises(PictureError, match="must be a PNG that this studio saved") as caught:
        read_settings(path, "picture")
    assert caught.value.field == "picture"


def test_settings_of_a_text_file_are_refused(tmp_path: Path):
    path = tmp_path / "note.png"
    path.write_text("a fox")
    with pytest.raises(PictureError, match="must be a PNG, JPEG or WebP picture"):
        read_settings(path)


def test_the_infotext_reads_as_a1111_writes_it(upload: Path):
    request = ImageToImageRequest(
        image=upload,
        prompt="a fox on a blue background",
        negative_prompt="blurry, dark",
        num_inference_steps=20,
        scheduler="euler_ancestral",
        width=256,
        height=320,
        strength=0.6,
    )
    assert make_infotext(request, seed=1, model="demo") == (
        "a fox on a blue background\n"
        "Negative prompt: blurry, dark\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 5, Seed: 1, Size: 256x320, Model: demo, "
        f"Denoising strength: 0.6, Version: sdxl-studio {VERSION}"
    )


def test_the_infotext_leaves_out_what_a_request_does_not_have():
    text = make_infotext(TextToImageRequest(prompt="a fox"), seed=1, model="demo")
    assert text.startswith("a fox\nSteps: 30, Sampler: Euler, CFG scale: 5, Seed: 1, Model: demo, Version: ")


@pytest.mark.parametrize(
    ("model", "quoted"),
    [
        ("plain-1.0", "plain-1.0"),
        ("a:b", '"a:b"'),
        ("a, b", '"a, b"'),
        ("a\nb", r'"a\nb"'),
        ('狐: "best"', r'"狐: \"best\""'),
    ],
)
def test_values_that_would_split_the_line_are_quoted(model: str, quoted: str):
    assert f"Model: {quoted}, Version" in make_infotext(TextToImageRequest(), seed=1, model=model)


@pytest.mark.parametrize("prompt", ["a fox", "ein Füchslein", PROMPT, "zero\0byte"])
def test_both_texts_survive_in_the_file_in_any_script(tmp_path: Path, prompt: str):
    path = save(tmp_path / "picture.png", TextToImageRequest(prompt=prompt))
    with Image.open(path) as image:
        assert image.info["parameters"].startswith(prompt.replace("\0", ""))
    assert read_settings(path)["request"]["prompt"] == prompt


def test_the_longest_prompts_can_be_read_back(tmp_path: Path):
    request = TextToImageRequest(prompt="狐" * MAX_PROMPT_CHARACTERS, negative_prompt="\x01" * MAX_PROMPT_CHARACTERS)
    assert read_request(save(tmp_path / "picture.png", request)).prompt == request.prompt


def test_the_version_is_the_projects():
    project = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert found is not None
    assert found[1] == VERSION
