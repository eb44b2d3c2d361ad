"""The catalogue of models and SDXL's sizes are read from data."""

import re
from pathlib import Path

import pytest

from pipelines.schema.buckets import load_buckets, nearest_bucket
from pipelines.schema.models import AddOn, Entry, ModelEntry, load_catalogue
from pipelines.schema.requests import TextToImageRequest, make_request

CATALOGUE = load_catalogue()
ENTRIES = [*CATALOGUE.checkpoints.values(), *CATALOGUE.add_ons.values()]
CHECKPOINTS = list(CATALOGUE.checkpoints.values())


def named(entry: Entry) -> str:
    return entry.name


def test_there_are_forty_trained_sizes_of_at_most_one_megapixel() -> None:
    sizes = {(bucket.width, bucket.height) for bucket in load_buckets(1024)}
    assert len(sizes) == 40
    assert {(1024, 1024), (2048, 512), (512, 2048), (832, 1216)} <= sizes
    assert all(0.88 < width * height / 1024**2 <= 1.01 for width, height in sizes)


def test_sizes_are_scaled_to_the_embedded_model_and_pass_its_requests() -> None:
    assert {(bucket.width, bucket.height) for bucket in load_buckets(256)} == {
        (bucket.width // 4, bucket.height // 4) for bucket in load_buckets(1024)
    }
    for bucket in load_buckets(256):
        make_request(TextToImageRequest, {"width": bucket.width, "height": bucket.height})


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(4000, 4000, (1024, 1024)), (1920, 1080, (1344, 768)), (1080, 1920, (768, 1344)), (9000, 10, (2048, 512))],
)
def test_the_nearest_bucket_has_the_nearest_aspect(width: int, height: int, expected: tuple[int, int]) -> None:
    bucket = nearest_bucket(width, height, 1024)
    assert (bucket.width, bucket.height) == expected


@pytest.mark.parametrize("native_size", [256, 320, 512, 768, 1024])
def test_sizes_of_any_model_are_multiples_of_eight(native_size: int) -> None:
    for bucket in load_buckets(native_size):
        make_request(TextToImageRequest, {"width": bucket.width, "height": bucket.height})


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_defaults_of_the_catalogue_are_accepted_by_requests(entry: Entry) -> None:
    request = make_request(TextToImageRequest, entry.defaults)
    assert {key: getattr(request, key) for key in entry.defaults} == entry.defaults


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_what_is_downloaded_is_pinned_to_a_commit_and_tells_its_licence_and_page(entry: Entry) -> None:
    assert entry.title
    assert entry.licence
    if not Path(entry.source).is_absolute():
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.source)
        assert re.fullmatch("[0-9a-f]{40}", entry.revision or "")
        assert entry.page == f"https://huggingface.co/{entry.source}"
        assert entry.file is None or entry.file.endswith(".safetensors")


@pytest.mark.parametrize("model", CHECKPOINTS, ids=named)
def test_a_checkpoint_names_only_what_the_catalogue_holds(model: ModelEntry) -> None:
    if model.refiner:
        assert CATALOGUE.checkpoints[model.refiner].kind == "refiner"
    if model.vae:
        assert CATALOGUE.add_ons[model.vae].kind == "vae"
    assert model.latent_rgb
    assert Path(model.latent_rgb).is_file()
    load_buckets(model.native_size)


def test_half_precision_checkpoints_come_with_a_vae_that_stands_it() -> None:
    halves = [model for model in CHECKPOINTS if model.variant == "fp16"]
    assert {model.name for model in halves} == {"sdxl", "sdxl-refiner", "sdxl-inpainting", "sdxl-turbo"}
    assert {model.vae for model in halves} == {"sdxl-vae-fp16-fix"}


def test_each_kind_is_there() -> None:
    assert {model.kind for model in CHECKPOINTS} == {"base", "refiner", "inpainting"}
    assert {add_on.kind for add_on in CATALOGUE.add_ons.values()} == {"vae", "lora", "preview"}


def test_few_step_models_take_few_steps_without_guidance() -> None:
    loras = [add_on for add_on in CATALOGUE.add_ons.values() if add_on.kind == "lora"]
    few: list[ModelEntry | AddOn] = [CATALOGUE.checkpoints["sdxl-turbo"], *loras]
    assert {entry.name.split("-")[0] for entry in few} == {"sdxl", "lcm", "lightning", "hyper"}
    for entry in few:
        assert entry.defaults["num_inference_steps"] <= 8
        assert entry.defaults["guidance_scale"] == 1.0
    for entry in loras:
        if steps := re.search(r"(\d)-?steps?", entry.file or ""):
            assert entry.defaults["num_inference_steps"] == int(steps.group(1))
            assert entry.defaults["timestep_spacing"] == "trailing"


def test_names_are_told_apart_everywhere() -> None:
    names = [entry.name for entry in ENTRIES]
    titles = [entry.title for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert len(set(titles)) == len(titles)
