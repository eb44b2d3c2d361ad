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
from PIL import Image, ImageDraw

from pipelines.components.expert import Expert
from pipelines.diffusion.schedulers import SCHEDULERS, make_overrides
from pipelines.schema.requests import (
    GenerationRequest,
    ImageToImageRequest,
    InpaintRequest,
    RefineRequest,
    TextToImageRequest,
    make_request,
)
from pipelines.schema.schedulers import SCHEDULER_NAMES
from tests.pipelines.demo_experts import Experts, draw, load_demo_experts, load_inpainting_experts

SEED = 7
PROMPTS = {"prompt": "a fox on a blue background", "negative_prompt": "blurry"}
SIZE = {"width": 96, "height": 128}
SHARED: dict[str, Any] = {**PROMPTS, **SIZE, "num_inference_steps": 4, "guidance_scale": 5.0}
PICTURE_SHARED = {name: value for name, value in SHARED.items() if name not in SIZE}
SAMPLINGS = {
    "euler": {"scheduler": "euler"},
    "euler_ancestral": {"scheduler": "euler_ancestral"},
    "dpmpp_2m_karras": {"scheduler": "dpmpp_2m", "sigmas": "karras"},
    "heun": {"scheduler": "heun"},
}
"""Of each kind one: first order, one that draws noise, one that remembers steps, one of two UNet calls a step."""

each_sampling = pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)


@pytest.fixture(scope="module")
def experts() -> Experts:
    return load_demo_experts()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = Image.new("RGB", (SIZE["width"], SIZE["height"]), (60, 110, 220))
    ImageDraw.Draw(image).ellipse((16, 32, 80, 96), fill=(250, 210, 60))
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    image.save(path)
    return path


@pytest.fixture(scope="module")
def mask(picture: Path) -> Path:
    image = Image.new("L", (SIZE["width"], SIZE["height"]))
    ImageDraw.Draw(image).rectangle((20, 0, 60, 90), fill=255)
    path = picture.with_name("mask.png")
    image.save(path)
    return path


@pytest.fixture(scope="module")
def inpaint_values(picture: Path, mask: Path) -> dict[str, Any]:
    return {"image": picture, "mask_image": mask, "mask_feather": 0}


@pytest.fixture(scope="module")
def stock_inpaint_values(picture: Path, mask: Path) -> dict[str, Any]:
    return {"image": Image.open(picture), "mask_image": Image.open(mask)}


def ask(request_class: type[GenerationRequest], **values: Any) -> GenerationRequest:
    return make_request(request_class, {**SHARED, "seed": SEED, **values})


def make_pipeline(pipeline_class: Any, expert: Expert, sampling: dict[str, str]) -> Any:
    request = ask(TextToImageRequest, **sampling)
    scheduler = SCHEDULERS[request.scheduler][0].from_config(expert.scheduler_config, **make_overrides(request))
    options = {"requires_aesthetics_score": True} if expert.requires_aesthetics_score else {}
    pipeline = pipeline_class(
        vae=expert.vae,
        text_encoder=expert.text_encoder,
        text_encoder_2=expert.text_encoder_2,
        tokenizer=expert.tokenizer,
        tokenizer_2=expert.tokenizer_2,
        unet=expert.unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=expert.force_zeros_for_empty_prompt,
        add_watermarker=False,
        **options,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_generator() -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(SEED)]


def call(pipeline: Any, **values: Any) -> Any:
    values = {"generator": make_generator(), **values}
    shared = PICTURE_SHARED if pipeline.__class__ is StableDiffusionXLImg2ImgPipeline else SHARED
    return pipeline(**{**shared, **values}).images


def draw_stock(pipeline: Any, **values: Any) -> np.ndarray:
    return np.asarray(call(pipeline, **values)[0])


def draw_stock_ensemble(base: Any, refiner: Any, share: float, shared: Any = None, handed: Any = None) -> np.ndarray:
    """Two calls with one generator: latents of the first, finished by the second."""
    values = {"generator": make_generator(), **(shared or {})}
    latents = call(base, **values, denoising_end=share, output_type="latent")
    values = {"generator": values["generator"], "num_inference_steps": values.get("num_inference_steps", 4)}
    return draw_stock(refiner, **values, **(handed or {}), image=latents, denoising_start=share)


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
def test_text_to_image_has_the_pixels_of_diffusers(experts: Experts, scheduler: str) -> None:
    ours = draw(ask(TextToImageRequest, scheduler=scheduler))
    pipeline = make_pipeline(StableDiffusionXLPipeline, experts["base"], {"scheduler": scheduler})
    eta = {"eta": 0.3} if scheduler == "tcd" else {}  # the scheduler's own; a pipeline says 0 unless told
    assert np.array_equal(ours, draw_stock(pipeline, **eta))


