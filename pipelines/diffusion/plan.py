"""Which expert takes which timesteps, known from a request and the schedulers' configurations alone.

The cuts are those of diffusers' SDXL pipelines: `denoising_end` and `denoising_start` are shares of the
trained timesteps, not of the steps. With 0.8 the refiner takes the timesteps below 200.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pipelines.diffusion.schedulers import begin_at, begin_with_strength, make_scheduler
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import GenerationRequest, RefineRequest


@dataclass(frozen=True)
class Path:
    """A scheduler of one run's own, and the timesteps that one expert takes with it."""

    scheduler: Any
    timesteps: torch.Tensor


def make_first_path(request: GenerationRequest, config: dict[str, Any]) -> Path:
    """The path of the expert that begins: from `strength` on, up to `denoising_end`.

    Raises `InvalidRequest` when no step lies between the two.
    """
    scheduler = make_scheduler(request, config)
    timesteps = begin_with_strength(scheduler, getattr(request, "strength", 1.0))
    share = share_of_base(request)
    if share < 1:
        timesteps = timesteps[: int((timesteps >= _cutoff(scheduler, share)).sum())]
        if len(timesteps) == 0:
            raise InvalidRequest("denoising_end", "must leave the base at least one step", share)
    return Path(scheduler, timesteps)


def make_second_path(request: GenerationRequest, config: dict[str, Any]) -> Path:
    """The refiner's path from `denoising_end` on; raises `InvalidRequest` when no step is left for it.

    Schedulers of order 2 take two UNet calls a step. As in diffusers, the refiner begins with a whole step,
    which repeats a call that the base has made where the cut falls between the two.
    """
    scheduler = make_scheduler(request, config)
    share = share_of_base(request)
    count = int((scheduler.timesteps < _cutoff(scheduler, share)).sum())
    if count == 0:
        raise InvalidRequest("denoising_end", "must leave the refiner at least one step", share)
    if scheduler.order == 2 and count % 2 == 0:
        count += 1
    return Path(scheduler, begin_at(scheduler, len(scheduler.timesteps) - count))


def plan_steps(request: GenerationRequest, configs: Mapping[str, dict[str, Any]]) -> dict[str, int]:
    """UNet calls that each expert will make, as `Run.steps` counts them: `{"base": 24, "refiner": 6}`.

    `configs`: the experts' scheduler configurations by name. Raises `InvalidRequest` as the run would; loads
    nothing and takes milliseconds.
    """
    first = "refiner" if isinstance(request, RefineRequest) else "base"
    steps = {first: len(make_first_path(request, configs[first]).timesteps)}
    if share_of_base(request) < 1:
        steps["refiner"] = len(make_second_path(request, configs["refiner"]).timesteps)
    return steps


def share_of_base(request: GenerationRequest) -> float:
    """`denoising_end`, 1 for a request that knows one expert only."""
    return getattr(request, "denoising_end", 1.0)


def _cutoff(scheduler: Any, share: float) -> int:
    """The trained timestep below which the refiner draws."""
    trained = scheduler.config.num_train_timesteps
    return round(trained - share * trained)
