"""A fresh scheduler for every run, because schedulers hold state; and where on its path a run begins or ends."""

import inspect
import math
from copy import copy
from functools import cache
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import AysSchedules

from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import GenerationRequest
from pipelines.schema.schedulers import SCHEDULER_OPTIONS, SchedulerName

_SOLVER = {"solver_order": 2, "lower_order_final": True, "thresholding": False, "use_flow_sigmas": False}
_DPM_SOLVER = _SOLVER | {"solver_type": "midpoint", "final_sigmas_type": "zero"}
_MULTISTEP = _DPM_SOLVER | {"euler_at_final": False, "use_lu_lambdas": False}
_NO_CLIPPING = {"clip_sample": False, "thresholding": False}  # both are for pixels
_DISTILLED = _NO_CLIPPING | {"original_inference_steps": 50, "timestep_scaling": 10.0}

SCHEDULERS: dict[SchedulerName, tuple[Any, dict[str, Any]]] = {
    "euler": (
        EulerDiscreteScheduler,
        {"timestep_type": "discrete", "interpolation_type": "linear", "final_sigmas_type": "zero"},
    ),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {"clip_sample": False}),
    "ddim": (DDIMScheduler, _NO_CLIPPING | {"set_alpha_to_one": False}),
    "pndm": (PNDMScheduler, {"skip_prk_steps": True, "set_alpha_to_one": False}),  # else 12 steps more: PLMS alone
    "lms": (LMSDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, _MULTISTEP | {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, _MULTISTEP | {"algorithm_type": "sde-dpmsolver++"}),
    # not DPMSolverSDEScheduler: its noise comes from one seed of its own, not from each picture's generator
    "dpmpp_sde": (DPMSolverSinglestepScheduler, _DPM_SOLVER | {"algorithm_type": "sde-dpmsolver++"}),
    "dpm2": (KDPM2DiscreteScheduler, {}),
    "dpm2_ancestral": (KDPM2AncestralDiscreteScheduler, {}),
    "deis": (DEISMultistepScheduler, _SOLVER | {"algorithm_type": "deis", "solver_type": "logrho"}),
    "unipc": (
        UniPCMultistepScheduler,
        _SOLVER | {"solver_type": "bh2", "predict_x0": True, "final_sigmas_type": "zero"},
    ),
    "lcm": (LCMScheduler, _DISTILLED),
    "tcd": (TCDScheduler, _DISTILLED),
}
"""diffusers' class for each name, and what it sets over the model's own scheduler configuration.

Whatever a name promises is set here, so that a checkpoint's configuration cannot make it something else.
"""


def make_scheduler(request: GenerationRequest, config: dict[str, Any]) -> Any:
    """A scheduler of its own for one run, as the request's sampling fields say, with its numbers on the host.

    Raises `InvalidRequest` for the few numbers of steps that diffusers' trailing spacing rounds to one step more.
    """
    scheduler = SCHEDULERS[request.scheduler][0].from_config(config, **make_overrides(request))
    if request.timesteps == "align_your_steps":
        timesteps = align_your_steps(scheduler.alphas_cumprod.numpy(), request.num_inference_steps)
        scheduler.set_timesteps(timesteps=timesteps)
    else:
        scheduler.set_timesteps(request.num_inference_steps)
    if (scheduler.timesteps < 0).any():
        rule = "must be one more or less: with trailing spacing this number would end before the first timestep"
        raise InvalidRequest("num_inference_steps", rule, request.num_inference_steps)
    begin_at(scheduler, 0)
    return scheduler


def make_overrides(request: GenerationRequest) -> dict[str, Any]:
    """What the request's scheduler, spacing and sigmas set over the model's own scheduler configuration."""
    overrides = dict(SCHEDULERS[request.scheduler][1])
    if request.timestep_spacing != "default":
        overrides["timestep_spacing"] = request.timestep_spacing
    if SCHEDULER_OPTIONS[request.scheduler].sigmas:
        overrides |= {f"use_{name}_sigmas": name == request.sigmas for name in ("karras", "exponential", "beta")}
    return overrides