def test_karras_sigmas_have_the_pixels_of_diffusers(experts: Experts) -> None:
    sampling = SAMPLINGS["dpmpp_2m_karras"]
    ours = draw(ask(TextToImageRequest, **sampling))
    assert np.array_equal(ours, draw_stock(make_pipeline(StableDiffusionXLPipeline, experts["base"], sampling)))
    assert not np.array_equal(ours, draw(ask(TextToImageRequest, scheduler="dpmpp_2m")))


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_no_negative_prompt_has_the_pixels_of_diffusers(experts: Experts, guidance_scale: float) -> None:
    pipeline = make_pipeline(StableDiffusionXLPipeline, experts["base"], {})
    ours = draw(ask(TextToImageRequest, guidance_scale=guidance_scale, negative_prompt=""))
    assert np.array_equal(ours, draw_stock(pipeline, guidance_scale=guidance_scale, negative_prompt=None))


@pytest.mark.parametrize("sampling", [SAMPLINGS["euler"], SAMPLINGS["heun"]], ids=["euler", "heun"])
def test_guidance_rescale_has_the_pixels_of_diffusers(experts: Experts, sampling: dict[str, str]) -> None:
    values = {"guidance_rescale": 0.7, "guidance_scale": 9.0}
    ours = draw(ask(TextToImageRequest, **sampling, **values))
    pipeline = make_pipeline(StableDiffusionXLPipeline, experts["base"], sampling)
    assert np.array_equal(ours, draw_stock(pipeline, **values))
    assert not np.array_equal(ours, draw(ask(TextToImageRequest, **sampling, guidance_scale=9.0)))


SIZES = {"original_size": (128, 96), "crops_coords_top_left": (32, 16), "target_size": (192, 256)}
NEGATIVE_SIZES = {
    "negative_original_size": (64, 64),
    "negative_crops_coords_top_left": (8, 24),
    "negative_target_size": (96, 128),
}


@pytest.mark.parametrize("sizes", [SIZES, {**SIZES, **NEGATIVE_SIZES}, NEGATIVE_SIZES], ids=["own", "both", "negative"])
def test_micro_conditioning_has_the_pixels_of_diffusers(experts: Experts, sizes: dict[str, Any]) -> None:
    ours = draw(ask(TextToImageRequest, **sizes))
    assert np.array_equal(ours, draw_stock(make_pipeline(StableDiffusionXLPipeline, experts["base"], {}), **sizes))
    assert not np.array_equal(ours, draw(ask(TextToImageRequest)))


def test_second_prompts_have_the_pixels_of_diffusers(experts: Experts) -> None:
    prompts = {"prompt_2": "a red bicycle", "negative_prompt_2": "a hat"}
    ours = draw(ask(TextToImageRequest, **prompts))
    assert np.array_equal(ours, draw_stock(make_pipeline(StableDiffusionXLPipeline, experts["base"], {}), **prompts))
    assert not np.array_equal(ours, draw(ask(TextToImageRequest)))


def test_skipping_layers_of_the_text_encoders_has_the_pixels_of_diffusers(experts: Experts) -> None:
    ours = draw(ask(TextToImageRequest, clip_skip=1, negative_prompt=""))
    pipeline = make_pipeline(StableDiffusionXLPipeline, experts["base"], {})
    assert np.array_equal(ours, draw_stock(pipeline, clip_skip=1, negative_prompt=None))
    assert not np.array_equal(ours, draw(ask(TextToImageRequest, negative_prompt="")))


@each_sampling
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_image_to_image_has_the_pixels_of_diffusers(
    experts: Experts, picture: Path, sampling: dict[str, str], strength: float
) -> None:
    ours = draw(ask(ImageToImageRequest, image=picture, strength=strength, **sampling))
    pipeline = make_pipeline(StableDiffusionXLImg2ImgPipeline, experts["base"], sampling)
    assert np.array_equal(ours, draw_stock(pipeline, image=Image.open(picture), strength=strength))


@each_sampling
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_inpaint_has_the_pixels_of_diffusers(
    experts: Experts,
    inpaint_values: dict[str, Any],
    stock_inpaint_values: dict[str, Any],
    sampling: dict[str, str],
    strength: float,
) -> None:
    ours = draw(ask(InpaintRequest, **inpaint_values, strength=strength, **sampling))
    pipeline = make_pipeline(StableDiffusionXLInpaintPipeline, experts["base"], sampling)
    assert np.array_equal(ours, draw_stock(pipeline, **stock_inpaint_values, strength=strength))


@each_sampling
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_inpaint_with_nine_channels_has_the_pixels_of_diffusers(
    inpaint_values: dict[str, Any], stock_inpaint_values: dict[str, Any], sampling: dict[str, str], strength: float
) -> None:
    experts = load_inpainting_experts()
    ours = draw(ask(InpaintRequest, **inpaint_values, strength=strength, **sampling), experts, "inpainting")
    pipeline = make_pipeline(StableDiffusionXLInpaintPipeline, experts["base"], sampling)
    assert np.array_equal(ours, draw_stock(pipeline, **stock_inpaint_values, strength=strength))


