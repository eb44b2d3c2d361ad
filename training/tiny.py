"""Train a small autoencoder beside the VAE, for drafts: same latents, a fraction of the work (TAESD's networks)."""

from __future__ import annotations

import copy
import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from training.autoencoder import decode, encode, load_autoencoder, psnr, scaling_factor, to_tensor
from training.base import shipped_vae
from training.checkpoint import load_checkpoint, save_checkpoint
from training.composed import composed
from training.config import Config, TinyConfig
from training.networks import to_channels_last
from training.vae import VALIDATION_PICTURES, random_crops, reconstruction_loss

logger = logging.getLogger(__name__)

REPORT_STEPS, SAVE_STEPS = 100, 200


def make_tiny(settings: TinyConfig) -> AutoencoderTiny:
    """Build the untrained autoencoder: f = 8, four latent channels, a few plain convolutions a stage."""
    stages = len(settings.channels)
    return AutoencoderTiny(
        encoder_block_out_channels=settings.channels,
        decoder_block_out_channels=settings.channels,
        num_encoder_blocks=(1,) * stages,
        num_decoder_blocks=(*settings.blocks, 1)[:stages],
    )


def train_tiny(config: Config, work: Path, device: torch.device) -> None:
    """Train until the minutes are spent; saves `work/tiny`; resumes."""
    if (work / "tiny" / "config.json").is_file():
        logger.info("tiny: done before")
        return
    settings = config.tiny
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    drawn = composed(work / "data", settings.pictures + VALIDATION_PICTURES, settings.seed + 5, soft=False)
    pictures, validation = drawn[VALIDATION_PICTURES:], to_tensor(drawn[:VALIDATION_PICTURES]).to(device)
    vae = to_channels_last(cast(AutoencoderKL, load_autoencoder(shipped_vae(work))), device)
    model = to_channels_last(make_tiny(settings), device).train()
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0)
    step, elapsed = 0, 0.0
    if state := load_checkpoint(work / "tiny.pt", device):
        for part, name in ((model, "model"), (average, "average"), (optimizer, "optimizer")):
            cast(Any, part).load_state_dict(state[name])
        step, elapsed = state["step"], state["elapsed_seconds"]
    started = time.monotonic() - elapsed
    while elapsed < 60 * settings.minutes:
        share = elapsed / (60 * settings.minutes)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / 80) * 0.5 * (1.02 + math.cos(math.pi * share))
        loss = tiny_loss(model, vae, random_crops(pictures, rng, whole=step % 4 == 3).to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, elapsed = step + 1, time.monotonic() - started
        with torch.no_grad():
            decay = min(0.998, step / (step + 20))
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        if step % REPORT_STEPS == 0:
            quality = draft_quality(average, vae, validation)
            logger.info("tiny step %d, %.0fs, loss %.4f, validation %.2f dB", step, elapsed, loss.item(), quality)
        if step % SAVE_STEPS == 0 or elapsed >= 60 * settings.minutes:
            parts = {"model": model, "average": average, "optimizer": optimizer}
            states = {name: cast(Any, part).state_dict() for name, part in parts.items()}
            save_checkpoint({**states, "step": step, "elapsed_seconds": elapsed}, work / "tiny.pt")
    logger.info("tiny: %.2f dB", draft_quality(average, vae, validation))
    # A reader sees the whole folder or none.
    temporary = work / ".tiny"
    average.save_pretrained(temporary)
    shutil.rmtree(work / "tiny", ignore_errors=True)
    temporary.rename(work / "tiny")


def tiny_loss(model: AutoencoderTiny, vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """How far its decoder is from the pictures, and its encoder from the VAE's latents: pictures in -1..1."""
    with torch.autocast(pictures.device.type, torch.bfloat16):
        with torch.no_grad():
            latents = encode(vae, pictures).float() * scaling_factor(vae)
        output, encoded = decode(model, latents), encode(model, pictures)
    losses = reconstruction_loss(output.float(), pictures)
    return losses.l1 + 0.7 * losses.gradient + 0.7 * losses.coarse + 0.1 * (encoded.float() - latents).square().mean()


@torch.no_grad()
def draft_quality(model: AutoencoderTiny, vae: AutoencoderKL, pictures: Tensor) -> float:
    """PSNR in dB of pictures that the VAE encoded and the small decoder decoded."""
    return psnr(decode(model, encode(vae, pictures) * scaling_factor(vae)), pictures)
