"""The catalogue of models and SDXL's sizes are read from data."""

import json
from pathlib import Path

import pytest

from pipelines.schema.buckets import load_buckets, nearest_bucket
from pipelines.schema.errors import ModelError
from pipelines.schema.models import find_model, load_catalogue
from pipelines.schema.requests import TextToImageRequest, make_request


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


def test_every_model_of_the_catalogue_has_defaults_that_its_requests_accept() -> None:
    for model in load_catalogue().values():
        make_request(TextToImageRequest, model.defaults)


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model must be one of demo, sdxl, or a folder that holds model_index\.json"):
        find_model(str(tmp_path))


def test_a_folder_tells_its_native_size(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ModelError, match="must name the UNet's sample_size"):
        find_model(str(tmp_path))
    for sample_size in ([32, 32], None, "a", -1, 10**6):
        (tmp_path / "unet" / "config.json").write_text(json.dumps({"sample_size": sample_size}))
        with pytest.raises(ModelError, match="sample_size"):
            find_model(str(tmp_path))
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"sample_size": 64}))
    assert find_model(str(tmp_path)).native_size == 512


@pytest.mark.parametrize("native_size", [256, 320, 512, 768, 1024])
def test_sizes_of_any_model_are_multiples_of_eight(native_size: int) -> None:
    for bucket in load_buckets(native_size):
        make_request(TextToImageRequest, {"width": bucket.width, "height": bucket.height})
