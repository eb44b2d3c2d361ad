"""Each kind of guidance is off by default and does what its paper says, through the embedded model's UNet."""

from typing import Any

import pytest
import torch
from diffusers import ClassifierFreeGuidance
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import rescale_noise_cfg

from pipelines.diffusion.guidance import GuidanceSettings, from_picture, guide, is_guided, threshold, to_picture
from pipelines.diffusion.run import Run
from pipelines.diffusion.schedulers import make_scheduler, noise_level
from pipelines.schema.requests import TextToImageRequest, make_request
from tests.pipelines.demo_experts import load_demo_experts, prepare_run

SIZE = {"width": 64, "height": 64}


def ask(**values: Any) -> TextToImageRequest:
    shared = {"prompt": "a fox on a blue background", "negative_prompt": "blurry", "seed": 3, "num_inference_steps": 8}
    return make_request(TextToImageRequest, {**shared, **SIZE, **values})


@torch.inference_mode()
def walk(run: Run) -> torch.Tensor:
    while not run.is_done:
        run.advance()
    return run.finish()


def draw(**values: Any) -> torch.Tensor:
    return walk(prepare_run(ask(**values)))


def guide_once(settings: GuidanceSettings, prediction_type: str = "epsilon") -> tuple[torch.Tensor, ...]:
    """A guided prediction in the middle of a run, with the negative and the positive one it was made of."""
    config = load_demo_experts()["base"].scheduler_config | {"prediction_type": prediction_type}
    scheduler = make_scheduler(ask(), config)
    generator = torch.Generator().manual_seed(1)
    latents, negative, positive = torch.randn(3, 2, 4, 8, 8, generator=generator)
    return guide(settings, negative, positive, scheduler, scheduler.timesteps[0], 14 * latents), negative, positive


def test_plain_guidance_is_that_of_diffusers_to_the_bit() -> None:
    guided, negative, positive = guide_once(GuidanceSettings(7.5))
    assert torch.equal(guided, ClassifierFreeGuidance(7.5).forward(positive, negative).pred)


def test_every_kind_is_off_by_default() -> None:
    off = {"guidance_rescale": 0, "dynamic_thresholding_ratio": 1, "guidance_start": 0, "guidance_end": 1}
    plain = draw()
    assert torch.equal(plain, draw(**off))
    for name, value in {
        "guidance_rescale": 0.7,
        "guidance_start": 0.3,
        "guidance_end": 0.5,
    }.items():
        assert not torch.equal(plain, draw(**{name: value})), name
    assert not torch.equal(draw(guidance_scale=25), draw(guidance_scale=25, dynamic_thresholding_ratio=0.9))


def test_rescaled_guidance_has_the_spread_of_the_positive_prediction() -> None:
    guided, negative, positive = guide_once(GuidanceSettings(12.0, rescale=1.0))
    plain = negative + 12 * (positive - negative)
    spread = positive.std(dim=(1, 2, 3))
    assert torch.allclose(guided.std(dim=(1, 2, 3)), spread, rtol=1e-4)
    assert (plain.std(dim=(1, 2, 3)) > 5 * spread).all()


def test_rescaling_is_the_pipelines_own_to_the_bit() -> None:
    guided, negative, positive = guide_once(GuidanceSettings(12.0, rescale=0.7))
    plain = negative + 12.0 * (positive - negative)
    assert torch.equal(guided, rescale_noise_cfg(plain, positive, guidance_rescale=0.7))


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.2, 0.6), (0.29, 0.7), (0.5, 1.0), (0.0, 0.05)])
def test_the_interval_is_the_guiders_own(start: float, end: float) -> None:
    settings, guider = GuidanceSettings(5.0, start=start, end=end), ClassifierFreeGuidance(5.0, start=start, stop=end)
    for total in (1, 7, 10, 100):
        for index in range(total):
            guider.set_state(index, total, torch.tensor(0))
            assert is_guided(settings, index, total) == (guider.num_conditions == 2)


def test_a_scale_of_one_needs_no_second_pass() -> None:
    assert not is_guided(GuidanceSettings(1.0), 0, 10)


@pytest.mark.parametrize("values", [{}, {"denoising_end": 0.5}])
def test_steps_outside_the_interval_run_one_row_for_each_picture(values: dict[str, Any]) -> None:
    run = prepare_run(
        ask(guidance_start=0.2, guidance_end=0.6, num_inference_steps=10, num_images_per_prompt=2, **values)
    )
    rows: list[int] = []
    unets = {id(segment.expert.unet): segment.expert.unet for segment in run.segments}
    hooks = [
        unet.register_forward_pre_hook(lambda _unet, inputs: rows.append(len(inputs[0]))) for unet in unets.values()
    ]
    try:
        walk(run)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(unets) == len(run.segments)
    assert rows == [2, 2, 4, 4, 4, 4, 2, 2, 2, 2]


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m"])
def test_thresholding_lowers_the_extremes_of_strong_guidance(scheduler: str) -> None:
    def reach(**values: Any) -> float:
        latents = draw(scheduler=scheduler, width=128, height=128, **values)
        return float(latents.abs().flatten(1).quantile(0.995, dim=1).mean())

    mild, strong = reach(guidance_scale=5), reach(guidance_scale=25)
    thresholded = reach(guidance_scale=25, dynamic_thresholding_ratio=0.995)
    assert strong > 1.5 * mild
    assert abs(thresholded - mild) < 0.5 * (strong - mild)


def test_thresholding_keeps_what_reaches_no_farther_than_the_unguided_prediction() -> None:
    picture = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(threshold(picture, picture, 0.995), picture)


def test_thresholding_clamps_each_picture_at_its_percentile_and_scales_it_to_the_unguided_reach() -> None:
    unguided = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    guided = unguided * torch.tensor([10.0, 0.5])[:, None, None, None]
    thresholded = threshold(guided, unguided, 0.9)
    limit = unguided[0].abs().max()
    assert thresholded[0].abs().max() == pytest.approx(limit.item(), abs=1e-5)
    assert (thresholded[0].abs() >= limit - 1e-5).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(thresholded[1], guided[1])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_thresholded_prediction_implies_the_thresholded_picture(prediction_type: str) -> None:
    level = (0.6, 0.8)
    scaled, prediction, change = torch.randn(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    changed = to_picture(prediction + from_picture(change, level, prediction_type), scaled, level, prediction_type)
    assert torch.allclose(changed, to_picture(prediction, scaled, level, prediction_type) + change, atol=1e-5)


def test_thresholding_keeps_the_precision_of_the_prediction() -> None:
    scheduler = make_scheduler(ask(), load_demo_experts()["base"].scheduler_config)
    latents, negative, positive = torch.randn(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    settings = GuidanceSettings(25.0, thresholding_ratio=0.9)
    guided = guide(settings, negative, positive, scheduler, scheduler.timesteps[0], latents)
    assert guided.dtype == torch.bfloat16
    assert isinstance(noise_level(scheduler, scheduler.timesteps[0])[0], float)
