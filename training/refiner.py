"""Train the refiner UNet: low noise only, the second text encoder only, an aesthetic score in the time ids."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection

from training.base import BaseModel, load_vae, make_base_model
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import Config
from training.diffusion import Condition, Trainer
from training.groupnorm import use_fast_group_norm
from training.latents import (
    ENCODE_BATCH,
    Encoders,
    LatentPool,
    caption_tokens,
    encode_pictures,
    join_pools,
    tokenize,
)
from training.layouts import BUCKETS, MIXES, NATIVE, HeldOut, sample_layout
from training.networks import make_refiner_unet, to_channels_last, use_plain_attention
from training.pictures import Painter
from training.styles import luminance, reduce_resolution
from training.tokenizer import load_tokenizers
from training.warm_start import start_from_base

logger = logging.getLogger(__name__)

# A sharp picture has the pipeline's own score; under its own negative score (2.5) lie pictures that kept less than 57 %
# of their sharpness, and the lowest is of those that kept 45 %. A higher lowest score makes guidance oversharpen.
LOWEST_SCORE = 1.5
SHARP_SCORE = 6.0
SOFTEST_KEPT = 0.45
SCORE_SPREAD = 0.5
NATIVE_SHARE = 0.7
BLURRED_TO = (0.35, 0.85)


class RefinerModel(nn.Module):
    """The refiner UNet and the base's second text encoder, which stays as it is."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder_2: CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder_2 = text_encoder_2.requires_grad_(False)

    def forward(self, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """Predict the noise from the second encoder's penultimate states and pooled text."""
        with torch.no_grad():
            output = self.text_encoder_2(condition.tokens_2, output_hidden_states=True)
        added = {"text_embeds": output.text_embeds, "time_ids": condition.time_ids}
        return self.unet(noisy, timesteps, output.hidden_states[-2], added_cond_kwargs=added).sample


def sharpness(pictures: Tensor) -> Tensor:
    """Root mean square difference of neighbouring pixels of (n, 3, height, width), 0..1: (n,)."""
    grey = luminance(pictures)
    return (grey.diff(dim=2).square().mean((1, 2, 3)) + grey.diff(dim=3).square().mean((1, 2, 3))).sqrt()


def aesthetic_scores(pictures: Tensor, originals: Tensor, rng: np.random.Generator) -> Tensor:
    """Score pictures by the share of the originals' sharpness that they kept: (n,)."""
    kept = sharpness(pictures) / sharpness(originals).clamp(min=1e-4)
    kept = ((kept - SOFTEST_KEPT) / (1 - SOFTEST_KEPT)).clamp(0, 1).cpu()
    spread = torch.from_numpy(rng.random(len(pictures))).float() - 0.5
    return LOWEST_SCORE + (SHARP_SCORE - LOWEST_SCORE) * kept + SCORE_SPREAD * spread


def scored_pool(config: Config, width: int, height: int, count: int, encoders: Encoders, path: Path) -> LatentPool:
    """Draw and encode sharp and softened pictures of one size; time ids: original size, crop, aesthetic score."""
    if (state := load_checkpoint(path)) is not None:
        return LatentPool(**state)
    rng = np.random.default_rng((config.data.seed, width, height, 1))
    mix = replace(MIXES["wide"], soft=0.0, detailed=0.0, cropped=0.0)
    held_out = HeldOut(config.data.held_out_percent, config.data.held_out_colours_percent)
    pools = []
    for _ in range(0, count, ENCODE_BATCH):
        layouts = [sample_layout(mix, width, height, held_out, rng) for _ in range(ENCODE_BATCH)]
        originals = encoders.painter.draw(layouts)
        pictures = originals.clone()
        for row in range(ENCODE_BATCH):
            if rng.random() < config.refiner.blurred_share:
                pictures[row] = reduce_resolution(originals[row : row + 1], rng.uniform(*BLURRED_TO))[0]
        scores = aesthetic_scores(pictures, originals, rng)
        time_ids = torch.tensor([[height, width, 0, 0, score] for score in scores.tolist()])
        tokens = caption_tokens(layouts, config.refiner.captions_per_picture, encoders.tokenizers, rng)
        pools.append(LatentPool(encode_pictures(encoders.vae, pictures), time_ids, *tokens))
    pool = join_pools(pools)
    save_checkpoint(vars(pool), path)
    logger.info("pictures %s: %d", path.stem, len(pool))
    return pool


def make_refiner_model(config: Config, text_encoder_2: CLIPTextModelWithProjection) -> RefinerModel:
    """Build the untrained refiner beside the given text encoder."""
    torch.manual_seed(config.refiner.seed)
    return RefinerModel(make_refiner_unet(config.refiner, config.base.hidden_2), text_encoder_2)


def load_base_average(config: Config, work: Path) -> BaseModel:
    """Load the averaged weights of the trained base.

    Raises:
        FileNotFoundError: the base has not been trained yet.
    """
    state = load_checkpoint(work / "base.pt")
    if state is None:
        raise FileNotFoundError(f"train the base first: {work / 'base.pt'} is missing")
    model = make_base_model(config.base, load_tokenizers(work)[0])
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False)


def train_refiner(config: Config, work: Path, device: torch.device) -> None:
    """Train the refiner until its samples or minutes are spent; `work/refiner.pt` holds the result; resumes."""
    tokenizers = load_tokenizers(work)
    vae = load_vae(work, device)
    base = load_base_average(config, work)
    model = make_refiner_model(config, base.text_encoder_2)
    start_from_base(model.unet, base.unet, config.base.hidden_1)
    model = to_channels_last(model, device)
    use_fast_group_norm(model, device)
    use_plain_attention(model, device)
    empty = (tokenize(tokenizers[0], [""])[0], tokenize(tokenizers[1], [""])[0])
    trainer = Trainer(model, config.refiner, empty, work / "refiner.pt", device)
    logger.info("refiner: unet has %.2f M parameters", sum(p.numel() for p in model.unet.parameters()) / 1e6)
    trainer.resume()

    encoders = Encoders(Painter(work / "data", device), vae, tokenizers)

    def pool_of(width: int, height: int, count: int) -> LatentPool:
        return scored_pool(config, width, height, count, encoders, work / "pools" / f"refiner-{width}x{height}.pt")

    native_count = int(config.refiner.pictures * NATIVE_SHARE)
    bucket_count = (config.refiner.pictures - native_count) // len(BUCKETS)
    native = pool_of(*NATIVE, native_count)
    buckets = [pool_of(width, height, bucket_count) for width, height in BUCKETS]

    def choose_pool(samples: int, used: Counter[str], generator: torch.Generator) -> tuple[LatentPool, int]:
        draw_native, draw_bucket = torch.rand(2, generator=generator).tolist()
        pool = native if draw_native < NATIVE_SHARE else buckets[int(draw_bucket * len(buckets))]
        return pool, config.refiner.batch_size

    trainer.run(choose_pool, lambda average, samples: None)
