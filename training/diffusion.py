"""Noise-prediction training that base and refiner share: schedule, loss, caption dropout, EMA, resuming."""

from __future__ import annotations

import copy
import logging
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import DiffusionConfig
from training.lanes import Lanes
from training.latents import LatentPool

logger = logging.getLogger(__name__)

REPORT_STEPS = 50
FINAL_RATE = 0.01

# SDXL's schedule: scaled_linear betas over 1000 steps (LDM, arXiv:2112.10752; SDXL's scheduler config).
NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


@dataclass(frozen=True)
class Condition:
    """What a batch is conditioned on.

    tokens_1, tokens_2: (batch, 77). time_ids: (batch, 6 or 5).
    kept: (batch,), 0 where the whole text conditioning is replaced by zeros, else 1.
    """

    tokens_1: Tensor
    tokens_2: Tensor
    time_ids: Tensor
    kept: Tensor

    def __getitem__(self, rows: slice) -> Condition:
        """Take some rows of the batch."""
        return Condition(*(value[rows] for value in vars(self).values()))


class Trainer:
    """Trains a denoiser on pools of latents and resumes from its checkpoint.

    All randomness of the batches comes from two generators whose states are saved, so that a resumed run takes the
    same next step as one that was never stopped.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: DiffusionConfig,
        empty_tokens: tuple[Tensor, Tensor],
        path: Path,
        device: torch.device,
    ) -> None:
        self.model = model.train()
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.settings = settings
        self.empty_tokens = empty_tokens
        self.path = path
        self.device = device
        self.generator = torch.Generator("cpu").manual_seed(settings.seed)
        self.noise_generator = torch.Generator(device).manual_seed(settings.seed)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        alphas = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod
        self.alphas = alphas
        self.loss_weights = torch.ones_like(alphas)
        if settings.min_snr_gamma:
            # Min-SNR weighting for noise prediction: min(SNR, gamma) / SNR (arXiv:2303.09556, section 3.4).
            signal_to_noise = alphas / (1 - alphas)
            self.loss_weights = signal_to_noise.clamp(max=settings.min_snr_gamma) / signal_to_noise
        self.lanes = Lanes(device)
        self.step = 0
        self.samples = 0
        self.used: Counter[str] = Counter()
        self.elapsed_seconds = 0.0

    @property
    def progress(self) -> float:
        """The share of the run that is done: of its samples or of its minutes, whichever is further."""
        by_samples = self.samples / self.settings.samples
        return max(by_samples, self.elapsed_seconds / (60 * self.settings.minutes))

    def learning_rate(self) -> float:
        """Linear warm-up, then constant, then half a cosine to a hundredth."""
        settings, progress = self.settings, min(1.0, self.progress)
        factor = min(1.0, (self.samples + 1) / settings.warmup_samples)
        if progress > settings.decay_from:
            share = (progress - settings.decay_from) / (1 - settings.decay_from)
            factor *= FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * share))
        return settings.learning_rate * factor

    def run(
        self,
        choose_pool: Callable[[int, Counter[str], torch.Generator], tuple[LatentPool, int]],
        make_sheet: Callable[[nn.Module, int], None],
    ) -> None:
        """Train until the run is done; `choose_pool` gives the next batch's pool and size for the samples so far."""
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
        started = time.monotonic() - self.elapsed_seconds
        last_saved = time.monotonic()
        sheets = self.samples // self.settings.sheet_samples
        losses: list[float] = []
        while self.progress < 1:
            losses.append(self.train_step(*choose_pool(self.samples, self.used, self.generator)))
            now = time.monotonic()
            self.elapsed_seconds = now - started
            if self.step % REPORT_STEPS == 0:
                logger.info(
                    "%s step %d, %d samples, %.0fs, %.1f %%, loss %.4f, rate %.2e",
                    self.path.stem,
                    self.step,
                    self.samples,
                    self.elapsed_seconds,
                    100 * self.progress,
                    sum(losses) / len(losses),
                    self.learning_rate(),
                )
                losses.clear()
            if now - last_saved > 60 * self.settings.save_minutes:
                self.save()
                last_saved = now
            if self.samples // self.settings.sheet_samples > sheets:
                make_sheet(self.average, self.samples)
                started += time.monotonic() - now
                sheets = self.samples // self.settings.sheet_samples
            if stopping.is_set():
                self.save()
                raise SystemExit(f"{self.path.stem}: stopped at step {self.step}, run again to go on")
        self.save()
        make_sheet(self.average, self.samples)

    def train_step(self, pool: LatentPool, batch_size: int) -> float:
        """Take one step on a batch of one pool; returns the unweighted mean squared error."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        latents, condition = self._draw_batch(pool, batch_size)
        timesteps = self._draw_timesteps(batch_size)
        noise = self._draw_noise(*latents.shape)
        if self.settings.offset_noise:
            # A constant per channel, so that overall brightness is learnt too (SDXL, appendix; N. Guttenberg, 2023).
            noise = noise + self.settings.offset_noise * self._draw_noise(*latents.shape[:2], 1, 1)
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1).to(self.device)
        noisy = alpha.sqrt() * latents.to(self.device) + (1 - alpha).sqrt() * noise
        weights = self.loss_weights[timesteps].to(self.device) / batch_size
        timesteps = timesteps.to(self.device)

        def add_gradients(rows: slice) -> Tensor:
            inputs = noisy[rows].contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16):
                predicted = self.model(inputs, timesteps[rows], condition[rows])
            errors = (predicted.float() - noise[rows]).square().mean((1, 2, 3))
            (errors * weights[rows]).sum().backward()
            return errors.detach()

        self.optimizer.zero_grad(set_to_none=True)
        errors = torch.cat(self.lanes.run(add_gradients, batch_size))
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self.optimizer.step()
        self.step += 1
        self.samples += batch_size
        self._update_average()
        return errors.mean().item()

    def _draw_noise(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.noise_generator, device=self.device)

    def _draw_batch(self, pool: LatentPool, batch_size: int) -> tuple[Tensor, Condition]:
        generator, settings = self.generator, self.settings
        rows = torch.randint(len(pool), (batch_size,), generator=generator)
        choice = torch.randint(pool.tokens_1.shape[1], (batch_size,), generator=generator)
        tokens_1, tokens_2 = pool.tokens_1[rows, choice].long(), pool.tokens_2[rows, choice].long()
        # Caption dropout for classifier-free guidance (arXiv:2207.12598, section 3.2): zeros, as SDXL's pipeline
        # takes for an absent prompt, and the empty caption, as it takes for an empty negative prompt elsewhere.
        draw = torch.rand(batch_size, generator=generator)
        to_zeros = draw < settings.drop_to_zeros
        to_empty = ~to_zeros & (draw < settings.drop_to_zeros + settings.drop_to_empty)
        tokens_1[to_empty], tokens_2[to_empty] = self.empty_tokens
        is_foreign = draw >= 1 - settings.foreign_captions
        tokens_1[is_foreign], tokens_2[is_foreign] = (tokens.roll(1, 0)[is_foreign] for tokens in (tokens_1, tokens_2))
        condition = Condition(
            tokens_1.to(self.device),
            tokens_2.to(self.device),
            pool.time_ids[rows].to(self.device),
            (~to_zeros).float().to(self.device),
        )
        return pool.latents[rows].float(), condition

    def _draw_timesteps(self, batch_size: int) -> Tensor:
        """Draw one timestep from each of `batch_size` equal strata, which lowers the loss's variance."""
        strata = torch.arange(batch_size) + torch.rand(batch_size, generator=self.generator)
        return (strata / batch_size * self.settings.max_timestep).long().clamp(max=self.settings.max_timestep - 1)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the exponential moving average, faster in the beginning (DDPM, arXiv:2006.11239, appendix B)."""
        decay = min(self.settings.ema_decay, (self.step + 1) / (self.step + 12))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "noise_generator": self.noise_generator.get_state(),
            "step": self.step,
            "samples": self.samples,
            "used": dict(self.used),
            "elapsed_seconds": self.elapsed_seconds,
        }
        save_checkpoint(state, self.path)

    def resume(self) -> bool:
        """Read the checkpoint; False if there is none yet."""
        state = load_checkpoint(self.path)
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.noise_generator.set_state(state["noise_generator"].cpu())
        self.step, self.samples = state["step"], state["samples"]
        self.used = Counter(state["used"])
        self.elapsed_seconds = state["elapsed_seconds"]
        logger.info("%s: resumed at step %d, %d samples", self.path.stem, self.step, self.samples)
        return True
