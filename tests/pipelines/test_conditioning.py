"""What a UNet is told: sizes with their negatives, and rows that cost nothing to leave out."""

from typing import Any

import pytest
import torch

from pipelines.diffusion.conditioning import Conditioning, make_time_ids
from pipelines.schema.requests import TextToImageRequest
from tests.pipelines.demo_experts import load_demo_experts, make_condition


def ask(**values: Any) -> TextToImageRequest:
    return TextToImageRequest(**{"prompt": "a fox", "width": 128, "height": 96, **values})


def time_ids(expert: str, **values: Any) -> list[list[float]]:
    return make_time_ids(load_demo_experts()[expert], ask(**values)).tolist()


def condition(**values: Any) -> Conditioning:
    request = ask(**values)
    return make_condition(request, load_demo_experts())("base")[1]


def test_sizes_follow_the_picture_unless_they_are_given() -> None:
    assert time_ids("base") == [[96, 128, 0, 0, 96, 128]] * 2
    assert time_ids("base", original_size=(50, 60), target_size=(70, 80)) == [[50, 60, 0, 0, 70, 80]] * 2
    assert time_ids("base", crops_coords_top_left=(3, 4)) == [[96, 128, 3, 4, 96, 128]] * 2


@pytest.mark.parametrize(
    ("values", "negative"),
    [
        ({"negative_original_size": (7, 8)}, [7, 8, 3, 4, 96, 128]),
        ({"negative_crops_coords_top_left": (7, 8)}, [96, 128, 7, 8, 96, 128]),
        ({"negative_crops_coords_top_left": (0, 0)}, [96, 128, 0, 0, 96, 128]),
        ({"negative_target_size": (7, 8)}, [96, 128, 3, 4, 7, 8]),
    ],
)
def test_each_negative_size_stands_for_itself(values: dict[str, Any], negative: list[float]) -> None:
    assert time_ids("base", crops_coords_top_left=(3, 4), **values) == [negative, [96, 128, 3, 4, 96, 128]]


def test_a_refiner_is_told_scores_and_moves_away_from_what_is_not_cropped() -> None:
    plain = time_ids("refiner", crops_coords_top_left=(3, 4))
    assert plain == [[96, 128, 0, 0, 2.5], [96, 128, 3, 4, 6.0]]
    scores = {"aesthetic_score": 9, "negative_aesthetic_score": 1}
    negatives = {"negative_crops_coords_top_left": (5, 6), "negative_original_size": (7, 8)}
    assert time_ids("refiner", **scores, **negatives) == [[7, 8, 5, 6, 1], [96, 128, 0, 0, 9]]


def test_rows_are_negative_ones_and_then_positive_ones_for_each_picture() -> None:
    told = condition(num_images_per_prompt=3, negative_original_size=(7, 8))
    assert len(told.prompt_embeds) == len(told.text_embeds) == len(told.time_ids) == 6
    assert told.time_ids[:, :2].tolist() == [[7, 8]] * 3 + [[96, 128]] * 3


def test_leaving_the_negative_rows_out_copies_nothing() -> None:
    told = condition(num_images_per_prompt=2)
    positive = told.last(2)["encoder_hidden_states"]
    assert torch.equal(positive, told.prompt_embeds[2:])
    assert positive.untyped_storage().data_ptr() == told.prompt_embeds.untyped_storage().data_ptr()


def test_without_guidance_there_are_positive_rows_only() -> None:
    told = condition(guidance_scale=1, num_images_per_prompt=2)
    assert torch.equal(told.prompt_embeds, condition(num_images_per_prompt=2).prompt_embeds[2:])
