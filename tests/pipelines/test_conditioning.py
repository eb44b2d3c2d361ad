"""What a UNet is told: sizes with their negatives, and rows that cost nothing to leave out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.diffusion.conditioning import Conditioning, make_conditioning, make_time_ids
from pipelines.prompts.cache import EmbeddingCache
from pipelines.prompts.drawing import final_texts
from pipelines.prompts.encoding import PromptEncoder
from pipelines.prompts.styles import load_styles
from pipelines.prompts.textual_inversion import Inversions
from pipelines.schema.requests import TextToImageRequest
from tests.adapter_files import write_embedding
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
    told = condition(num_images_per_prompt=3, negative_original_size=(7, 8)).told()
    rows = told["added_cond_kwargs"]
    assert len(told["encoder_hidden_states"]) == len(rows["text_embeds"]) == len(rows["time_ids"]) == 6
    assert rows["time_ids"][:, :2].tolist() == [[7, 8]] * 3 + [[96, 128]] * 3
    alone = condition().told()["encoder_hidden_states"]
    assert torch.equal(told["encoder_hidden_states"], alone.repeat_interleave(3, dim=0))


def test_leaving_the_negative_rows_out_leaves_the_positive_ones() -> None:
    for pictures in (1, 2):
        told = condition(num_images_per_prompt=pictures)
        both = told.told()
        positive = told.told(guided=False)
        assert torch.equal(positive["encoder_hidden_states"], both["encoder_hidden_states"][pictures:])
        assert torch.equal(positive["added_cond_kwargs"]["time_ids"], both["added_cond_kwargs"]["time_ids"][pictures:])


def test_a_single_pictures_rows_are_not_copied() -> None:
    told = condition()
    for guided in (False, True):
        states = told.told(guided)["encoder_hidden_states"]
        assert states.untyped_storage().data_ptr() == told.stages[0].prompt_embeds.untyped_storage().data_ptr()


def test_styles_are_put_around_the_prompts_before_they_are_read() -> None:
    styles = load_styles()
    request = ask(negative_prompt="blurry", styles=tuple(styles)[:2])
    texts = final_texts(request, styles)
    expert = load_demo_experts()["base"]
    styled = make_conditioning(expert, PromptEncoder(expert, EmbeddingCache()), request, styles)
    written = condition(prompt=texts.prompt, negative_prompt=texts.negative_prompt)
    assert texts.prompt != request.prompt
    assert torch.equal(styled.told()["encoder_hidden_states"], written.told()["encoder_hidden_states"])


@pytest.mark.parametrize("prompt", ["a fox<lora:something:0.8>", "a fox<lora:something:1.2:0.3>"])
def test_tags_of_loras_are_not_read_to_the_encoders(prompt: str) -> None:
    told = condition(prompt=prompt, negative_prompt="<lora:other:1> ", prompt_2="<lora:more:1> ")
    plain = condition()
    assert torch.equal(told.told()["encoder_hidden_states"], plain.told()["encoder_hidden_states"])
    assert torch.equal(told.stages[0].text_embeds, plain.stages[0].text_embeds)


def test_a_request_says_whose_signs_its_prompts_are_written_in() -> None:
    def states(syntax: str) -> torch.Tensor:
        told = condition(prompt="a (fox:1.5) on blue++", prompt_syntax=syntax, prompt_weighting="a1111")
        return told.stages[0].prompt_embeds

    assert not torch.allclose(states("a1111"), states("compel"), atol=1e-2)
    assert torch.equal(states("auto"), states("a1111"))


def test_a_request_says_how_weights_act() -> None:
    def states(weighting: str) -> torch.Tensor:
        return condition(prompt="a (fox:1.5) on blue", prompt_weighting=weighting).stages[0].prompt_embeds

    assert torch.equal(states("auto"), states("a1111"))
    assert not torch.allclose(states("auto"), states("compel"), atol=1e-2)


@pytest.mark.parametrize("name", ["easynegative", "style(2)", "<cat toy>"])
@pytest.mark.parametrize("weighting", ["a1111", "compel"])
def test_names_of_textual_inversions_are_found_whatever_signs_are_in_them(
    name: str, weighting: str, tmp_path: Path
) -> None:
    expert = load_demo_experts()["base"]
    widths = (expert.text_encoder.config.hidden_size, expert.text_encoder_2.config.hidden_size)  # pyright: ignore
    file = write_embedding(tmp_path / "learnt.safetensors", *widths, vectors=3)

    def states(name: str, prompt: str) -> torch.Tensor:
        encoder = PromptEncoder(
            expert, EmbeddingCache(), inversions=Inversions(expert, [(name, file)]), weighting=weighting
        )
        return make_conditioning(expert, encoder, ask(prompt=prompt), {}).stages[0].prompt_embeds

    for signs in ("a {} by night", "a (embedding:{}:1.3) by night", "a ({})1.3, by night"):
        expected = states("learnt", signs.format("learnt"))
        assert torch.equal(states(name, signs.format(name)), expected)
        assert not torch.equal(expected, states("other", signs.format("learnt")))
