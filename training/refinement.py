"""What the refiner adds: base alone against base and refiner switched at 0.8, at the same number of steps."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from numpy.typing import NDArray

from training.autoencoder import encode, scaling_factor, to_tensor
from training.bench import Bench, Figures, Measured
from training.exams import held_out_prompts, plain_prompt
from training.intervals import estimate
from training.layouts import NATIVE, canonical_single
from training.measures import sharpness
from training.pictures import Pixels
from training.repainting import before_and_after
from training.sampling import call_in_lanes, make_scheduler, sibling, to_pixels

SWITCH = 0.8
LAST_STEPS: dict[str, Any] = {"denoising_start": SWITCH}


def measure_refiner(bench: Bench) -> Measured:
    """Sharpness of pictures drawn from noise, and closeness to clean pictures that were noised to the switch.

    Sharpness is given over that of the clean picture of the same prompt; guidance alone takes it above one, and noise
    would, too. So closeness is measured beside it: the PSNR against the clean picture as the autoencoder gives it back,
    which no UNet can better.
    """
    pairs = held_out_prompts(bench.config, bench.count, plain=True, seed=7)
    prompts = [plain_prompt(*pair) for pair in pairs]
    layouts = [canonical_single(*pair) for pair in pairs]
    clean, target = bench.composed(layouts), bench.perfect("refiner-clean", layouts)
    alone, refined = bench.draw("refiner-alone", prompts), _switched(bench, prompts)
    noised = _noised(bench, clean)
    finishers = {"base": sibling(bench.base, StableDiffusionXLImg2ImgPipeline), "refiner": bench.refiner}
    finished = {
        name: bench.call(
            f"finished-by-{name}", pipeline, _rest(prompts, noised), bench.seeds(len(prompts)), **LAST_STEPS
        )
        for name, pipeline in finishers.items()
    }
    sharp = {name: _sharpness(p) / _sharpness(target) for name, p in (("base", alone), ("refiner", refined))}
    close = {name: _psnr(pictures, target) for name, pictures in finished.items()}
    kept = {name: _sharpness(pictures) / _sharpness(target) for name, pictures in finished.items()}
    figures: Figures = {
        **estimate("sharpness_share_base", sharp["base"].tolist(), 3),
        **estimate("sharpness_share_refiner", sharp["refiner"].tolist(), 3),
        **estimate("sharper_with_refiner_percent", (sharp["refiner"] > sharp["base"]).tolist(), scale=100),
        **estimate("sharpness_finished_by_base", kept["base"].tolist(), 3),
        **estimate("sharpness_finished_by_refiner", kept["refiner"].tolist(), 3),
        **estimate("psnr_finished_by_base", close["base"].tolist(), 2),
        **estimate("psnr_finished_by_refiner", close["refiner"].tolist(), 2),
        **estimate("psnr_gain_of_refiner", (close["refiner"] - close["base"]).tolist(), 2),
        **estimate(
            "psnr_gain_of_refiner_to_clean",
            (_psnr(finished["refiner"], clean) - _psnr(finished["base"], clean)).tolist(),
            2,
        ),
    }
    return Measured(figures, {"refined": before_and_after(alone, refined, prompts, first="base alone")})


def _switched(bench: Bench, prompts: list[str]) -> Pixels:
    """Draw with the base up to the switch and with the refiner from there."""
    seeds = bench.seeds(len(prompts))

    def make() -> Pixels:
        first = {"denoising_end": SWITCH, "output_type": "latent", "width": NATIVE[0], "height": NATIVE[1]}
        batches = call_in_lanes(bench.base, bench.lanes, {"prompt": prompts}, seeds, **bench.common, **first)
        rows = _rest(prompts, torch.cat(batches))
        finished = call_in_lanes(bench.refiner, bench.lanes, rows, seeds, **bench.common, **LAST_STEPS)
        return np.concatenate([to_pixels(batch) for batch in finished])

    asked = (prompts, list(seeds), bench.common, SWITCH, bench.refiner_weights)
    return bench.keep("refiner-switched", asked, make)


def _rest(prompts: list[str], latents: torch.Tensor) -> dict[str, Any]:
    return {"prompt": prompts, "image": latents}


@torch.no_grad()
def _noised(bench: Bench, pictures: Pixels) -> torch.Tensor:
    """Encode pictures and add the noise that is left at the switch: what the base hands to the refiner."""
    vae = cast(Any, bench.base.vae)
    batches = to_tensor(pictures).to(vae.device).split(4)
    latents = torch.cat([encode(vae, batch) for batch in batches]) * scaling_factor(vae)
    scheduler: Any = make_scheduler()
    scheduler.set_timesteps(bench.config.evaluate.num_inference_steps)
    last = scheduler.config.num_train_timesteps * (1 - SWITCH)
    index = int((scheduler.timesteps >= last).sum())
    noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(bench.config.evaluate.seed))
    return latents + noise.to(latents.device) * scheduler.sigmas[index]


def _sharpness(pictures: Pixels) -> NDArray[np.float64]:
    return np.array([sharpness(picture) for picture in pictures], np.float64)


def _psnr(pictures: Pixels, target: Pixels) -> NDArray[np.float64]:
    """PSNR of each picture in dB."""
    errors = np.square((pictures.astype(np.float64) - target) / 255).mean((1, 2, 3))
    return -10 * np.log10(errors)
