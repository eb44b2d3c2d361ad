"""The state of one request under way: prepared once, advanced one step at a time, decoded once.

A step is the unit of work, so that runs can take turns, stop at once and be watched. The arithmetic is
that of diffusers' SDXL pipelines, to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioning
from pipelines.diffusion.guidance import guide, is_guided, to_picture
from pipelines.diffusion.schedulers import noise_level, step_options
from pipelines.schema.errors import NumericalError


@dataclass(frozen=True)
class Segment:
    """The part of a run that one expert draws."""

    expert: Expert
    scheduler: Any
    timesteps: torch.Tensor
    conditioning: Conditioning
    extra_channels: torch.Tensor | None = None
    """(pictures, channels, h/8, w/8): what its UNet sees beside the noisy latents, unscaled."""


@dataclass(frozen=True)
class KeptArea:
    """What an inpainting run holds on to where the mask is black.

    `latents` and `noise`: (pictures, 4, h/8, w/8); `mask`: (1, 1, h/8, w/8), 1 where the picture is redrawn.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor

    def hand_over(self, latents: torch.Tensor, generators: list[torch.Generator]) -> "KeptArea":
        """For the next expert: the area as the last one left it, without noise, and new noise for it."""
        noise = randn_tensor(latents.shape, generators, device=latents.device, dtype=latents.dtype)
        return KeptArea(latents, noise, self.mask)

    def restore(self, latents: torch.Tensor, scheduler: Any, next_timestep: torch.Tensor | None) -> torch.Tensor:
        """`latents` with the kept area put back, noised as far as the next step expects it."""
        kept = self.latents
        if next_timestep is not None:
            kept = scheduler.add_noise(kept, self.noise, next_timestep.reshape(1))
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
    predicted: Callable[[], torch.Tensor] | None = field(default=None, repr=False)
    """Computes the picture that the last step was heading for, as scaled latents; for previews."""

    @property
    def total(self) -> int:
        """Steps of all segments together."""
        return sum(len(segment.timesteps) for segment in self.segments)

    @property
    def is_done(self) -> bool:
        """Whether the last step has been taken."""
        return self.index >= self.total

    @property
    def steps(self) -> dict[str, int]:
        """Steps by expert, for example `{"base": 16, "refiner": 4}`."""
        return {segment.expert.name: len(segment.timesteps) for segment in self.segments}

    def locate(self) -> tuple[Segment, int]:
        """The segment of the next step, and the step's place in it."""
        position = self.index
        for segment in self.segments:
            if position < len(segment.timesteps):
                return segment, position
            position -= len(segment.timesteps)
        raise IndexError(f"the run has {self.total} steps, all of them done")

    def advance(self) -> str:
        """Takes one step and returns the name of the expert that took it."""
        segment, position = self.locate()
        if self.kept is not None and self.index > 0 and position == 0:
            self.kept = self.kept.hand_over(self.latents, self.generators)
        timestep = segment.timesteps[position]
        guided = is_guided(segment.conditioning.guidance, self.index, self.total)
        noise_pred = predict_noise(segment, self.latents, timestep, guided, self.index + 1)
        before, scheduler = self.latents, segment.scheduler
        level = noise_level(scheduler, timestep, before)
        self.predicted = lambda: predict_picture(scheduler, noise_pred, level, before)
        options = step_options(scheduler, self.generators)
        self.latents = scheduler.step(noise_pred, timestep, before, **options, return_dict=False)[0]
        if self.kept is not None:
            following = segment.timesteps[position + 1] if position + 1 < len(segment.timesteps) else None
            self.latents = self.kept.restore(self.latents, scheduler, following)
        self.index += 1
        return segment.expert.name

    def finish(self) -> torch.Tensor:
        """The scaled latents of the finished pictures; raises `NumericalError` when a step lost them."""
        self.predicted = None
        if not self.latents.isfinite().all():
            raise NumericalError(
                "the denoising ended in NaN or infinity; another scheduler or less guidance may help", "latents"
            )
        return self.latents


def predict_noise(
    segment: Segment, latents: torch.Tensor, timestep: torch.Tensor, guided: bool, step: int
) -> torch.Tensor:
    """One UNet call, with classifier-free guidance (arXiv:2207.12598) as two rows per picture where it is on.

    `step`, from 1, is counted over all segments: it says what prompts that change on the way say now.
    """
    copies = 2 if guided else 1
    rows = segment.scheduler.scale_model_input(torch.cat([latents] * copies) if guided else latents, timestep)
    if segment.extra_channels is not None:
        rows = torch.cat([rows, torch.cat([segment.extra_channels] * copies)], dim=1)
    conditioning = segment.conditioning
    noise_pred = segment.expert.unet(rows, timestep, **conditioning.last(len(rows), step), return_dict=False)[0]
    if not guided:
        return noise_pred
    negative, positive = noise_pred.chunk(2)
    return guide(conditioning.guidance, negative, positive, segment.scheduler, timestep, latents)


def predict_picture(
    scheduler: Any, noise_pred: torch.Tensor, level: tuple[torch.Tensor, torch.Tensor], latents: torch.Tensor
) -> torch.Tensor:
    """The clean latents that a step's prediction implies; `level`: that of the step, from `noise_level`."""
    alpha, sigma = (part.to(latents.dtype) for part in level)
    scaled = latents * alpha if scheduler.init_noise_sigma != 1 else latents  # as `scale_model_input` does
    return to_picture(noise_pred, scaled, (alpha, sigma), scheduler.config.prediction_type)
