"""Settings in the fragment of a link."""

import base64
import json
import zlib
from typing import Any

import pytest

from pipelines.schema.errors import InvalidRequest
from pipelines.schema.partial import setting_names
from pipelines.schema.recipe import MAX_CHARACTERS, MAX_UNPACKED_BYTES, decode_recipe, encode_recipe
from pipelines.schema.requests import REQUESTS, InpaintRequest, make_request

VALUES = {
    "prompt": "狐狸, (snow:1.2) [a|b]",
    "negative_prompt": "",
    "seed": 7,
    "strength": 0.5,
    "original_size": [64, 48],
    "loras": [{"name": "ink", "weight": 0.5}],
    "invert_mask": True,
    "mask_feather": 0,
    "image": "/home/someone/me.png",
}


def pack(data: Any) -> str:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(zlib.compress(text, 9)[2:-4]).decode().rstrip("=")


def test_a_link_holds_exactly_the_settings() -> None:
    recipe = decode_recipe(encode_recipe("inpaint", VALUES))
    pictures = {"image": "a.png", "mask_image": "b.png"}
    assert recipe.task == "inpaint"
    assert make_request(InpaintRequest, recipe.values | pictures) == make_request(InpaintRequest, VALUES | pictures)
    assert set(recipe.values) == set(setting_names(InpaintRequest))


def test_neither_a_picture_nor_its_name_is_in_a_link() -> None:
    text = encode_recipe("inpaint", VALUES)
    unpacked = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), -15).decode()
    assert "me.png" not in unpacked
    assert "someone" not in unpacked


def test_a_link_needs_no_escaping_and_stays_short() -> None:
    text = encode_recipe("text_to_image", {"prompt": "a fox", "seed": 7, "num_inference_steps": 30})
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert len(text) < 200


def test_settings_too_long_for_a_link_are_refused() -> None:
    prompt = "".join(chr(0x4E00 + index * 7919 % 20000) for index in range(15_000))
    with pytest.raises(InvalidRequest, match="link must have at most 16000 characters"):
        encode_recipe("text_to_image", {"prompt": prompt})


def test_a_wrong_setting_makes_no_link() -> None:
    with pytest.raises(InvalidRequest, match="width must be a multiple of 8, got 100"):
        encode_recipe("text_to_image", {"width": 100, "height": 64})


GOOD = {"schema": 1, "task": "text_to_image", "values": {"prompt": "a fox"}}


@pytest.mark.parametrize(
    "text",
    [
        "", "?", "AAAA", "no link at all", "abcde", "狐狸",
        encode_recipe("text_to_image", {"prompt": "a fox"})[:-6],
        encode_recipe("text_to_image", {"prompt": "a fox"}) + "AAAA",
        pack(b"\xff\xfe"), pack(b"[" * 100_000), pack(b"9" * 10_000), pack([GOOD]), pack({**GOOD, "schema": 2}),
        pack({**GOOD, "task": "fly"}), pack({**GOOD, "task": ["refine"]}), pack({**GOOD, "values": "all"}),
        pack({**GOOD, "more": 1}), pack({"schema": 1, "task": "refine"}),
        pack({**GOOD, "values": {f"field{index}": 1 for index in range(500)}}),
    ],
)  # fmt: skip
def test_a_link_that_no_studio_made_is_refused_with_a_sentence(text: str) -> None:
    sentence = "^link must be a recipe that this studio made, got one cut short, or from elsewhere$"
    with pytest.raises(InvalidRequest, match=sentence):
        decode_recipe(text)


def test_a_link_is_read_up_to_a_limit() -> None:
    with pytest.raises(InvalidRequest, match="at most 16000 characters"):
        decode_recipe("A" * (MAX_CHARACTERS + 1))


def test_a_link_that_unpacks_to_far_more_than_settings_is_refused() -> None:
    text = pack({**GOOD, "values": {"prompt": "a" * (MAX_UNPACKED_BYTES * 20)}})
    assert len(text) < MAX_CHARACTERS
    with pytest.raises(InvalidRequest, match="link must be a recipe"):
        decode_recipe(text)


def test_wrong_values_in_a_link_are_at_their_defaults_and_named() -> None:
    recipe = decode_recipe(pack({**GOOD, "values": {"prompt": "a fox", "guidance_scale": 99, "image": "/etc/passwd"}}))
    assert (recipe.values["prompt"], recipe.values["guidance_scale"]) == ("a fox", 5.0)
    assert "image" not in recipe.values
    assert len(recipe.checked.wrong) == 2


@pytest.mark.parametrize("task", list(REQUESTS))
def test_every_task_has_links(task: str) -> None:
    assert decode_recipe(encode_recipe(task, {"prompt": "a fox", "seed": 5})).values["seed"] == 5
