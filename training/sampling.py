"""Draw pictures with diffusers' own SDXL pipeline from components in memory."""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from training.diffusion import NOISE_SCHEDULE
from training.pictures import Pixels


def make_scheduler() -> EulerDiscreteScheduler:
    """Build SDXL's scheduler, with SDXL's own settings."""
    return EulerDiscreteScheduler(
        **NOISE_SCHEDULE,
        prediction_type="epsilon",
        timestep_spacing="leading",
        steps_offset=1,
        interpolation_type="linear",
    )


def make_pipeline(
    vae: AutoencoderKL,
    text_encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection],
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer],
    unet: UNet2DConditionModel,
) -> StableDiffusionXLPipeline:
    """Put components together as SDXL's base pipeline."""
    scheduler: Any = make_scheduler()
    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=text_encoders[0],
        text_encoder_2=text_encoders[1],
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(
    pipeline: StableDiffusionXLPipeline,
    prompts: list[str] | None,
    seed: int,
    num_inference_steps: int = 20,
    guidance_scale: float = 5.0,
    **settings: Any,
) -> Pixels:
    """Draw one picture per prompt with seeds `seed`, `seed + 1`, ...

    `settings` go to the pipeline, but for `size`, which is (width, height), and `autocast`, which chooses bf16
    arithmetic where it is safe. Returns (prompts, height, width, 3) uint8.
    """
    width, height = settings.pop("size", (256, 256))
    autocast = settings.pop("autocast", True)
    count = len(settings["prompt_embeds"] if prompts is None else prompts)
    generators = [torch.Generator("cpu").manual_seed(seed + index) for index in range(count)]
    with torch.autocast(pipeline.device.type, torch.bfloat16, enabled=autocast):
        pictures = cast(Any, pipeline)(
            prompts,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            width=width,
            height=height,
            generator=generators,
            output_type="np",
            **settings,
        ).images
    return (pictures * 255).round().astype("uint8")
