"""The networks: SDXL's own classes in diffusers and transformers, in small."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerBase

from training.config import (
    CONTEXT_LENGTH,
    LATENT_CHANNELS,
    PROJECTION_DIM,
    TIME_ID_DIM,
    BaseConfig,
    RefinerConfig,
    VaeConfig,
)

Model = TypeVar("Model", bound=nn.Module)

HEAD_DIM = 32
BASE_TIME_IDS = 6
REFINER_TIME_IDS = 5


def make_vae(config: VaeConfig) -> AutoencoderKL:
    """Build the autoencoder: f = 8, four latent channels, one norm group, no attention."""
    stages = len(config.channels)
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * stages,
        "up_block_types": ("UpDecoderBlock2D",) * stages,
        "block_out_channels": config.channels,
    }
    return AutoencoderKL(
        **blocks,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=256,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def make_text_encoders(
    config: BaseConfig, tokenizer: PreTrainedTokenizerBase
) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Build the two text encoders; token embeddings start wide, as the vocabulary is small and its words matter."""

    # Without eos_token_id the pooled text would be taken from the wrong token.
    special_tokens: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }

    def text_config(hidden: int, activation: str) -> CLIPTextConfig:
        return CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=config.text_layers,
            num_attention_heads=hidden // 16,
            projection_dim=PROJECTION_DIM,
            hidden_act=activation,
            max_position_embeddings=CONTEXT_LENGTH,
            **special_tokens,
        )

    encoder_1 = CLIPTextModel(text_config(config.hidden_1, "quick_gelu"))
    encoder_2 = CLIPTextModelWithProjection(text_config(config.hidden_2, "gelu"))
    for encoder in (encoder_1, encoder_2):
        for name, parameter in encoder.named_parameters():
            if name.endswith("token_embedding.weight"):
                nn.init.normal_(parameter, std=0.5)
            elif name.endswith("position_embedding.weight"):
                nn.init.normal_(parameter, std=0.1)
    return encoder_1, encoder_2


def make_unet(
    channels: tuple[int, ...], cross_attention_dim: int, time_ids: int, sample_size: int = 32
) -> UNet2DConditionModel:
    """Build a UNet with SDXL's `text_time` addition embedding (arXiv:2307.01952, sections 2.1 and 2.2)."""
    per_level: dict[str, Any] = {
        "transformer_layers_per_block": [1] * len(channels),
        "attention_head_dim": [max(1, width // HEAD_DIM) for width in channels],
    }
    return UNet2DConditionModel(
        **per_level,
        sample_size=sample_size,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=cross_attention_dim,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_DIM,
        projection_class_embeddings_input_dim=PROJECTION_DIM + TIME_ID_DIM * time_ids,
        norm_num_groups=8,
    )


def make_base_unet(config: BaseConfig) -> UNet2DConditionModel:
    """Build the base UNet: both encoders' states side by side, six time ids."""
    return make_unet(config.channels, config.hidden_1 + config.hidden_2, BASE_TIME_IDS)


def make_refiner_unet(config: RefinerConfig, hidden_2: int) -> UNet2DConditionModel:
    """Build the refiner UNet: the second encoder's states alone, five time ids."""
    return make_unet(config.channels, hidden_2, REFINER_TIME_IDS)


def use_plain_attention(model: nn.Module, device: torch.device) -> None:
    """Write attention out as matrix products, if the model is trained on CPU.

    The backward pass of PyTorch's fused attention was a quarter of a training step there; a step takes 19 % less.
    """
    if device.type != "cpu":
        return
    for module in model.modules():
        if isinstance(module, UNet2DConditionModel):
            module.set_attn_processor(AttnProcessor())
        elif isinstance(module, CLIPTextModel | CLIPTextModelWithProjection):
            module.set_attn_implementation("eager")


def to_channels_last(model: Model, device: torch.device) -> Model:
    """Move a model to its device in channels_last, the layout in which convolutions are fastest."""
    return cast(Any, model).to(device=device, memory_format=torch.channels_last)
