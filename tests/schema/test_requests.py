"""A request refuses what it does not allow, with a sentence that names the field, the rule and the value."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.schema.errors import InvalidRequest
from pipelines.schema.fields import describe_field
from pipelines.schema.requests import (
    MAX_SEED,
    REQUESTS,
    ImageToImageRequest,
    InpaintRequest,
    TextToImageRequest,
    make_request,
)

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"width": 1020, "height": 1024}, "width must be a multiple of 8, got 1020"),
        ({"width": 0, "height": 64}, "width must be at least 64, got 0"),
        ({"width": 64, "height": -8}, "height must be at least 64, got -8"),
        ({"width": 10**9, "height": 64}, "width must be at most 2048, got 1000000000"),
        ({"width": True, "height": 64}, "width must be a number, got True"),
        ({"width": 64}, "height must be set when width is, got None"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0"),
        ({"num_inference_steps": 10**9}, "num_inference_steps must be at most 150, got 1000000000"),
        ({"num_inference_steps": 2.7}, "num_inference_steps must be a whole number, got 2.7"),
        ({"num_inference_steps": NAN}, "num_inference_steps must be a finite number, got nan"),
        ({"num_inference_steps": "many"}, "num_inference_steps must be a whole number, got 'many'"),
        ({"guidance_scale": NAN}, "guidance_scale must be a finite number, got nan"),
        ({"guidance_scale": INFINITY}, "guidance_scale must be a finite number, got inf"),
        ({"guidance_scale": 0.5}, "guidance_scale must be at least 1, got 0.5"),
        ({"guidance_scale": None}, "guidance_scale must be a number, got None"),
        ({"seed": -2}, "seed must be at least -1, got -2"),
        ({"seed": MAX_SEED + 1}, "seed must be at most 4294967295, got 4294967296"),
        ({"seed": 10**5000}, "seed must be at most 4294967295, got a number too long to print"),
        ({"seed": []}, "seed must be a whole number, got []"),
        ({"num_images_per_prompt": 9}, "num_images_per_prompt must be at most 8, got 9"),
        ({"denoising_end": 0}, "denoising_end must be more than 0, got 0"),
        ({"prompt": None}, "prompt must be text, got None"),
        ({"prompt": {"a": 1}}, "prompt must be text, got {'a': 1}"),
        ({"prompt": "\ud800"}, "prompt must be text that UTF-8 can write, got '\\ud800'"),
        ({"original_size": [1, 2, 3]}, "original_size must be two whole numbers from 0 to 8192, got [1, 2, 3]"),
        ({"original_size": "a, b"}, "original_size must be two whole numbers from 0 to 8192, got 'a, b'"),
        ({"target_size": [64, NAN]}, "target_size must be two whole numbers from 0 to 8192, got [64, nan]"),
        ({"crops_coords_top_left": ""}, "crops_coords_top_left must be two whole numbers from 0 to 8192, got ''"),
        ({"steps": 20}, "steps is not a field of this request, got 20"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_request(TextToImageRequest, {"prompt": "a fox", **values})
    assert str(caught.value) == sentence


MANY = 1000


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"loras": [0] * MANY}, "loras must be a list of at most 8, each with a name and a weight from -4 to 4"),
        ({"loras": [{str(k): 0 for k in range(MANY)}]}, "loras must be a list of at most 8, each with a name and"),
        ({"loras": [{"name": str(k)} for k in range(9)]}, "loras must be a list of at most 8, each with a name and"),
        ({"styles": [0] * MANY}, "styles must be a list of at most 8 names, got [0, 0"),
        ({"original_size": [{}] * MANY}, "original_size must be two whole numbers from 0 to 8192, got [{}"),
        ({"crops_coords_top_left": ["x"] * MANY}, "crops_coords_top_left must be two whole numbers from 0 to 8192"),
        ({"target_size": "x," * MANY}, "target_size must be two whole numbers from 0 to 8192"),
    ],
)
def test_a_list_too_long_is_refused_before_its_items_are_looked_at(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_request(TextToImageRequest, values)
    assert str(caught.value).startswith(sentence)
    cause = caught.value.__cause__
    assert isinstance(cause, ValidationError)
    (error,) = cause.errors()
    assert error["type"] == "too_long"
    assert len(error["loc"]) <= 3


def test_a_pair_is_split_no_further_than_it_must_be() -> None:
    with pytest.raises(ValidationError) as caught:
        TextToImageRequest.model_validate({"original_size": "1," * MANY})
    assert caught.value.errors()[0].get("ctx", {})["actual_length"] == 3


def test_a_request_of_foreign_names_is_refused_at_the_first() -> None:
    with pytest.raises(InvalidRequest, match=r"^\\ud8000 is not a field of this request, got 0$") as caught:
        make_request(TextToImageRequest, {f"\ud800{k}": k for k in range(MANY)})
    assert caught.value.__cause__ is None, "pydantic would have made an error of each"
    with pytest.raises(InvalidRequest) as caught:
        make_request(TextToImageRequest, {"x" * 100_000: 0})
    assert len(str(caught.value)) < 150


def test_a_prompt_too_long_is_refused_in_a_short_sentence() -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_request(TextToImageRequest, {"prompt": "x" * 100_000})
    assert str(caught.value).startswith("prompt must have at most 20000 characters, got ")
    assert str(caught.value).endswith("(100000 characters)")
    assert len(str(caught.value)) < 150


def test_an_unknown_scheduler_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"scheduler must be one of 'euler', .* or 'tcd', got 'magic'"):
        make_request(TextToImageRequest, {"scheduler": "magic"})


def test_a_missing_picture_is_named() -> None:
    with pytest.raises(InvalidRequest, match="image is required, got None"):
        make_request(ImageToImageRequest, {"prompt": "a fox"})
    with pytest.raises(InvalidRequest, match="mask_image is required, got None"):
        make_request(InpaintRequest, {"prompt": "a fox", "image": "fox.png"})


def test_a_strength_that_leaves_no_step_is_refused() -> None:
    values = {"image": "fox.png", "num_inference_steps": 10}
    with pytest.raises(InvalidRequest, match=r"strength must leave at least one step.*\(10\).*got 0.05"):
        make_request(ImageToImageRequest, {**values, "strength": 0.05})
    assert make_request(ImageToImageRequest, {**values, "strength": 0.1}).strength == 0.1


def test_a_pair_may_be_written_as_text_and_an_empty_one_is_left_to_the_model() -> None:
    request = make_request(TextToImageRequest, {"original_size": "512, 768", "target_size": ""})
    assert request.original_size == (512, 768)
    assert request.target_size is None


def test_requests_cannot_be_changed_and_survive_json() -> None:
    request = make_request(TextToImageRequest, {"prompt": "狐狸 🦊", "seed": 5, "original_size": (256, 256)})
    with pytest.raises(ValueError, match="frozen"):
        request.prompt = "a cat"  # pyright: ignore[reportAttributeAccessIssue]
    assert TextToImageRequest.model_validate_json(request.model_dump_json()) == request


def test_seeds_count_up_and_wrap_at_the_end() -> None:
    request = make_request(TextToImageRequest, {"seed": MAX_SEED, "num_images_per_prompt": 3})
    assert request.seeds == (MAX_SEED, 0, 1)


@pytest.mark.parametrize("task", REQUESTS)
def test_every_field_has_a_description_that_is_a_sentence(task: str) -> None:
    for name in REQUESTS[task].model_fields:
        assert describe_field(REQUESTS[task], name).description.endswith(".")


def test_a_field_tells_its_limits_to_whoever_draws_an_input() -> None:
    width = describe_field(TextToImageRequest, "width")
    assert (width.minimum, width.maximum, width.multiple_of, width.default) == (64, 2048, 8, None)
    strength = describe_field(ImageToImageRequest, "strength")
    assert (strength.minimum, strength.maximum, strength.default) == (0, 1, 0.6)
    assert "euler" in describe_field(TextToImageRequest, "scheduler").choices
    assert describe_field(InpaintRequest, "mask_image").required
    with pytest.raises(KeyError):
        describe_field(TextToImageRequest, "strength")