def align_your_steps(alphas_cumprod: np.ndarray, steps: int) -> list[int]:
    """Timesteps that were found best for SDXL (Align Your Steps, arXiv:2404.14507), falling.

    The paper gives them for 10 steps; for other numbers its authors interpolate the logarithm of the noise
    between these and the end of the schedule, evenly.
    """
    log_sigmas = np.log((1 - alphas_cumprod) / alphas_cumprod) / 2
    known = log_sigmas[[*AysSchedules["StableDiffusionXLTimesteps"], 0]]
    wanted = np.interp(np.linspace(0, 1, steps + 1), np.linspace(0, 1, len(known)), known)
    return np.interp(wanted, log_sigmas, np.arange(len(log_sigmas))).round().astype(int)[:-1].tolist()


def begin_with_strength(scheduler: Any, strength: float) -> torch.Tensor:
    """The last `strength` share of the timesteps, to start from a noised picture.

    As diffusers' `StableDiffusionXLImg2ImgPipeline.get_timesteps`: int(steps * strength) of them.
    """
    steps = scheduler.num_inference_steps
    first = (steps - min(int(steps * strength), steps)) * scheduler.order
    return begin_at(scheduler, first)


def begin_at(scheduler: Any, first: int) -> torch.Tensor:
    """The timesteps from place `first` on, with a scheduler that knows it will start there."""
    if hasattr(scheduler, "set_begin_index"):  # DDIM looks each timestep up and has no place to remember
        scheduler.set_begin_index(first)
    return scheduler.timesteps[first:]


def add_noise(scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Latents noised as far as `timesteps`, one for each picture or one for all: as the scheduler does it.

    Some schedulers leave their own numbers on the latents' device, where every later step would wait for them.
    """
    on_host = getattr(scheduler, "alphas_cumprod", None)
    noised = scheduler.add_noise(latents, noise, timesteps)
    if on_host is not None:
        scheduler.alphas_cumprod = on_host
    return noised


def noise_levels(scheduler: Any, timesteps: torch.Tensor, dtype: torch.dtype) -> list[tuple[float, float]]:
    """What `add_noise` multiplies picture and noise with at each of a run's timesteps, in the latents' `dtype`.

    For latents that are noised in every step: so no table is sent to their device. Ask before the first `step`.
    """
    scheduler, first = copy(scheduler), getattr(scheduler, "begin_index", None) or 0
    picture, noise = torch.tensor([[1, 0], [0, 1]], dtype=dtype)
    levels: list[tuple[float, float]] = []
    for place, timestep in enumerate(timesteps, first):
        begin_at(scheduler, place)
        alpha, sigma = scheduler.add_noise(picture, noise, timestep.repeat(2)).tolist()
        levels.append((alpha, sigma))
    return levels


def noise_level(scheduler: Any, timestep: torch.Tensor) -> tuple[float, float]:
    """alpha and sigma of the step to come, alpha^2 + sigma^2 = 1.

    They are those of the latents as `scale_model_input` gives them: alpha * picture + sigma * noise, with every
    scheduler. Ask before `step`, which moves the scheduler on.
    """
    if scales_input(type(scheduler)):
        alpha = float(scheduler.scale_model_input(1.0, timestep))
        return alpha, math.sqrt(1 - alpha**2)
    if hasattr(scheduler, "sigmas"):
        sigma = float(scheduler.sigmas[scheduler.step_index or scheduler.begin_index or 0])
        return 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
    alpha_squared = float(scheduler.alphas_cumprod[int(timestep)])
    return math.sqrt(alpha_squared), math.sqrt(1 - alpha_squared)


@cache
def scales_input(scheduler_class: type) -> bool:
    """Whether it is of Euler's family: latents are picture + sigma * noise, and are scaled for the UNet."""
    return isinstance(getattr(scheduler_class, "init_noise_sigma", None), property)


def step_options(scheduler: Any, generators: list[torch.Generator]) -> dict[str, Any]:
    """What this scheduler's `step` takes besides prediction, timestep and sample."""
    return {"generator": generators} if _takes_generator(type(scheduler)) else {}


@cache
def _takes_generator(scheduler_class: type) -> bool:
    return "generator" in inspect.signature(scheduler_class.step).parameters
