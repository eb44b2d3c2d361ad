"""The state of one request under way: prepared once, advanced one step at a time, decoded once.

A step is the unit of work, so that runs can take turns, stop at once and be watched. The arithmetic is
that of diffusers' SDXL pipelines, to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioning
from pipelines.diffusion.schedulers import step_options
from pipelines.schema.errors import NumericalError


@dataclass(frozen=True)
class Segment:
    """The part of a run that one expert draws."""

    expert: Expert
    scheduler: Any
    timesteps: torch.Tensor
    conditioning: Conditioning


@dataclass(frozen=True)
class KeptArea:
    """What an inpainting run holds on to where the mask is black.

    `latents` and `noise`: (pictures, 4, h/8, w/8); `mask`: (1, 1, h/8, w/8), 1 where the picture is redrawn.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor

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
        timestep = segment.timesteps[position]
        noise_pred = predict_noise(segment, self.latents, timestep)
        before, scheduler = self.latents, segment.scheduler
        self.predicted = lambda: predict_picture(scheduler, noise_pred, timestep, before)
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
            raise NumericalError("the denoising ended in NaN; try another scheduler or --dtype float32")
        return self.latents


def predict_noise(segment: Segment, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """One UNet call, with classifier-free guidance (arXiv:2207.12598) as two rows per picture where it is on."""
    conditioning = segment.conditioning
    rows = torch.cat([latents] * 2) if conditioning.has_guidance else latents
    noise_pred = segment.expert.unet(
        segment.scheduler.scale_model_input(rows, timestep),
        timestep,
        encoder_hidden_states=conditioning.prompt_embeds,
        added_cond_kwargs={"text_embeds": conditioning.text_embeds, "time_ids": conditioning.time_ids},
        return_dict=False,
    )[0]
    if not conditioning.has_guidance:
        return noise_pred
    negative, positive = noise_pred.chunk(2)
    return negative + conditioning.guidance_scale * (positive - negative)


def predict_picture(
    scheduler: Any, noise_pred: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor
) -> torch.Tensor:
    """The clean latents that a noise prediction implies (DDIM, arXiv:2010.02502, equation 9)."""
    alpha = scheduler.alphas_cumprod[int(timestep)].to(latents)
    if scheduler.init_noise_sigma != 1:  # Euler's family keeps latents unscaled: x = x0 + sigma * noise
        return latents - ((1 - alpha) / alpha).sqrt() * noise_pred
    return (latents - (1 - alpha).sqrt() * noise_pred) / alpha.sqrt()
