"""A picture carries its request, gives it back, and never gives away where the server keeps things."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from sd_parsers import ParserManager

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
from pipelines.media.readers.picture import read_picture_settings, read_text_settings
from pipelines.schema.errors import InvalidRequest, PictureError
from pipelines.schema.requests import (
    REQUESTS,
    GenerationRequest,
    ImageToImageRequest,
    InpaintRequest,
    RefineRequest,
    TextToImageRequest,
    make_request,
)
from pipelines.schema.schedulers import SCHEDULER_NAMES, SCHEDULER_TITLES, SigmasName, SpacingName
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


def test_the_precision_of_a_picture_is_noted_and_not_read_back(tmp_path: Path):
    request = TextToImageRequest(prompt=PROMPT, width=256, height=320)
    noted, plain = tmp_path / "noted.png", save(tmp_path / "plain.png", request)
    chunks = make_text_chunks(request, seed=7, model="demo", dtype="bfloat16")
    Image.new("RGB", (16, 16)).save(noted, pnginfo=chunks)
    with Image.open(noted) as image:
        assert json.loads(image.info[KEY])["dtype"] == "bfloat16"
    assert read_settings(noted) == read_settings(plain)
    assert read_request(noted) == read_request(plain)
    assert read_picture_settings(noted) == read_picture_settings(plain)


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
        "an upload's hash that is none": json.dumps(good | {"task": "refine", "request": {"image": "sha256:\ud800"}}),
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


# Styles and templates


@dataclass(frozen=True)
class Texts:
    """Prompts as they were drawn."""

    prompt: str = ""
    negative_prompt: str = ""
    prompt_2: str = ""
    negative_prompt_2: str = ""


DRAWN = TextToImageRequest(prompt="a red fox", styles=("pencil", "moody light"), negative_prompt="blur")
STYLED = Texts("pencil drawing of a red fox, dim light", "blur, photo")
TEMPLATE = {"prompt": "a {red|blue} __animal__", "negative_prompt": "blur"}


def test_the_json_holds_what_was_typed_and_the_infotext_what_was_drawn(tmp_path: Path) -> None:
    chunks = make_text_chunks(DRAWN, seed=7, model="demo", texts=STYLED, template=TEMPLATE)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", pnginfo=chunks)
    found = read_settings(tmp_path / "a.png")
    assert (found["request"]["prompt"], found["request"]["styles"]) == ("a red fox", ["pencil", "moody light"])
    assert found["template"] == TEMPLATE
    assert read_request(tmp_path / "a.png") == DRAWN.model_copy(update={"seed": 7})
    with Image.open(tmp_path / "a.png") as image:
        infotext = image.info["parameters"]
    assert infotext.startswith("pencil drawing of a red fox, dim light\nNegative prompt: blur, photo\nSteps: ")
    assert (
        'Styles: "pencil, moody light", Template: a {red|blue} __animal__, Negative Template: blur, Version' in infotext
    )


def test_a_styled_infotext_draws_the_same_without_its_styles() -> None:
    found = read_text_settings(make_infotext(DRAWN, seed=7, model="demo", texts=STYLED, template=TEMPLATE))
    assert found.values["prompt"] == STYLED.prompt
    assert "styles" not in found.values, "their words stand in the prompt already"
    assert found.unmapped == ()


FORGED_TEMPLATE = {
    "prompt": 5,
    "image": "/etc/passwd",
    "negative_prompt": "\ud800",
    "negative_prompt_2": "x" * (MAX_PROMPT_CHARACTERS + 1),
    "prompt_2": "a {b|c}",
}


@pytest.mark.parametrize("template", [None, [], "text", FORGED_TEMPLATE])
def test_a_forged_template_gives_only_texts_of_prompts(tmp_path: Path, template: Any) -> None:
    good = {
        "schema": 1,
        "version": VERSION,
        "model": "demo",
        "task": "text_to_image",
        "request": {},
        "template": template,
    }
    found = read_settings(forge(tmp_path / "a.png", json.dumps(good)))["template"]
    assert found == ({"prompt_2": "a {b|c}"} if isinstance(template, dict) else {})


@pytest.mark.parametrize("name", [["1"], {"a": 1}, 5, None, "m" * 500_000, "\ud800", [[]] * 1000])
def test_a_forged_name_of_the_model_or_the_version_is_left_out(tmp_path: Path, name: Any) -> None:
    good = {"schema": 1, "task": "text_to_image", "request": {"prompt": "a fox"}}
    path = forge(tmp_path / "a.png", json.dumps(good | {"model": name, "version": name}))
    found = read_settings(path)
    assert (found["model"], found["version"]) == ("", "")
    assert read_picture_settings(path).values["model"] == ""


def test_a_picture_of_an_older_studio_gets_the_defaults_of_newer_fields(tmp_path: Path) -> None:
    old = {"prompt": "a fox", "scheduler": "dpmpp_2m_karras", "num_inference_steps": 12, "width": 64, "height": 64}
    text = json.dumps({"schema": 1, "version": "0.0.1", "model": "demo", "task": "text_to_image", "request": old})
    found = read_picture_settings(forge(tmp_path / "a.png", text))
    assert (found.values["sigmas"], found.values["styles"], found.values["prompt_syntax"]) == ("karras", [], "auto")
    assert found.values["model"] == "demo"


def test_loras_are_tags_for_others_and_rows_for_us() -> None:
    request = make_request(TextToImageRequest, {"prompt": "a fox", "loras": [{"name": "ink", "weight": 0.5}]})
    text = make_infotext(request, seed=1, model="demo")
    assert text.startswith("a fox <lora:ink:0.5>\nSteps: ")
    found = read_text_settings(text)
    assert (found.values["prompt"], found.values["loras"]) == ("a fox", [{"name": "ink", "weight": 0.5}])


# What our infotext says is what we read from it

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
PROMPTS = WORDS.filter(lambda text: not text.casefold().startswith("negative prompt:") and "Steps:" not in text)
NAMES = WORDS.filter(lambda text: text and ": " not in text and text != "own" and text.casefold() != "none")
SHARES = st.floats(0.05, 1)
SIZES = st.tuples(st.integers(0, 4096), st.integers(0, 4096)) | st.none()
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "prompt": PROMPTS, "negative_prompt": PROMPTS, "prompt_2": PROMPTS, "negative_prompt_2": PROMPTS,
    "width": st.sampled_from([512, 832, 1216]), "num_inference_steps": st.integers(20, 50),
    "guidance_scale": st.floats(1, 30), "scheduler": st.sampled_from(SCHEDULER_NAMES),
    "timestep_spacing": st.sampled_from(get_args(SpacingName)),
    "sigmas": st.sampled_from(get_args(SigmasName)), "timesteps": st.sampled_from(["default", "align_your_steps"]),
    "refiner": NAMES, "vae": NAMES, "clip_skip": st.integers(0, 10), "guidance_rescale": st.floats(0, 1),
    "loras": st.lists(st.tuples(NAMES, st.floats(-4, 4)), max_size=3, unique_by=lambda pair: pair[0]).map(
        lambda pairs: [{"name": name, "weight": weight} for name, weight in pairs]
    ),
    "prompt_syntax": st.sampled_from(["auto", "a1111", "compel"]), "guidance_start": st.floats(0, 0.5),
    "prompt_weighting": st.sampled_from(["auto", "a1111", "compel"]), "guidance_end": st.floats(0.6, 1),
    "dynamic_thresholding_ratio": st.floats(0.5, 1), "original_size": SIZES, "negative_target_size": SIZES,
    "aesthetic_score": st.floats(0, 10), "offset_noise": st.floats(-1, 1), "denoising_end": SHARES, "strength": SHARES,
    "resize_mode": st.sampled_from(["crop", "pad", "stretch"]), "invert_mask": st.booleans(),
    "mask_grow": st.integers(0, 256), "inpaint_area": st.sampled_from(["whole", "masked"]),
    "padding_mask_crop": st.integers(0, 512),
    "crops_coords_top_left": st.tuples(st.integers(0, 99), st.integers(0, 99)),
}  # fmt: skip
NOT_IN_A_PICTURE = ("num_images_per_prompt", "all_combinations", "styles", "image", "mask_image")


@st.composite
def requests(draw: st.DrawFn) -> GenerationRequest:
    """A valid request of any task with some of its fields set."""
    request_class = draw(st.sampled_from(list(REQUESTS.values())))
    fields = request_class.model_fields
    chosen = draw(st.lists(st.sampled_from([name for name in VALUES if name in fields]), max_size=9, unique=True))
    values: dict[str, Any] = {name: Path("a.png") for name in ("image", "mask_image") if name in fields}
    for name in chosen:
        value = draw(VALUES[name])
        more = {"height": 640} if name == "width" else {}
        try:
            make_request(request_class, values | {name: value} | more)
        except InvalidRequest:  # an option that the scheduler at hand does not know
            continue
        values |= {name: value} | more
    return make_request(request_class, values | {"seed": draw(st.integers(0, 2**32 - 1)), "model": "some model 1.0"})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_our_infotext_gives_back_every_field(request: GenerationRequest) -> None:
    found = read_text_settings(make_infotext(request, seed=request.seed, model=request.model))
    assert (found.source, found.task, found.unmapped) == ("SDXL Studio", request.task, ())
    fields = type(request).model_fields
    values = {name: field.default for name, field in fields.items() if not field.is_required()} | found.values
    dumped = request.model_dump(mode="json")
    for name in (name for name in fields if name not in NOT_IN_A_PICTURE):
        value = list(values[name]) if isinstance(values[name], tuple) else values[name]
        assert value == dumped[name], name


# An independent reader


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
def test_sd_parsers_reads_every_field_that_it_knows(tmp_path: Path, scheduler: str) -> None:
    known = {"sigmas": "karras"} if scheduler in ("euler", "dpmpp_2m", "dpmpp_sde") else {}
    request = make_request(
        TextToImageRequest,
        {
            "prompt": "a (red:1.2) fox,\nin the snow 狐", "negative_prompt": "blur, [text]", "scheduler": scheduler,
            "num_inference_steps": 24, "guidance_scale": 6.5, "width": 832, "height": 1216, "vae": "clear",
            "clip_skip": 1, "denoising_end": 0.8, "refiner": "polish", **known,
        },
    )  # fmt: skip
    chunks = make_text_chunks(request, seed=4294967295, model="some model 1.0")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", pnginfo=chunks)
    found = ParserManager().parse(tmp_path / "a.png")
    assert found is not None
    assert found.generator.value == "AUTOMATIC1111"
    assert found.full_prompt == request.prompt
    assert found.full_negative_prompt == request.negative_prompt
    (sampler,) = found.samplers
    assert sampler.name == SCHEDULER_TITLES[scheduler]
    assert sampler.model is not None
    assert sampler.model.name == "some model 1.0"
    schedule = {"scheduler": "Karras"} if known else {}
    assert sampler.parameters == {"steps": "24", "cfg_scale": "6.5", "seed": "4294967295", **schedule}
    expected = {
        "Size": "832x1216", "VAE": "clear", "Clip skip": "3", "Refiner": "polish", "Refiner switch at": "0.8",
        "Version": f"sdxl-studio {VERSION}",
    }  # fmt: skip
    assert found.metadata == expected


def test_sd_parsers_reads_the_texts_that_were_drawn(tmp_path: Path) -> None:
    chunks = make_text_chunks(DRAWN, seed=7, model="demo", texts=STYLED, template=TEMPLATE)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", pnginfo=chunks)
    found = ParserManager().parse(tmp_path / "a.png")
    assert found is not None
    assert (found.full_prompt, found.full_negative_prompt) == (STYLED.prompt, STYLED.negative_prompt)
    assert found.metadata["Negative Template"] == "blur"
