"""Train the autoencoder: L1 with a gradient and a coarse term in place of LPIPS, and a small KL."""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from training.autoencoder import decode, encode, psnr, scaling_factor, to_pixels, to_tensor
from training.checkpoint import load_checkpoint, save_checkpoint
from training.composed import composed, draw_all, layouts
from training.config import LATENT_CHANNELS, LATENT_FACTOR, Config, VaeConfig
from training.groupnorm import use_fast_group_norm
from training.lanes import Lanes
from training.layouts import MIXES
from training.networks import make_vae, to_channels_last
from training.pictures import Pixels
from training.sheets import save_grid
from training.vae_start import start_near_identity

logger = logging.getLogger(__name__)

VALIDATION_PICTURES = 16
REPORT_STEPS = 50
SAVE_STEPS = 200


@dataclass(frozen=True)
class Reconstruction:
    """The parts of the autoencoder's loss, each a scalar."""

    l1: Tensor
    gradient: Tensor
    coarse: Tensor


def reconstruction_loss(output: Tensor, target: Tensor) -> Reconstruction:
    """Compare pictures by L1 of pixels, of neighbour differences (edges) and of 4x4 means (colour)."""
    error = output - target
    horizontal = (error[..., 1:] - error[..., :-1]).abs().mean()
    vertical = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return Reconstruction(error.abs().mean(), horizontal + vertical, functional.avg_pool2d(error, 4).abs().mean())


