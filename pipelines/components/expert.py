"""One expert of SDXL: the components a UNet needs around it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.components.unet.model import KeepingUNet


@dataclass(frozen=True)
class Expert:
    """Base or refiner (SDXL, arXiv:2307.01952, section 2.5). The refiner has no first text encoder.

    Experts share a component by holding the same object.
    """

    name: str
    """"base" or "refiner"."""
    unet: KeepingUNet
    vae: AutoencoderKL
    text_encoder_2: CLIPTextModelWithProjection
    tokenizer_2: CLIPTokenizer
    text_encoder: CLIPTextModel | None
    tokenizer: CLIPTokenizer | None
    scheduler_config: dict[str, Any]
    force_zeros_for_empty_prompt: bool
    requires_aesthetics_score: bool
    device: torch.device
    """Where it computes; under offloading its weights may wait elsewhere."""
    dtype: torch.dtype
    """The precision it computes in, in which the latents live."""
    vae_dtype: torch.dtype
    """The VAE's own: float32 where SDXL's would overflow in float16."""

    @cached_property
    def modules(self) -> dict[str, torch.nn.Module]:
        """The parts with weights, by their name in a diffusers folder."""
        parts = {
            "text_encoder": self.text_encoder,
            "text_encoder_2": self.text_encoder_2,
            "unet": self.unet,
            "vae": self.vae,
        }
        return {name: module for name, module in parts.items() if module is not None}
