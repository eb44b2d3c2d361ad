"""How two predictions of a step, with the prompt and without, become one; and which steps need both.

Shares of the steps are those of the whole run, over both experts.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import rescale_noise_cfg

from pipelines.diffusion.schedulers import noise_level
from pipelines.schema.requests import GenerationRequest


@dataclass(frozen=True)
class GuidanceSettings:
    """One run's guidance; as it stands, plain classifier-free guidance (arXiv:2207.12598) in every step.

    `rescale`: arXiv:2305.08891, section 3.4; `thresholding_ratio`: Imagen, arXiv:2205.11487, section 2.3;
    `start` and `end`: shares of the run's steps, arXiv:2404.07724.
    """

    scale: float
    rescale: float = 0.0
    thresholding_ratio: float = 1.0
    start: float = 0.0
    end: float = 1.0


def make_guidance(request: GenerationRequest) -> GuidanceSettings:
    """The guidance that a request asks for."""
    return GuidanceSettings(
        scale=request.guidance_scale,
        rescale=request.guidance_rescale,
        thresholding_ratio=request.dynamic_thresholding_ratio,
        start=request.guidance_start,
        end=request.guidance_end,
    )


def is_guided(settings: GuidanceSettings, index: int, total: int) -> bool:
    """Whether step `index`, from 0, of the run's `total` needs the negative prediction too."""
    first, end = int(settings.start * total), int(settings.end * total)  # as diffusers' guider rounds them
    return settings.scale > 1 and first <= index < end


def guide(
    settings: GuidanceSettings,
    negative: torch.Tensor,
    positive: torch.Tensor,
    scheduler: Any,
    timestep: torch.Tensor,
    latents: torch.Tensor,
) -> torch.Tensor:
    """The guided prediction of a step, from the UNet's two: all (pictures, 4, h/8, w/8).

    `latents` are those of the step as the scheduler has them, before `scheduler.step`.
    """
    guided = negative + settings.scale * (positive - negative)
    if settings.rescale > 0:
        guided = rescale_noise_cfg(guided, positive, settings.rescale)
    if settings.thresholding_ratio == 1:
        return guided
    scaled = scheduler.scale_model_input(latents, timestep).float()
    kind, level = scheduler.config.prediction_type, noise_level(scheduler, timestep)
    picture = to_picture(guided.float(), scaled, level, kind)
    unguided = to_picture(positive.float(), scaled, level, kind)
    change = threshold(picture, unguided, settings.thresholding_ratio) - picture
    return (guided.float() + from_picture(change, level, kind)).to(guided.dtype)


def threshold(picture: torch.Tensor, unguided: torch.Tensor, ratio: float) -> torch.Tensor:
    """Imagen's dynamic thresholding (arXiv:2205.11487, section 2.3) of clean latents, float32, each picture alone.

    There s is a percentile of the absolute pixels; where it exceeds 1, the most a pixel can be, pixels are
    clamped to s and divided by it. Latents know no such bound: the largest of the unguided prediction stands for 1.
    """
    limit = unguided.abs().flatten(1).amax(dim=1)[:, None, None, None]
    percentile = picture.abs().flatten(1).quantile(ratio, dim=1)[:, None, None, None]
    return torch.where(percentile > limit, picture.clamp(-percentile, percentile) * (limit / percentile), picture)


def to_picture(prediction: torch.Tensor, scaled: torch.Tensor, level: tuple[float, float], kind: str) -> torch.Tensor:
    """The clean latents that a prediction implies (DDIM, arXiv:2010.02502, equation 9).

    `scaled`: latents as `scale_model_input` gives them; `level`: alpha and sigma from `noise_level`; `kind`: the
    scheduler's `prediction_type`, epsilon, v_prediction (arXiv:2202.00512, section 4) or sample.
    """
    alpha, sigma = level
    if kind == "sample":
        return prediction
    if kind == "v_prediction":
        return alpha * scaled - sigma * prediction
    return (scaled - sigma * prediction) / alpha


def from_picture(change: torch.Tensor, level: tuple[float, float], kind: str) -> torch.Tensor:
    """How a prediction must change for `to_picture` to change by `change`."""
    alpha, sigma = level
    if kind == "sample":
        return change
    return -change / sigma if kind == "v_prediction" else -change * alpha / sigma
