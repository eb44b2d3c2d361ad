"""What weights, edits and negative prompts do to pictures: twenty seeds of the embedded model."""

from functools import cache

import numpy as np
import pytest
import torch

from pipelines.diffusion.latents import decode_pixels
from pipelines.schema.requests import TextToImageRequest
from tests.pipelines.demo_experts import prepare_run

SEEDS = 20
BORDER = 8
CONTRARY = "a fox on a red blue background"
"""The model draws either colour, or one between them."""

pytestmark = pytest.mark.slow


@cache
def draw_all(prompt: str, negative_prompt: str = "") -> np.ndarray:
    """Pictures of seeds 0 to 19, (20, 64, 64, 3), 0 to 255."""
    values = {"width": 64, "height": 64, "num_inference_steps": 6, "guidance_scale": 4.0, "seed": 0}
    request = TextToImageRequest(prompt=prompt, negative_prompt=negative_prompt, **values)
    run = prepare_run(request.model_copy(update={"num_images_per_prompt": SEEDS}))
    with torch.inference_mode():
        while not run.is_done:
            run.advance()
        pixels = decode_pixels(run.segments[-1].expert.vae, run.finish(), torch.float32)
    return ((pixels.permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255).numpy()


def backgrounds(pictures: np.ndarray) -> np.ndarray:
    """The median colour of each picture's left and right border, (20, 3)."""
    sides = np.concatenate([pictures[:, :, :BORDER], pictures[:, :, -BORDER:]], axis=2)
    return np.median(sides.reshape(len(pictures), -1, 3), axis=1)


def redness(prompt: str, negative_prompt: str = "") -> np.ndarray:
    """How much more red than blue each background is."""
    colours = backgrounds(draw_all(prompt, negative_prompt))
    return colours[:, 0] - colours[:, 2]


def count_blue(prompt: str, negative_prompt: str = "") -> int:
    red, green, blue = backgrounds(draw_all(prompt, negative_prompt)).T
    return int(((blue > red + 20) & (blue > green + 20)).sum())


@pytest.mark.parametrize("form", ["a fox on a (red:{}) blue background", "a fox on a (red){} blue background"])
def test_more_weight_on_a_colour_word_moves_the_background_toward_it(form: str) -> None:
    weak, plain, strong = (redness(prompt) for prompt in (form.format(0.5), CONTRARY, form.format(1.5)))
    assert (weak < plain).sum() >= SEEDS - 1
    assert (plain < strong).sum() >= SEEDS - 1
    assert weak.mean() + 80 < plain.mean() < strong.mean() - 80


def test_an_edit_halfway_draws_neither_the_one_nor_the_other() -> None:
    edited, red, blue = (draw_all(f"a fox on a {colour} background") for colour in ("[red:blue:0.5]", "red", "blue"))
    for other in (red, blue):
        assert (np.abs(edited - other).mean((1, 2, 3)) > 5).all()
    between = [pictures[..., 0].mean() - pictures[..., 2].mean() for pictures in (blue, edited, red)]
    assert between == sorted(between)


def test_a_colour_in_the_negative_prompt_becomes_rarer() -> None:
    before, after = count_blue("a whale"), count_blue("a whale", "blue background")
    assert before >= 5
    assert after <= before - 4
    assert redness("a whale", "blue background").mean() > redness("a whale").mean() + 20
