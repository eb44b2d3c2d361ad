"""Train the base UNet together with both text encoders, in SDXL's progressive phases."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from training.autoencoder import load_autoencoder
from training.config import BaseConfig, Config
from training.diffusion import Condition, Trainer
from training.groupnorm import use_fast_group_norm
from training.latents import LatentPool, bucket_pictures, cached_pool, canonical_pictures, tokenize
from training.layouts import BUCKETS, NATIVE
from training.networks import make_base_unet, make_text_encoders, to_channels_last, use_plain_attention
from training.sampling import make_pipeline, sample
from training.sheets import save_grid
from training.tokenizer import load_tokenizers

logger = logging.getLogger(__name__)

SHEET_PROMPTS = (
    "a fox on a blue background",
    "a rocket on a green background",
    "a cat on a purple gradient background",
    "a house in the snow",
    "a castle at night with stars",
    "a sunflower on a sandy beach",
    "a small apple on a yellow background",
    "a large guitar on a white background",
    "a turtle on a green meadow",
    "a butterfly on a pink background",
    "a robot on an orange gradient background",
    "a sailboat on a gray background",
    "an umbrella on a red background",
    "a unicorn on a black background",
    "a fox and an apple on a yellow background",
    "a panda on the left and a crown on the right, blue background",
)


class BaseModel(nn.Module):
    """The UNet and the text encoders that are trained with it."""

    def __init__(
        self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, text_encoder_2: CLIPTextModelWithProjection
    ) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder
        self.text_encoder_2 = text_encoder_2

    def forward(self, noisy: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """Predict the noise from both encoders' penultimate states and the second one's pooled text."""
        output_1 = self.text_encoder(condition.tokens_1, output_hidden_states=True)
        output_2 = self.text_encoder_2(condition.tokens_2, output_hidden_states=True)
        prompt_embeds = torch.cat([output_1.hidden_states[-2], output_2.hidden_states[-2]], -1)
        added = {
            "text_embeds": output_2.text_embeds * condition.kept[:, None],
            "time_ids": condition.time_ids,
        }
        prompt_embeds = prompt_embeds * condition.kept[:, None, None]
        return self.unet(noisy, timesteps, prompt_embeds, added_cond_kwargs=added).sample


class BasePools:
    """The pools of each phase, drawn and encoded when first wanted."""

    def __init__(
        self, config: Config, work: Path, vae: AutoencoderKL, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]
    ) -> None:
        self.config = config
        self.work = work
        self.vae = vae
        self.tokenizers = tokenizers
        self.pools: dict[str, LatentPool] = {}

    def canonical(self, half_size: bool) -> LatentPool:
        """Return every canonical picture, at full or half size."""
        name = "canonical-half" if half_size else "canonical"
        return self._get(name, partial(canonical_pictures, self.config, self.work / "data", half_size))

    def bucket(self, width: int, height: int) -> LatentPool:
        """Return the widened pictures of one size."""
        settings = self.config.base
        count = settings.wide_square_pictures if (width, height) == NATIVE else settings.wide_pictures_per_bucket
        draw = partial(bucket_pictures, self.config, self.work / "data", width, height, count)
        return self._get(f"bucket-{width}x{height}", draw)

    def _get(self, name: str, draw: partial) -> LatentPool:
        if name not in self.pools:
            self.pools[name] = cached_pool(self.work / "pools" / f"{name}.pt", draw(), self.vae, self.tokenizers)
        return self.pools[name]

    def choose(self, progress: float, generator: torch.Generator) -> tuple[LatentPool, int]:
        """Choose the next batch's pool and size: half size, then canonical, then buckets among canonical."""
        settings = self.config.base
        if settings.progressive_size and progress < settings.half_size_until:
            return self.canonical(half_size=True), settings.half_size_batch
        draw = torch.rand(3, generator=generator)
        if progress < settings.widen_from or draw[0] < settings.canonical_share:
            return self.canonical(half_size=False), settings.batch_size
        if not settings.aspect_buckets or draw[1] < 0.5:
            return self.bucket(*NATIVE), settings.batch_size
        return self.bucket(*BUCKETS[int(draw[2] * len(BUCKETS))]), settings.batch_size


def make_base_model(settings: BaseConfig, tokenizer: CLIPTokenizer) -> BaseModel:
    """Build the untrained base model; its start is fixed by the configured seed."""
    torch.manual_seed(settings.seed)
    text_encoder, text_encoder_2 = make_text_encoders(settings, tokenizer)
    return BaseModel(make_base_unet(settings), text_encoder, text_encoder_2)


def load_vae(work: Path, device: torch.device) -> AutoencoderKL:
    """Load the trained autoencoder, frozen."""
    return to_channels_last(cast(AutoencoderKL, load_autoencoder(work / "vae")), device)


def train_base(config: Config, work: Path, device: torch.device) -> None:
    """Train the base model until its samples or minutes are spent; `work/base.pt` holds the result; resumes."""
    tokenizers = load_tokenizers(work)
    vae = load_vae(work, device)
    model = to_channels_last(make_base_model(config.base, tokenizers[0]), device)
    use_fast_group_norm(model, device)
    use_plain_attention(model, device)
    empty = (tokenize(tokenizers[0], [""])[0], tokenize(tokenizers[1], [""])[0])
    trainer = Trainer(model, config.base, empty, work / "base.pt", device)
    for name, part in model.named_children():
        logger.info("base: %s has %.2f M parameters", name, sum(p.numel() for p in part.parameters()) / 1e6)
    trainer.resume()

    def make_sheet(average: nn.Module, samples: int) -> None:
        parts = cast(BaseModel, average)
        pipeline = make_pipeline(vae, (parts.text_encoder, parts.text_encoder_2), tokenizers, parts.unet)
        pictures = sample(pipeline, list(SHEET_PROMPTS), seed=100)
        save_grid(pictures, work / "sheets" / f"base-{samples:07d}.png", 8, list(SHEET_PROMPTS))

    trainer.run(BasePools(config, work, vae, tokenizers).choose, make_sheet)
