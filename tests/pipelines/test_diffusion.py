"""Schedulers, their cuts, and previews."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioner
from pipelines.diffusion.latents import encode_picture, make_generators
from pipelines.diffusion.previews import LatentPreview
from pipelines.diffusion.schedulers import SCHEDULERS, begin_with_strength, make_scheduler, split_timesteps
from pipelines.manager import PipelineManager
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.schedulers import SCHEDULER_NAMES, SCHEDULER_TITLES
from pipelines.tasks import TASKS

CPU = torch.device("cpu")


def test_every_scheduler_name_has_a_class_and_a_title() -> None:
    assert set(SCHEDULERS) == set(SCHEDULER_NAMES) == set(SCHEDULER_TITLES)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_run_never_shares_its_scheduler(base: Expert, name: str) -> None:
    one, two = (make_scheduler(name, base.scheduler_config, 5, CPU) for _ in range(2))
    assert one is not two
    begin_with_strength(one, 0.5)
    assert len(two.timesteps) == 5


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_two_experts_take_every_timestep_once(base: Expert, name: str, share: float) -> None:
    scheduler = make_scheduler(name, base.scheduler_config, 20, CPU)
    first, second = split_timesteps(scheduler, share)
    assert torch.equal(torch.cat([first, second]), scheduler.timesteps)
    assert (first >= round((1 - share) * 1000)).all()
    assert (second < round((1 - share) * 1000)).all()
    assert len(second) > 0


def test_the_whole_schedule_leaves_nothing_to_the_refiner(base: Expert) -> None:
    first, second = split_timesteps(make_scheduler("euler", base.scheduler_config, 20, CPU), 1.0)
    assert (len(first), len(second)) == (20, 0)


@torch.inference_mode()
def test_a_preview_shows_the_colours_of_the_picture(manager: PipelineManager, base: Expert, picture: Path) -> None:
    assert manager.model.latent_rgb is not None
    preview = LatentPreview.from_file(Path(manager.model.latent_rgb))
    image = Image.open(picture)
    drawn = preview.draw(encode_picture(base, image, make_generators((0,)))[0])
    small = np.asarray(image.resize((32, 32), Image.Resampling.BOX), float)
    assert drawn.shape == (32, 32, 3)
    assert np.abs(drawn - small).mean() < 16


@torch.inference_mode()
@pytest.mark.parametrize("scheduler", ["euler", "ddim", "dpmpp_2m"])
def test_what_a_run_is_heading_for_looks_like_what_it_becomes(manager: PipelineManager, scheduler: str) -> None:
    request = TextToImageRequest(
        prompt="a fox on a blue background", seed=3, width=256, height=256, num_inference_steps=10, scheduler=scheduler
    )
    conditioner = Conditioner(manager.components)
    run = TASKS["text_to_image"].prepare(
        request, None, lambda name: conditioner.condition(request, name, lambda what, fraction: None)
    )
    noisy = run.latents
    while run.index < 8:
        run.advance()
    assert run.predicted is not None
    heading_for = run.predicted()
    while not run.is_done:
        run.advance()
    assert (heading_for - run.latents).abs().mean() < 0.25 * (noisy - run.latents).abs().mean()
