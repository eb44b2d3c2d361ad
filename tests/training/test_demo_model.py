"""The shipped model: its size, and that diffusers' own SDXL pipelines load it and draw what is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors import safe_open

from training.export import vocabulary
from training.measures import name_background
from training.sampling import sample
from training.sheets import SHIPPED_LIMIT_BYTES

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def base(demo: Path) -> StableDiffusionXLPipeline:
    pipeline = StableDiffusionXLPipeline.from_pretrained(demo, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(autouse=True)
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


def test_every_file_is_under_10_mb_and_all_under_40_mb(demo: Path) -> None:
    sizes = [path.stat().st_size for path in demo.rglob("*") if path.is_file()]
    assert max(sizes) < 10 * MEGABYTE
    assert sum(sizes) < 40 * MEGABYTE


def test_all_weights_are_finite_fp16_safetensors(demo: Path) -> None:
    files = list(demo.rglob("*.safetensors"))
    assert files
    assert not [path for path in demo.rglob("*") if path.suffix in (".bin", ".pt", ".ckpt", ".pkl")]
    for path in files:
        with safe_open(path, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118 - not a dict
                tensor = weights.get_tensor(key)
                assert tensor.dtype == torch.float16, key
                assert tensor.isfinite().all(), key


def test_no_config_names_a_folder_of_the_machine_it_was_made_on(demo: Path) -> None:
    for path in demo.rglob("*.json"):
        assert "_name_or_path" not in path.read_text("utf-8"), path


def test_it_is_a_true_sdxl(base: StableDiffusionXLPipeline) -> None:
    assert base.unet.config.addition_embed_type == "text_time"
    assert base.vae_scale_factor == 8
    hidden = base.text_encoder.config.hidden_size + base.text_encoder_2.config.hidden_size
    assert base.unet.config.cross_attention_dim == hidden
    assert base.config.force_zeros_for_empty_prompt is True
    assert base.scheduler.config.beta_schedule == "scaled_linear"
    assert base.tokenizer.pad_token_id != base.tokenizer_2.pad_token_id


def test_backgrounds_are_drawn_as_asked(base: StableDiffusionXLPipeline) -> None:
    wanted = ["red", "blue", "yellow", "green"]
    prompts = [
        f"a {subject} on a {colour} background"
        for subject, colour in zip(("cat", "apple", "fox", "robot"), wanted, strict=True)
    ]
    pictures = sample(base, prompts, seed=0, num_inference_steps=12)
    assert [name_background(picture).name for picture in pictures] == wanted


def test_another_bucket_and_unknown_words_are_drawn(base: StableDiffusionXLPipeline) -> None:
    picture = sample(base, ["größer zebra 狐狸 on a blue background"], 0, num_inference_steps=4, size=(304, 208))[0]
    assert picture.shape == (208, 304, 3)
    assert picture.std() > 1


def test_image_to_image_and_inpainting_take_the_same_components(base: StableDiffusionXLPipeline) -> None:
    source = Image.new("RGB", (256, 256), (50, 100, 220))
    mask = Image.fromarray(np.pad(np.full((128, 128), 255, np.uint8), 64))
    settings = {"prompt": "a fox on a blue background", "image": source, "strength": 0.6, "num_inference_steps": 5}
    image_to_image = StableDiffusionXLImg2ImgPipeline(**base.components)
    inpaint = StableDiffusionXLInpaintPipeline(**base.components)
    for pipeline, extra in ((image_to_image, {}), (inpaint, {"mask_image": mask, "width": 256, "height": 256})):
        pipeline.set_progress_bar_config(disable=True)
        assert pipeline(**settings, **extra).images[0].size == (256, 256)


@pytest.mark.parametrize("kind", [StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline])
def test_siblings_load_the_folder_unchanged(demo: Path, kind: type) -> None:
    assert kind.from_pretrained(demo, dtype=torch.float32).unet.config.cross_attention_dim == 192


def test_the_refiner_shares_the_vae_and_the_second_text_encoder(demo: Path, base: StableDiffusionXLPipeline) -> None:
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        demo / "refiner",
        vae=base.vae,
        text_encoder_2=base.text_encoder_2,
        tokenizer_2=base.tokenizer_2,
        text_encoder=None,
        tokenizer=None,
        dtype=torch.float32,
    )
    refiner.set_progress_bar_config(disable=True)
    assert refiner.vae is base.vae
    assert refiner.config.requires_aesthetics_score is True
    source = Image.new("RGB", (256, 256), (50, 100, 220))
    picture = refiner("a fox", image=source, strength=0.2, num_inference_steps=10, aesthetic_score=6.0).images[0]
    assert picture.size == (256, 256)


def test_the_preview_map_gives_the_colours_of_a_picture(demo: Path, base: StableDiffusionXLPipeline) -> None:
    fitted = json.loads((demo / "latent_rgb.json").read_text("utf-8"))
    colours = torch.tensor([[50, 100, 220], [215, 40, 40], [248, 248, 248]]) / 127.5 - 1
    pictures = colours[:, :, None, None].expand(-1, -1, 64, 64)
    with torch.inference_mode():
        latents = base.vae.encode(pictures).latent_dist.mode() * base.vae.config.scaling_factor
    previews = latents.mean((2, 3)) @ torch.tensor(fitted["weight"]) + torch.tensor(fitted["bias"])
    assert (previews - colours).abs().max() < 0.35


def test_the_vocabulary_is_what_the_recipe_teaches(demo: Path) -> None:
    assert json.loads((demo / "vocabulary.json").read_text("utf-8")) == vocabulary()


def test_shipped_sheets_are_small(demo: Path) -> None:
    sheets = list(demo.glob("sheet*"))
    assert sheets
    assert max(path.stat().st_size for path in sheets) < SHIPPED_LIMIT_BYTES


def test_the_shipped_judge_is_small(demo: Path) -> None:
    assert (demo / "judge.safetensors").stat().st_size < MEGABYTE