class VaeTrainer:
    """Trains an autoencoder, or its decoder alone, and resumes from its checkpoint."""

    def __init__(self, model: AutoencoderKL, settings: VaeConfig, path: Path, decoder_only: bool) -> None:
        self.layers: Any = model  # diffusers types the parts as optional
        self.model = model
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.settings = settings
        self.path = path
        self.minutes = settings.decoder_minutes if decoder_only else settings.minutes
        if decoder_only:
            self.layers.encoder.requires_grad_(False)
            self.layers.quant_conv.requires_grad_(False)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, betas=(0.9, 0.99), weight_decay=0)
        self.lanes = Lanes(model.device)
        self.step = 0
        self.elapsed_seconds = 0.0
        if state := load_checkpoint(path, model.device):
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.elapsed_seconds = state["step"], state["elapsed_seconds"]

    def run(self, pictures: Pixels, validation: Tensor, rng: np.random.Generator) -> None:
        """Train until the minutes are spent, on a cosine from the full learning rate to a fiftieth."""
        started = time.monotonic() - self.elapsed_seconds
        while self.elapsed_seconds < 60 * self.minutes:
            progress = self.elapsed_seconds / (60 * self.minutes)
            warm_up = min(1.0, (self.step + 1) / 80)
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * (
                    0.02 + 0.98 * warm_up * 0.5 * (1 + math.cos(math.pi * progress))
                )
            whole = self.step % 4 == 3
            l1 = self.train_step(random_crops(pictures, rng, whole).to(self.model.device))
            self.elapsed_seconds = time.monotonic() - started
            if self.step % REPORT_STEPS == 0:
                quality = psnr(reconstruct(self.average, validation), validation)
                logger.info(
                    "%s step %d, %.0fs, l1 %.4f, validation %.2f dB",
                    self.path.stem,
                    self.step,
                    self.elapsed_seconds,
                    l1.item(),
                    quality,
                )
            if self.step % SAVE_STEPS == 0:
                self.save()
        self.save()

    def train_step(self, pictures: Tensor) -> Tensor:
        """Take one step on pictures, (batch, 3, height, width), -1..1; returns their mean absolute error."""
        settings = self.settings

        def add_gradients(rows: slice) -> Tensor:
            part = pictures[rows]
            with torch.autocast(part.device.type, torch.bfloat16):
                mean = self.layers.quant_conv(self.layers.encoder(part)).float()[:, :LATENT_CHANNELS]
                latents = mean + noise[rows] * settings.latent_noise
                output = self.layers.decoder(self.layers.post_quant_conv(latents))
            losses = reconstruction_loss(output.float(), part)
            # The posterior's variance is fixed: only the mean's part of the KL divergence to a standard normal is left.
            divergence = 0.5 * mean.square().mean()
            total = losses.l1 + settings.gradient_weight * losses.gradient + settings.coarse_weight * losses.coarse
            ((total + settings.kl_weight * divergence) * (len(part) / len(pictures))).backward()
            return losses.l1.detach()[None]

        height, width = (side // LATENT_FACTOR for side in pictures.shape[2:])
        noise = torch.randn(len(pictures), LATENT_CHANNELS, height, width, device=pictures.device)
        self.optimizer.zero_grad(set_to_none=True)
        l1 = torch.cat(self.lanes.run(add_gradients, len(pictures))).mean()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(settings.ema_decay, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return l1

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_seconds": self.elapsed_seconds,
        }
        save_checkpoint(state, self.path)


def train_vae(config: Config, work: Path, device: torch.device) -> None:
    """Train the autoencoder, measure its latents' spread and save `work/vae`; resumes."""
    if (work / "vae" / "config.json").is_file():
        logger.info("vae: done before")
        return
    torch.manual_seed(config.vae.seed)
    rng = np.random.default_rng(config.vae.seed)
    pictures, validation = _pictures(config, work)
    model = make_vae(config.vae)
    if config.vae.analytic_start:
        start_near_identity(model, to_tensor(pictures[:VALIDATION_PICTURES]))
    trainer = _make_trainer(model, config.vae, work / "vae.pt", device)
    trainer.run(pictures, validation.to(device), rng)
    _measure_scaling_factor(trainer.average, pictures)
    _save(trainer.average, validation.to(device), work / "vae")


def train_decoder(config: Config, work: Path, device: torch.device) -> None:
    """Go on with the decoder alone, so that the latents and the UNets stay valid; saves `work/decoder`; resumes."""
    if (work / "decoder" / "config.json").is_file():
        logger.info("decoder: done before")
        return
    torch.manual_seed(config.vae.seed + 1)
    rng = np.random.default_rng(config.vae.seed + 1)
    pictures, validation = _decoder_pictures(config, work)
    model = AutoencoderKL.from_pretrained(work / "vae")
    trainer = _make_trainer(model, config.vae, work / "decoder.pt", device, decoder_only=True)
    trainer.run(pictures, validation.to(device), rng)
    _save(trainer.average, validation.to(device), work / "decoder")


def _make_trainer(
    model: AutoencoderKL, settings: VaeConfig, path: Path, device: torch.device, decoder_only: bool = False
) -> VaeTrainer:
    to_channels_last(model, device)
    use_fast_group_norm(model, device)
    return VaeTrainer(model, settings, path, decoder_only)


def _pictures(config: Config, work: Path) -> tuple[Pixels, Tensor]:
    """Draw the pictures to train on, and others to validate on as a tensor."""
    pictures = composed(work / "data", config.vae.pictures + VALIDATION_PICTURES, config.vae.seed + 5, soft=False)
    return pictures[VALIDATION_PICTURES:], to_tensor(pictures[:VALIDATION_PICTURES])


def _decoder_pictures(config: Config, work: Path) -> tuple[Pixels, Tensor]:
    """The same for the decoder alone, with more styles: their hard edges are what it loses most."""
    mix = replace(MIXES["wide"], soft=0.0, cropped=0.0, styled=config.vae.decoder_styled)
    count, rng = config.vae.decoder_pictures + VALIDATION_PICTURES, np.random.default_rng(config.vae.seed + 6)
    pictures = np.concatenate(list(draw_all(layouts(count, rng, mix), work / "data")))
    return pictures[VALIDATION_PICTURES:], to_tensor(pictures[:VALIDATION_PICTURES])


def random_crops(pictures: Pixels, rng: np.random.Generator, whole: bool) -> Tensor:
    """Take two whole pictures, or eight 128-pixel crops, each the livelier of two."""
    if whole:
        return to_tensor(pictures[rng.integers(len(pictures), size=2)])
    crops = []
    for _ in range(8):
        candidates = []
        for _ in range(2):
            picture = pictures[rng.integers(len(pictures))]
            top, left = rng.integers(0, 129, 2)
            candidates.append(picture[top : top + 128, left : left + 128])
        crop = max(candidates, key=lambda pixels: pixels[::8, ::8].std(axis=(0, 1)).sum())
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return to_tensor(np.stack(crops))


@torch.no_grad()
def reconstruct(model: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Encode and decode pictures: (batch, 3, height, width), -1..1."""
    with torch.autocast(pictures.device.type, torch.bfloat16):
        return decode(model, encode(model, pictures)).float().clamp(-1, 1)


@torch.no_grad()
def _measure_scaling_factor(model: AutoencoderKL, pictures: Pixels) -> None:
    """Set scaling_factor = 1 / the latents' standard deviation (LDM, arXiv:2112.10752, appendix G)."""
    batches = (to_tensor(pictures[start : start + 16]).to(model.device) for start in range(0, 256, 16))
    latents = torch.cat([encode(model, batch) for batch in batches])
    model.register_to_config(scaling_factor=round(float(1 / latents.std()), 5))
    logger.info("vae: latent std %s, mean %s", latents.std((0, 2, 3)).tolist(), latents.mean((0, 2, 3)).tolist())


def _save(model: AutoencoderKL, validation: Tensor, folder: Path) -> None:
    output = reconstruct(model, validation)
    quality = psnr(output, validation)
    logger.info("%s: %.2f dB, scaling_factor %.5f", folder.name, quality, scaling_factor(model))
    save_grid(to_pixels(torch.cat([validation, output], 3))[:8], folder.with_suffix(".png"), columns=2)
    temporary = folder.with_name(f".{folder.name}")
    model.save_pretrained(temporary)
    temporary.rename(folder)
