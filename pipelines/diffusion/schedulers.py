"""A fresh scheduler for every run, because schedulers hold state; and where on its path a run begins or ends."""

import inspect
from functools import cache
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from pipelines.schema.schedulers import SchedulerName

SCHEDULERS: dict[SchedulerName, tuple[Any, dict[str, Any]]] = {
    "euler": (EulerDiscreteScheduler, {"use_karras_sigmas": False}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),  # its defaults are for pixels
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"use_karras_sigmas": False, "algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True, "algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_sde": (DPMSolverMultistepScheduler, {"use_karras_sigmas": False, "algorithm_type": "sde-dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {"use_karras_sigmas": False}),
}
"""diffusers' class for each name, and what it sets over the model's own scheduler configuration.

Whatever a name promises is set here, so that a checkpoint's configuration cannot make it something else.
"""


def make_scheduler(name: SchedulerName, config: dict[str, Any], steps: int, device: torch.device) -> Any:
    """A scheduler of its own for one run, set to `steps` timesteps on `device`."""
    scheduler_class, overrides = SCHEDULERS[name]
    scheduler = scheduler_class.from_config(config, **overrides)
    scheduler.set_timesteps(steps, device=device)
    return scheduler


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


def split_timesteps(scheduler: Any, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The timesteps before and after `share` of the noise schedule: the base's and the refiner's.

    The cut is one in the 1000 training timesteps, as diffusers' `denoising_end` and `denoising_start` place
    it, not in the number of steps: with `share` 0.8 the second part holds the timesteps below 200.
    """
    trained = scheduler.config.num_train_timesteps
    cutoff = round(trained - share * trained)
    timesteps = scheduler.timesteps
    first = int((timesteps >= cutoff).sum())
    return timesteps[:first], timesteps[first:]


def step_options(scheduler: Any, generators: list[torch.Generator]) -> dict[str, Any]:
    """What this scheduler's `step` takes besides prediction, timestep and sample."""
    return {"generator": generators} if _takes_generator(type(scheduler)) else {}


@cache
def _takes_generator(scheduler_class: type) -> bool:
    return "generator" in inspect.signature(scheduler_class.step).parameters
