"""What a UNet is told besides the noisy latents: the prompts, and SDXL's micro-conditioning."""

from dataclasses import dataclass
from typing import Any

import torch

from pipelines.components.expert import Expert
from pipelines.diffusion.guidance import GuidanceSettings, make_guidance
from pipelines.prompts.encoding import PromptEncoder
from pipelines.schema.requests import GenerationRequest


@dataclass(frozen=True)
class Conditioning:
    """Rows for UNet calls: the negative ones before the positive ones, or without guidance the positive ones alone.

    `prompt_embeds`: (rows, 77*k, width); `text_embeds`: (rows, projection), pooled; `time_ids`: (rows, 6),
    or (rows, 5) for the refiner, whose last number is the aesthetic score instead of the target size.
    """

    prompt_embeds: torch.Tensor
    text_embeds: torch.Tensor
    time_ids: torch.Tensor
    guidance: GuidanceSettings

    def last(self, rows: int) -> dict[str, Any]:
        """The UNet's arguments for the last `rows` rows, as views: all of them, or the positive ones."""
        return {
            "encoder_hidden_states": self.prompt_embeds[-rows:],
            "added_cond_kwargs": {"text_embeds": self.text_embeds[-rows:], "time_ids": self.time_ids[-rows:]},
        }


def make_conditioning(expert: Expert, encoder: PromptEncoder, request: GenerationRequest) -> Conditioning:
    """Encodes the request's prompts and sizes for one expert, repeated for each of its pictures."""
    prompt_embeds, text_embeds = encoder.encode_pair(
        request.prompt, request.negative_prompt, request.prompt_2, request.negative_prompt_2
    )
    time_ids = make_time_ids(expert, request).to(device=expert.device, dtype=prompt_embeds.dtype)
    if request.guidance_scale <= 1:
        prompt_embeds, text_embeds, time_ids = prompt_embeds[1:], text_embeds[1:], time_ids[1:]
    count = request.num_images_per_prompt
    return Conditioning(
        prompt_embeds=prompt_embeds.repeat_interleave(count, dim=0),
        text_embeds=text_embeds.repeat_interleave(count, dim=0),
        time_ids=time_ids.repeat_interleave(count, dim=0),
        guidance=make_guidance(request),
    )


def make_time_ids(expert: Expert, request: GenerationRequest) -> torch.Tensor:
    """Micro-conditioning, (2, 6) or (2, 5), negative row first (SDXL, arXiv:2307.01952, section 2.2).

    `original_size` and `target_size` are (height, width) and follow the picture's size unless set. The negative
    ones follow the positive ones; but, as in diffusers, what a refiner moves away from is not cropped.
    """
    width, height = request.size
    original_size = request.original_size or (height, width)
    target_size = request.target_size or (height, width)
    crop = request.crops_coords_top_left
    negative_original_size = request.negative_original_size or original_size
    negative_target_size = request.negative_target_size or target_size
    negative_crop = request.negative_crops_coords_top_left
    if expert.requires_aesthetics_score:
        negative = [*negative_original_size, *(negative_crop or (0, 0)), request.negative_aesthetic_score]
        return torch.tensor([negative, [*original_size, *crop, request.aesthetic_score]])
    negative = [*negative_original_size, *(negative_crop or crop), *negative_target_size]
    return torch.tensor([negative, [*original_size, *crop, *target_size]])
