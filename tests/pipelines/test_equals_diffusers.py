"""Stock diffusers, called by hand with the same components, is the oracle: the pixels are identical."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

from pipelines.components.expert import Expert
from pipelines.diffusion.schedulers import SCHEDULERS
from pipelines.manager import PipelineManager
from pipelines.schema.requests import (
    ImageToImageRequest,
    InpaintRequest,
    RefineRequest,
    TextToImageRequest,
    make_request,
)

SEED = 7
SHARED = {
    "prompt": "a fox on a blue background",
    "negative_prompt": "blurry",
    "num_inference_steps": 6,
    "guidance_scale": 5.0,
}
FEW_SCHEDULERS = ("euler", "euler_ancestral", "ddim", "dpmpp_2m_karras")


def make_pipeline(pipeline_class: Any, expert: Expert, scheduler_name: str) -> Any:
    scheduler_class, overrides = SCHEDULERS[scheduler_name]
    options = {"requires_aesthetics_score": True} if expert.requires_aesthetics_score else {}
    pipeline = pipeline_class(
        vae=expert.vae,
        text_encoder=expert.text_encoder,
        text_encoder_2=expert.text_encoder_2,
        tokenizer=expert.tokenizer,
        tokenizer_2=expert.tokenizer_2,
        unet=expert.unet,
        scheduler=scheduler_class.from_config(expert.scheduler_config, **overrides),
        force_zeros_for_empty_prompt=expert.force_zeros_for_empty_prompt,
        add_watermarker=False,
        **options,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(manager: PipelineManager, request_class: Any, **values: Any) -> np.ndarray:
    request = make_request(request_class, {**SHARED, "seed": SEED, **values})
    file = manager.submit(request).result(timeout=120).files[0]
    return np.asarray(Image.open(file))


def draw_stock(pipeline: Any, **values: Any) -> np.ndarray:
    generator = torch.Generator("cpu").manual_seed(SEED)
    return np.asarray(pipeline(**{**SHARED, **values}, generator=[generator]).images[0])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_text_to_image_has_the_pixels_of_diffusers(manager: PipelineManager, base: Expert, scheduler: str) -> None:
    ours = draw(manager, TextToImageRequest, scheduler=scheduler, width=208, height=304)
    stock = draw_stock(make_pipeline(StableDiffusionXLPipeline, base, scheduler), width=208, height=304)
    assert np.array_equal(ours, stock)


def test_text_to_image_without_guidance_or_negative_prompt_has_the_pixels_of_diffusers(
    manager: PipelineManager, base: Expert
) -> None:
    pipeline = make_pipeline(StableDiffusionXLPipeline, base, "euler")
    assert np.array_equal(
        draw(manager, TextToImageRequest, guidance_scale=1, negative_prompt=""),
        draw_stock(pipeline, guidance_scale=1.0, negative_prompt=None, width=256, height=256),
    )
    assert np.array_equal(
        draw(manager, TextToImageRequest, negative_prompt=""),
        draw_stock(pipeline, negative_prompt=None, width=256, height=256),
    )


def test_size_conditioning_has_the_pixels_of_diffusers(manager: PipelineManager, base: Expert) -> None:
    sizes = {"original_size": (128, 96), "crops_coords_top_left": (32, 16), "target_size": (192, 256)}
    ours = draw(manager, TextToImageRequest, **sizes)
    stock = draw_stock(make_pipeline(StableDiffusionXLPipeline, base, "euler"), width=256, height=256, **sizes)
    plain = draw(manager, TextToImageRequest)
    assert np.array_equal(ours, stock)
    assert not np.array_equal(ours, plain)


@pytest.mark.parametrize("scheduler", FEW_SCHEDULERS)
def test_image_to_image_has_the_pixels_of_diffusers(
    manager: PipelineManager, base: Expert, picture: Path, scheduler: str
) -> None:
    ours = draw(manager, ImageToImageRequest, image=picture, strength=0.7, scheduler=scheduler)
    pipeline = make_pipeline(StableDiffusionXLImg2ImgPipeline, base, scheduler)
    assert np.array_equal(ours, draw_stock(pipeline, image=Image.open(picture), strength=0.7))


@pytest.mark.parametrize("scheduler", FEW_SCHEDULERS)
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_inpaint_has_the_pixels_of_diffusers_under_the_mask(
    manager: PipelineManager, base: Expert, picture: Path, mask: Path, scheduler: str, strength: float
) -> None:
    values = {"strength": strength, "width": 256, "height": 256}
    ours = draw(manager, InpaintRequest, image=picture, mask_image=mask, mask_feather=0, scheduler=scheduler, **values)
    pipeline = make_pipeline(StableDiffusionXLInpaintPipeline, base, scheduler)
    stock = draw_stock(pipeline, image=Image.open(picture), mask_image=Image.open(mask), **values)
    masked = np.asarray(Image.open(mask)) == 255
    assert np.array_equal(ours[masked], stock[masked])
    assert np.array_equal(ours[~masked], np.asarray(Image.open(picture))[~masked])


def test_inpaint_without_guidance_has_the_pixels_of_diffusers_under_the_mask(
    manager: PipelineManager, base: Expert, picture: Path, mask: Path
) -> None:
    values = {"guidance_scale": 1.0, "width": 256, "height": 256, "strength": 1.0}
    ours = draw(manager, InpaintRequest, image=picture, mask_image=mask, mask_feather=0, **values)
    pipeline = make_pipeline(StableDiffusionXLInpaintPipeline, base, "euler")
    stock = draw_stock(pipeline, image=Image.open(picture), mask_image=Image.open(mask), **values)
    masked = np.asarray(Image.open(mask)) == 255
    assert np.abs(ours[masked].astype(int) - stock[masked]).max() <= 1


@pytest.mark.parametrize("scheduler", FEW_SCHEDULERS)
def test_refine_has_the_pixels_of_diffusers(
    manager: PipelineManager, refiner: Expert, picture: Path, scheduler: str
) -> None:
    scores = {"aesthetic_score": 7.0, "negative_aesthetic_score": 2.0, "crops_coords_top_left": (64, 32)}
    ours = draw(manager, RefineRequest, image=picture, strength=0.5, scheduler=scheduler, **scores)
    pipeline = make_pipeline(StableDiffusionXLImg2ImgPipeline, refiner, scheduler)
    assert np.array_equal(ours, draw_stock(pipeline, image=Image.open(picture), strength=0.5, **scores))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_two_experts_have_the_pixels_of_diffusers(
    manager: PipelineManager, base: Expert, refiner: Expert, scheduler: str
) -> None:
    ours = draw(manager, TextToImageRequest, denoising_end=0.7, num_inference_steps=10, scheduler=scheduler)
    first = make_pipeline(StableDiffusionXLPipeline, base, scheduler)
    second = make_pipeline(StableDiffusionXLImg2ImgPipeline, refiner, scheduler)
    generator = [torch.Generator("cpu").manual_seed(SEED)]
    shared = {**SHARED, "num_inference_steps": 10, "generator": generator}
    latents = first(**shared, width=256, height=256, denoising_end=0.7, output_type="latent").images
    stock = np.asarray(second(**shared, image=latents, denoising_start=0.7).images[0])
    assert np.array_equal(ours, stock)
