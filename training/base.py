"""Train the base UNet together with both text encoders, in SDXL's progressive phases."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from training.autoencoder import load_autoencoder
from training.config import BaseConfig, Config, Phase
from training.diffusion import Condition, Trainer
from training.groupnorm import use_fast_group_norm
from training.latents import Encoders, LatentPool, PictureSource, Window, tokenize
from training.layouts import BUCKETS, NATIVE
from training.networks import make_base_unet, make_text_encoders, to_channels_last, use_plain_attention
from training.pictures import Painter
from training.sampling import make_pipeline, sample
from training.sheets import save_grid
from training.tokenizer import load_tokenizers

logger = logging.getLogger(__name__)

SHARD, BUCKET_SHARD, BUCKET_SHARDS = 1024, 256, 4

SHEET_PROMPTS = (
    *("a fox on a blue background", "a rocket on a green background", "a cat on a purple gradient background"),
    *("a house in the snow", "a castle at night with stars", "a sunflower on a sandy beach", "a horse on a meadow"),
    *("an elephant on a yellow background", "a guitar on a white background", "a turtle underwater"),
    *("an airplane on a pink background", "a bicycle on an orange gradient background", "a ship on a red background"),
    *(
        "a unicorn on a black background",
        "a happy face on a blue checked background",
        "an angry face on a green background",
    ),
    *("a snake on a white background", "cherries on a gray background", "a hot dog on a yellow checked background"),
    *("a key on a red background", "a dress in the city", "a shark on a blue background", "a zebra in the mountains"),
    *("a teapot on a pink background", "a small apple on a yellow background", "a large dog on a green background"),
    *("a blue car on a white background", "a green apple on a purple background", "a red umbrella in the forest"),
    *(
        "a pink elephant on a gray background",
        "a star on the left on a blue background",
        "a frog on the right in the snow",
    ),
    *("a black and white photo of a lion on a red background", "a line drawing of a cat on a white background"),
    *("a castle on a blue background, pixel art", "a silhouette of a tree at sunset", "a poster of a rocket in space"),
    *("a fox and an apple on a yellow background", "a panda on the left and a crown on the right, blue background"),
    "a red car and a blue balloon on a white background",
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


class BaseSources:
    """The pictures of each phase, drawn and encoded as they are wanted."""

    def __init__(self, config: Config, folder: Path, encoders: Encoders) -> None:
        self.settings = config.base.scaled()
        self.config, self.folder, self.encoders = config, folder, encoders
        self.sources: dict[str, PictureSource] = {}

    def phase(self, samples: int) -> Phase:
        """Return the phase that training is in after `samples`."""
        for phase in self.settings.phases:
            samples -= phase.samples
            if samples < 0:
                return phase
        return self.settings.phases[-1]

    def choose(self, samples: int, used: Counter[str], generator: torch.Generator) -> tuple[LatentPool, int]:
        """Choose the next batch's pool and size, and count it in `used`."""
        phase = self.phase(samples)
        width, height = (side // 2 for side in NATIVE) if phase.half_size else NATIVE
        draw = torch.rand(2, generator=generator)
        is_bucket = bool(draw[0] < phase.bucket_share)
        if is_bucket:
            width, height = BUCKETS[int(draw[1] * len(BUCKETS))]
        source = self._source(phase.mix, width, height, is_bucket)
        pool = source.pool(used[source.window.name])
        used[source.window.name] += phase.batch_size
        return pool, phase.batch_size

    def _source(self, mix: str, width: int, height: int, is_bucket: bool) -> PictureSource:
        shard = BUCKET_SHARD if is_bucket else SHARD
        shards = BUCKET_SHARDS if is_bucket else self.settings.pictures // SHARD
        window = Window(mix, width, height, shard, shards)
        if window.name not in self.sources:
            self.sources[window.name] = PictureSource(window, self.config, self.folder, self.encoders)
        return self.sources[window.name]


def make_base_model(settings: BaseConfig, tokenizer: CLIPTokenizer) -> BaseModel:
    """Build the untrained base model; its start is fixed by the configured seed."""
    torch.manual_seed(settings.seed)
    text_encoder, text_encoder_2 = make_text_encoders(settings, tokenizer)
    return BaseModel(make_base_unet(settings), text_encoder, text_encoder_2)


def load_vae(work: Path, device: torch.device) -> AutoencoderKL:
    """Load the trained autoencoder, frozen."""
    return to_channels_last(cast(AutoencoderKL, load_autoencoder(shipped_vae(work))), device)


def shipped_vae(work: Path) -> Path:
    """Choose the autoencoder with the longer trained decoder, if there is one; both encode alike."""
    return work / "decoder" if (work / "decoder" / "config.json").is_file() else work / "vae"


def train_base(config: Config, work: Path, device: torch.device) -> None:
    """Train the base model until its samples or minutes are spent; `work/base.pt` holds the result; resumes."""
    tokenizers = load_tokenizers(work)
    vae = load_vae(work, device)
    model = make_base_model(config.base, tokenizers[0])
    if config.base.start_from and not (work / "base.pt").is_file():
        from training.warm_start import start_from

        start_from(model, tokenizers[0], Path(config.base.start_from))
    model = to_channels_last(model, device)
    use_fast_group_norm(model, device)
    use_plain_attention(model, device)
    empty = (tokenize(tokenizers[0], [""])[0], tokenize(tokenizers[1], [""])[0])
    trainer = Trainer(model, config.base.scaled(), empty, work / "base.pt", device)
    for name, part in model.named_children():
        logger.info("base: %s has %.2f M parameters", name, sum(p.numel() for p in part.parameters()) / 1e6)
    trainer.resume()

    def make_sheet(average: nn.Module, samples: int) -> None:
        parts = cast(BaseModel, average)
        pipeline = make_pipeline(vae, (parts.text_encoder, parts.text_encoder_2), tokenizers, parts.unet)
        half_size = sources.phase(samples - 1).half_size
        size = (NATIVE[0] // 2, NATIVE[1] // 2) if half_size else NATIVE
        pictures = sample(pipeline, list(SHEET_PROMPTS), seed=100, size=size)
        save_grid(pictures, work / "sheets" / f"base-{samples:07d}.png", 10, list(SHEET_PROMPTS))

    sources = BaseSources(config, work / "pools", Encoders(Painter(work / "data", device), vae, tokenizers))
    trainer.run(sources.choose, make_sheet)
