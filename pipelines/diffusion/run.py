"""The state of one request under way: prepared once, advanced one step at a time, decoded once.

A step is the unit of work, so that runs can take turns, stop at once and be watched. The arithmetic is
that of diffusers' SDXL pipelines, to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioning
from pipelines.diffusion.guidance import guide, is_guided, to_picture
from pipelines.diffusion.schedulers import noise_level, noise_levels, scales_input, step_options
from pipelines.diffusion.steps.call import Call, DeepCache, predict
from pipelines.schema.errors import NumericalError


@dataclass(frozen=True)
class Segment:
    """The part of a run that one expert draws."""

    expert: Expert
    scheduler: Any
    timesteps: torch.Tensor
    """Where the scheduler computes: on the host, so that no step waits for the device."""
    conditioning: Conditioning
    extra_channels: torch.Tensor | None = None
    """(pictures, channels, h/8, w/8): what its UNet sees beside the noisy latents, unscaled."""

    deep_cache: DeepCache | None = None

    @cached_property
    def steps(self) -> int:
        """How many the expert takes."""
        return len(self.timesteps)

    @cached_property
    def each_timestep(self) -> tuple[torch.Tensor, ...]:
        """The timesteps one by one."""
        return self.timesteps.unbind()

    @cached_property
    def device_timesteps(self) -> tuple[torch.Tensor, ...]:
        """The same where the UNet computes, sent there once."""
        return self.timesteps.to(self.expert.device).unbind()

    def forget(self) -> None:
        """Lets go of what was kept from step to step."""
        self.conditioning.forget()
        if self.deep_cache is not None:
            self.deep_cache.forget()


@dataclass(frozen=True)
class KeptArea:
    """What an inpainting run holds on to where the mask is black.

    `latents` and `noise`: (pictures, 4, h/8, w/8); `mask`: (1, 1, h/8, w/8), 1 where the picture is redrawn.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor
    levels: Sequence[tuple[float, float]]
    """What of both is in it at each step of the segment, from `noise_levels`."""

    def hand_over(self, latents: torch.Tensor, generators: list[torch.Generator], segment: Segment) -> "KeptArea":
        """For the next expert: the area as the last one left it, without noise, and new noise for it."""
        noise = randn_tensor(latents.shape, generators, device=latents.device, dtype=latents.dtype)
        levels = noise_levels(segment.scheduler, segment.timesteps, latents.dtype)
        return KeptArea(latents, noise, self.mask, levels)

    def restore(self, latents: torch.Tensor, step: int | None) -> torch.Tensor:
        """`latents` with the kept area put back, noised as far as the segment's `step`, from 0, expects it."""
        kept = self.latents
        if step is not None:
            alpha, sigma = self.levels[step]
            kept = alpha * kept + sigma * self.noise
        return (1 - self.mask) * kept + self.mask * latents


@dataclass
class Run:
    """One request's latents on their way through its segments; nothing in it is shared with other runs."""

    segments: list[Segment]
    latents: torch.Tensor
    """(pictures, 4, h/8, w/8), scaled as the current segment's scheduler has them."""
    generators: list[torch.Generator]
    kept: KeptArea | None = None
    index: int = 0
    """Steps done, over all segments."""
    predicted: torch.Tensor | None = field(default=None, repr=False)
    """The first picture that the last step was heading for, (1, 4, h/8, w/8), scaled, where that was wanted."""

    @cached_property
    def total(self) -> int:
        """Steps of all segments together."""
        return sum(segment.steps for segment in self.segments)

    @property
    def is_done(self) -> bool:
        """Whether the last step has been taken."""
        return self.index >= self.total

    @property
    def steps(self) -> dict[str, int]:
        """Steps by expert, for example `{"base": 16, "refiner": 4}`."""
        return {segment.expert.name: segment.steps for segment in self.segments}

    def locate(self) -> tuple[Segment, int]:
        """The segment of the next step, and the step's place in it."""
        position = self.index
        for segment in self.segments:
            if position < segment.steps:
                return segment, position
            position -= segment.steps
        raise IndexError(f"the run has {self.total} steps, all of them done")

    def ask(self) -> Call:
        """What the next step asks of its UNet; asked again it is the same, and the run with it."""
        segment, position = self.locate()
        conditioning = segment.conditioning
        guided = is_guided(conditioning.guidance, self.index, self.total)
        sample = segment.scheduler.scale_model_input(self.latents, segment.each_timestep[position])
        sample = torch.cat([sample] * 2) if guided else sample
        if segment.extra_channels is not None:
            sample = torch.cat([sample, torch.cat([segment.extra_channels] * (2 if guided else 1))], dim=1)
        share = conditioning.share(guided, self.index + 1)
        cache = segment.deep_cache
        is_shallow = cache is not None and cache.serves(position, share)
        return Call(segment.expert.unet, sample, segment.device_timesteps[position], share, cache, is_shallow)

    def take(self, noise_pred: torch.Tensor, wants_picture: bool = False) -> str:
        """Takes the step that the UNet has predicted, (rows, 4, h/8, w/8), and returns the name of its expert.

        `wants_picture`: whether `predicted` is to say where it was heading.
        """
        segment, position = self.locate()
        timestep, before, scheduler = segment.each_timestep[position], self.latents, segment.scheduler
        if len(noise_pred) > len(before):
            negative, positive = noise_pred.chunk(2)
            noise_pred = guide(segment.conditioning.guidance, negative, positive, scheduler, timestep, before)
        self.predicted = None
        if wants_picture:
            self.predicted = predict_picture(scheduler, noise_pred[:1], noise_level(scheduler, timestep), before[:1])
        options = step_options(scheduler, self.generators)
        self.latents = scheduler.step(noise_pred, timestep, before, **options, return_dict=False)[0]
        is_last = position + 1 == segment.steps
        if self.kept is not None:
            self.latents = self.kept.restore(self.latents, None if is_last else position + 1)
        self.index += 1
        if is_last:
            segment.forget()
            if self.kept is not None and not self.is_done:
                self.kept = self.kept.hand_over(self.latents, self.generators, self.locate()[0])
        return segment.expert.name

    def advance(self) -> str:
        """Takes one step alone and returns the name of the expert that took it."""
        return self.take(predict([self.ask()])[0])

    def forget_made(self) -> None:
        """Lets go of what can be made again to the bit, where the memory is needed more."""
        for segment in self.segments:
            segment.conditioning.forget_made()

    def finish(self) -> torch.Tensor:
        """The scaled latents of the finished pictures; raises `NumericalError` when a step lost them."""
        self.predicted = None
        if not self.latents.isfinite().all():
            raise NumericalError(
                "the denoising ended in NaN or infinity; another scheduler or less guidance may help", "latents"
            )
        return self.latents


def predict_picture(
    scheduler: Any, noise_pred: torch.Tensor, level: tuple[float, float], latents: torch.Tensor
) -> torch.Tensor:
    """The clean latents that a step's prediction implies; `level`: that of the step, from `noise_level`."""
    scaled = latents * level[0] if scales_input(type(scheduler)) else latents  # as `scale_model_input` does
    return to_picture(noise_pred, scaled, level, scheduler.config.prediction_type)
