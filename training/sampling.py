"""Draw pictures with diffusers' own SDXL pipelines from components in memory, one by one or in lanes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from training.diffusion import NOISE_SCHEDULE
from training.lanes import Lanes
from training.pictures import Pixels

BATCH = 10
# The diffusers pipelines' types are too loose for a checker.
Pipeline = Any


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


def sibling(pipeline: Pipeline, kind: Callable[..., Pipeline] | None = None) -> Pipeline:
    """Build another pipeline (of another kind, if one is given) of the same modules, to be used beside the first.

    Scheduler and tokenizers are its own: both hold state, a tokenizer its last call's padding.
    """
    names = ("force_zeros_for_empty_prompt", "requires_aesthetics_score")
    flags = {name: pipeline.config[name] for name in names if name in pipeline.config}
    own = {name: copy.deepcopy(pipeline.components[name]) for name in ("tokenizer", "tokenizer_2")}
    made = (kind or type(pipeline))(**{**pipeline.components, **own, "scheduler": make_scheduler()}, **flags)
    made.set_progress_bar_config(disable=True)
    return made


def sample(
    pipeline: StableDiffusionXLPipeline,
    prompts: list[str],
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
    return to_pixels(
        call(
            pipeline,
            {"prompt": prompts},
            range(seed, seed + len(prompts)),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            width=width,
            height=height,
            **settings,
        )
    )


def call(
    pipeline: Pipeline, rows: Mapping[str, Any], seeds: Sequence[int], autocast: bool = True, **settings: Any
) -> Any:
    """Call a pipeline for one batch: `rows` has each picture's own arguments; picture k is drawn by `seeds[k]`.

    Returns (batch, height, width, 3), 0..1, or what `output_type` asks for.
    """
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    with torch.autocast(pipeline.device.type, torch.bfloat16, enabled=autocast):
        return pipeline(**rows, generator=generators, **{"output_type": "np", **settings}).images


def call_in_lanes(
    pipeline: Pipeline, lanes: Lanes, rows: Mapping[str, Any], seeds: Sequence[int], **settings: Any
) -> list[Any]:
    """Call a pipeline for any number of pictures: batches of ten, some of them side by side; returns each batch's."""

    def draw_part(part: slice) -> list[Any]:
        own = sibling(pipeline)
        starts = range(part.start, part.stop, BATCH)
        batches = [slice(start, min(start + BATCH, part.stop)) for start in starts]
        return [
            call(own, {name: values[batch] for name, values in rows.items()}, seeds[batch], **settings)
            for batch in batches
        ]

    return [batch for part in lanes.run(draw_part, len(seeds)) for batch in part]


def to_pixels(pictures: Any) -> Pixels:
    """Turn (batch, height, width, 3), 0..1, into uint8."""
    return (np.asarray(pictures) * 255).round().astype("uint8")