@pytest.mark.parametrize("load", [load_demo_experts, load_inpainting_experts])
def test_inpaint_without_guidance_has_the_pixels_of_diffusers(
    inpaint_values: dict[str, Any], stock_inpaint_values: dict[str, Any], load: Any
) -> None:
    ours = draw(ask(InpaintRequest, **inpaint_values, guidance_scale=1), load(), "inpainting")
    pipeline = make_pipeline(StableDiffusionXLInpaintPipeline, load()["base"], {})
    assert np.array_equal(ours, draw_stock(pipeline, **stock_inpaint_values, strength=1.0, guidance_scale=1.0))


@each_sampling
def test_refine_has_the_pixels_of_diffusers(experts: Experts, picture: Path, sampling: dict[str, str]) -> None:
    values = {"aesthetic_score": 7.0, "negative_aesthetic_score": 2.0, "crops_coords_top_left": (64, 32)}
    ours = draw(ask(RefineRequest, image=picture, strength=0.5, **sampling, **values))
    pipeline = make_pipeline(StableDiffusionXLImg2ImgPipeline, experts["refiner"], sampling)
    assert np.array_equal(ours, draw_stock(pipeline, image=Image.open(picture), strength=0.5, **values))


def test_refine_with_negative_sizes_has_the_pixels_of_diffusers(experts: Experts, picture: Path) -> None:
    values = {"negative_original_size": (64, 64), "negative_crops_coords_top_left": (8, 24), "strength": 0.5}
    ours = draw(ask(RefineRequest, image=picture, **values))
    pipeline = make_pipeline(StableDiffusionXLImg2ImgPipeline, experts["refiner"], {})
    assert np.array_equal(ours, draw_stock(pipeline, image=Image.open(picture), **values))


@each_sampling
def test_two_experts_have_the_pixels_of_diffusers(experts: Experts, sampling: dict[str, str]) -> None:
    ours = draw(ask(TextToImageRequest, denoising_end=0.7, num_inference_steps=5, **sampling))
    base = make_pipeline(StableDiffusionXLPipeline, experts["base"], sampling)
    refiner = make_pipeline(StableDiffusionXLImg2ImgPipeline, experts["refiner"], sampling)
    assert np.array_equal(ours, draw_stock_ensemble(base, refiner, 0.7, {"num_inference_steps": 5}))


@each_sampling
@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_two_experts_from_a_picture_have_the_pixels_of_diffusers(
    experts: Experts, picture: Path, sampling: dict[str, str], strength: float
) -> None:
    ours = draw(ask(ImageToImageRequest, image=picture, strength=strength, denoising_end=0.6, **sampling))
    base = make_pipeline(StableDiffusionXLImg2ImgPipeline, experts["base"], sampling)
    refiner = make_pipeline(StableDiffusionXLImg2ImgPipeline, experts["refiner"], sampling)
    first = {"image": Image.open(picture), "strength": strength}
    assert np.array_equal(ours, draw_stock_ensemble(base, refiner, 0.6, first))


@each_sampling
@pytest.mark.parametrize("strength", [1.0, 0.8])
def test_two_experts_inpainting_have_the_pixels_of_diffusers(
    experts: Experts,
    inpaint_values: dict[str, Any],
    stock_inpaint_values: dict[str, Any],
    sampling: dict[str, str],
    strength: float,
) -> None:
    ours = draw(ask(InpaintRequest, **inpaint_values, strength=strength, denoising_end=0.6, **sampling))
    base = make_pipeline(StableDiffusionXLInpaintPipeline, experts["base"], sampling)
    refiner = make_pipeline(StableDiffusionXLInpaintPipeline, experts["refiner"], sampling)
    first = {**stock_inpaint_values, "strength": strength}
    second = {"mask_image": stock_inpaint_values["mask_image"], **SIZE}
    assert np.array_equal(ours, draw_stock_ensemble(base, refiner, 0.6, first, second))


@each_sampling
def test_an_inpainting_model_and_a_refiner_have_the_pixels_of_diffusers(
    inpaint_values: dict[str, Any], stock_inpaint_values: dict[str, Any], sampling: dict[str, str]
) -> None:
    experts = load_inpainting_experts()
    request = ask(InpaintRequest, **inpaint_values, strength=0.9, denoising_end=0.6, **sampling)
    base = make_pipeline(StableDiffusionXLInpaintPipeline, experts["base"], sampling)
    refiner = make_pipeline(StableDiffusionXLImg2ImgPipeline, experts["refiner"], sampling)
    stock = draw_stock_ensemble(base, refiner, 0.6, {**stock_inpaint_values, "strength": 0.9})
    assert np.array_equal(draw(request, experts, "inpainting"), stock)
