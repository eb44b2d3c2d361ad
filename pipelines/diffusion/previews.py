"""What is told of a run under way: how far, how fast, and a cheap picture of where it is heading."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from diffusers import AutoencoderTiny

from pipelines.diffusion.run import Run
from pipelines.media.preview import encode_preview
from pipelines.schema.events import Step

PREVIEW_SECONDS = 0.2
"""At most five previews a second: more are not seen, and each costs about a millisecond."""
PREVIEW_SIDE = 512
"""Pixels that a preview's longer side has at most: it is sent to the browser again and again."""


class Preview(Protocol):
    """A cheap picture of latents."""

    def draw(self, latents: torch.Tensor) -> np.ndarray:
        """Colours (height, width, 3) uint8 of one picture's scaled latents (4, h, w)."""
        ...


class LatentPreview:
    """A linear map from scaled latents to colours: near enough to watch, and free beside a UNet step."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.weight = weight
        """(4, 3)"""
        self.bias = bias
        """(3,)"""

    @classmethod
    def from_file(cls, path: Path) -> "LatentPreview":
        """Reads `{"weight": 4x3, "bias": 3}` for colours from -1 to 1, as `training.fit_preview` writes it."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(torch.tensor(data["weight"]), torch.tensor(data["bias"]))

    def draw(self, latents: torch.Tensor) -> np.ndarray:
        """Colours of one picture's latents (4, h, w) as (h, w, 3) uint8, an eighth of the picture's size."""
        return _to_bytes(latents.float().cpu().permute(1, 2, 0) @ self.weight + self.bias)


class TinyPreview:
    """A small decoder trained beside the VAE (TAESD, github.com/madebyollin/taesd): nearly the picture itself."""

    def __init__(self, decoder: AutoencoderTiny, device: torch.device, dtype: torch.dtype) -> None:
        self.decoder = decoder
        self.device = device
        self.dtype = dtype

    def draw(self, latents: torch.Tensor) -> np.ndarray:
        """Colours of one picture's latents (4, h, w) as uint8, as large as the picture or at most `PREVIEW_SIDE`."""
        scaled = latents[None].to(self.device, self.dtype) / self.decoder.config["scaling_factor"]
        pixels = self.decoder.decode(scaled, return_dict=False)[0].float()
        factor = -(-max(pixels.shape[-2:]) // PREVIEW_SIDE)
        return _to_bytes(torch.nn.functional.avg_pool2d(pixels, factor)[0].permute(1, 2, 0).cpu())


def _to_bytes(colours: torch.Tensor) -> np.ndarray:
    """Colours from -1 to 1 as uint8; what is no number becomes grey."""
    return ((colours.nan_to_num(0.0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


@dataclass
class Clock:
    """Since when a job's steps are being counted, and when a preview was last drawn; in seconds of `monotonic`."""

    started: float
    previewed: float
    steps_before: int = 0
    """Steps of the job that were taken before."""


class StepReporter:
    """Makes one run's `Step` events, counted over all `runs` of its job, of which it is number `number`.

    The clock starts with the first step and shows what the visitor sees: with several jobs taking turns, the speed
    that is left for this one. A job's next run goes on with the clock of the one before. All runs of a job have as
    many steps.
    """

    def __init__(
        self, run: Run, preview: Preview | None, number: int = 0, runs: int = 1, clock: Clock | None = None
    ) -> None:
        self.run = run
        self.preview = preview
        self._before = number * run.total
        self._total = runs * run.total
        now = time.monotonic()
        self.clock = clock or Clock(now, -math.inf, self._before)

    def report(self, expert: str) -> Step:
        """The event for the step that `expert` has just taken."""
        index, now = self._before + self.run.index, time.monotonic()
        steps_per_second = (index - self.clock.steps_before) / max(now - self.clock.started, 1e-6)
        return Step(
            index=index,
            total=self._total,
            expert=expert,
            steps_per_second=steps_per_second,
            seconds_left=(self._total - index) / steps_per_second,
            preview=self._draw(now),
        )

    def is_preview_due(self) -> bool:
        """Whether the next step is to be taken with a picture for `report`: now and then, and not in the last one."""
        is_due = time.monotonic() - self.clock.previewed >= PREVIEW_SECONDS
        return self.preview is not None and is_due and self.run.index + 1 < self.run.total

    def _draw(self, now: float) -> bytes | None:
        """The run's first picture as a small JPEG, where the step was taken with one."""
        if self.preview is None or self.run.predicted is None:
            return None
        self.clock.previewed = now
        return encode_preview(self.preview.draw(self.run.predicted[0]))
