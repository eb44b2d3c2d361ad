"""What the model does with its settings: guidance, negatives, weights, strength, masks, micro-conditioning, refiner.

Each function draws a few pictures with diffusers' own pipelines and returns named figures.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from compel import CompelForSDXL
from diffusers import (
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

from training.autoencoder import encode, psnr, scaling_factor, to_tensor
from training.captions import background_phrases
from training.composed import draw_all
from training.config import Config
from training.exams import Judges, half, held_out_prompts, plain_prompt
from training.layouts import LEFT, NATIVE, PAIRED, canonical_single
from training.measures import centre, colour_share, extent, sharpness, subject_mask
from training.pictures import Layout, Pixels, Placement
from training.sampling import make_scheduler, sample
from training.subjects import COLOURS, Background

SWITCH = 0.8
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
WEIGHTS = (0.4, 0.7, 1.0, 1.3, 1.6)
# The diffusers pipelines' types are too loose for a checker.
Pipeline = Any
Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """The loaded model, the judges and how many pictures each figure is made of."""

    base: StableDiffusionXLPipeline
    refiner: StableDiffusionXLImg2ImgPipeline
    judges: Judges
    config: Config

    @property
    def count(self) -> int:
        """Pictures per figure."""
        return self.config.evaluate.pictures_of_an_ability

    @property
    def steps(self) -> int:
        """Steps of every picture."""
        return self.config.evaluate.num_inference_steps

    def draw(self, prompts: list[str], guidance_scale: float = 5.0, **settings: Any) -> Pixels:
        """Draw one picture per prompt, by the configured seed and steps."""
        return sample(self.base, prompts, self.config.evaluate.seed, self.steps, guidance_scale, **settings)

    def sibling(self, kind: Callable[..., Pipeline]) -> Pipeline:
        """Build another pipeline of the same components, with a scheduler of its own."""
        pipeline = kind(**{**self.base.components, "scheduler": make_scheduler()})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def measure_guidance(bench: Bench) -> Figures:
    """Subjects right at guidance 1 and 5."""
    pairs = held_out_prompts(bench.config, bench.count)
    prompts = [plain_prompt(*pair) for pair in pairs]
    figures = {}
    for scale in (1.0, 5.0):
        names = bench.judges.names(bench.draw(prompts, scale))
        right = [name == pair[0] for name, pair in zip(names, pairs, strict=True)]
        figures[f"subject_percent_at_guidance_{scale:.0f}"] = round(100 * float(np.mean(right)), 1)
    return figures


def measure_negative_prompt(bench: Bench) -> Figures:
    """Share of each picture in a colour, without and with that colour's background as negative prompt."""
    colours = ("red", "green", "blue", "yellow")
    prompts = ["a fox", "a cat", "a car", "a house", "a tree", "an apple"]
    shares = {"without": 0.0, "with": 0.0}
    for colour in colours:
        for key, negative in (("without", None), ("with", f"{colour} background")):
            extra: dict[str, Any] = {} if negative is None else {"negative_prompt": [negative] * len(prompts)}
            pictures = bench.draw(prompts, **extra)
            shares[key] += float(np.mean([colour_share(picture, COLOURS[colour]) for picture in pictures]))
    return {f"named_colour_percent_{key}_negative": round(100 * value / 4, 2) for key, value in shares.items()}


def measure_weights(bench: Bench) -> Figures:
    """Extent of the subject by the weight of "large", in compel's grammar."""
    compel = CompelForSDXL(bench.base)
    subjects = ("fox", "cat", "car", "apple", "house", "star", "frog", "robot")[: max(2, bench.count // 4)]
    background = Background("plain", "blue")
    extents = []
    for weight in WEIGHTS:
        encoded = compel([f"a (large){weight} {subject} on a blue background" for subject in subjects])
        pictures = sample(
            bench.base,
            None,
            bench.config.evaluate.seed,
            bench.steps,
            prompt_embeds=encoded.embeds,
            pooled_prompt_embeds=encoded.pooled_embeds,
        )
        extents.append(round(float(np.mean([extent(subject_mask(p, background)) for p in pictures])), 3))
    return {"weights": list(WEIGHTS), "extent_by_weight_of_large": extents}


def measure_strength(bench: Bench) -> Figures:
    """Mean distance from the source, in grey levels, by image-to-image strength."""
    source = _composed(bench, ["fox", "car", "apple", "house"], "blue")
    prompts = [f"{text} on a red background" for text in ("a cat", "a ship", "a pear", "a castle")]
    pipeline = bench.sibling(StableDiffusionXLImg2ImgPipeline)
    distances, shown = [], []
    for strength in STRENGTHS:
        pictures = _run(bench, pipeline, prompts, image=source, strength=strength)
        distances.append(round(float(np.abs(pictures.astype(float) - source).mean()), 2))
        shown.append(pictures)
    return {
        "strengths": list(STRENGTHS),
        "distance_by_strength": distances,
        "_image_to_image": np.concatenate([source, *shown]),
    }


def measure_inpainting(bench: Bench) -> Figures:
    """Cats seen in the right half, painted beside a subject that stands on the left."""
    colours = list(COLOURS)
    backgrounds = [Background("plain", colours[index % len(colours)]) for index in range(bench.count)]
    subjects = [("apple", "car", "star", "house", "frog")[index % 5] for index in range(bench.count)]
    layouts = [
        Layout(*NATIVE, background, (Placement(subject, LEFT, 0.5, PAIRED),))
        for subject, background in zip(subjects, backgrounds, strict=True)
    ]
    source = np.concatenate(list(draw_all(layouts, bench.judges.sprites)))
    width, height = NATIVE
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    prompts = [f"a cat on the right {background_phrases(background)[0]}" for background in backgrounds]
    pipeline = bench.sibling(StableDiffusionXLInpaintPipeline)
    extra = {"mask_image": [Image.fromarray(mask)] * len(prompts), "width": width, "height": height}
    pictures = _run(bench, pipeline, prompts, image=source, strength=1.0, **extra)
    seen = bench.judges.names(half(pictures, width // 2))
    percent = round(100 * float(np.mean([name == "cat" for name in seen])), 1)
    return {"inpainted_cat_percent": percent, "_inpaint": np.concatenate([source, pictures])}


def measure_micro_conditioning(bench: Bench) -> Figures:
    """Sharpness by original size, and the subject's middle by crop."""
    prompts = [plain_prompt(*pair) for pair in held_out_prompts(bench.config, bench.count, plain=True, seed=6)]
    backgrounds = [pair[1] for pair in held_out_prompts(bench.config, bench.count, plain=True, seed=6)]
    sharp = {}
    for side in (64, 256, 1024):
        pictures = bench.draw(prompts, original_size=(side, side))
        sharp[str(side)] = round(float(np.mean([sharpness(picture) for picture in pictures])), 2)
    middles = {}
    for crop in ((0, 0), (0, 64), (64, 0)):
        pictures = bench.draw(prompts, crops_coords_top_left=crop)
        places = [centre(subject_mask(p, background)) for p, background in zip(pictures, backgrounds, strict=True)]
        middles[f"{crop[0]},{crop[1]}"] = [round(value, 3) for value in np.mean(places, 0).tolist()]
    return {"sharpness_by_original_size": sharp, "middle_by_crop": middles}


def measure_refiner(bench: Bench) -> Figures:
    """Base alone against base and refiner switched at 0.8, at the same number of steps.

    Sharpness of pictures drawn from noise, and PSNR of clean pictures that were noised to the switch and denoised.
    """
    pairs = held_out_prompts(bench.config, bench.count, seed=7)
    prompts = [plain_prompt(*pair) for pair in pairs]
    alone = bench.draw(prompts)
    pipeline: Pipeline = bench.base
    latents = pipeline(
        prompts,
        num_inference_steps=bench.steps,
        guidance_scale=5.0,
        denoising_end=SWITCH,
        output_type="latent",
        width=NATIVE[0],
        height=NATIVE[1],
        generator=_generators(bench, len(prompts)),
    ).images
    with_refiner = _finish(bench, bench.refiner, prompts, latents)
    clean = np.concatenate(list(draw_all([canonical_single(*pair) for pair in pairs], bench.judges.sprites)))
    noised = _noised(bench, clean)
    restored = {
        "base": _finish(bench, bench.sibling(StableDiffusionXLImg2ImgPipeline), prompts, noised),
        "refiner": _finish(bench, bench.refiner, prompts, noised),
    }
    target = to_tensor(clean)
    return {
        "sharpness_base_alone": round(float(np.mean([sharpness(p) for p in alone])), 2),
        "sharpness_with_refiner": round(float(np.mean([sharpness(p) for p in with_refiner])), 2),
        **{f"psnr_finished_by_{name}": round(psnr(to_tensor(p), target), 2) for name, p in restored.items()},
        "_refined": np.stack([alone, with_refiner], 1).reshape(-1, *alone.shape[1:]),
    }


def measure_time_and_precision(bench: Bench) -> Figures:
    """Seconds of one picture, wall and processor, and the mean difference of fp32 and bf16 in grey levels."""
    prompts = [
        "a fox on a blue background",
        "a castle at sunset",
        "a red car on a white background",
        "a cat in the snow",
    ]
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.monotonic()
    bench.draw(prompts[:1])
    seconds = time.monotonic() - started
    processor = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    full = bench.draw(prompts, autocast=False)
    pipeline: Pipeline = bench.base
    pipeline.to(dtype=torch.bfloat16)
    low = bench.draw(prompts, autocast=False)
    pipeline.to(dtype=torch.float32)
    difference = float(np.abs(full.astype(float) - low.astype(float)).mean())
    return {
        "picture_seconds": round(seconds, 2),
        "picture_processor_seconds": round(processor, 2),
        "bf16_difference": round(difference, 2),
    }


def _run(bench: Bench, pipeline: Pipeline, prompts: list[str], image: Pixels, **settings: Any) -> Pixels:
    sources = [Image.fromarray(picture) for picture in image]
    with torch.autocast(bench.base.device.type, torch.bfloat16):
        pictures = pipeline(
            prompts,
            image=sources,
            num_inference_steps=bench.steps,
            guidance_scale=5.0,
            output_type="np",
            generator=_generators(bench, len(prompts)),
            **settings,
        ).images
    return (pictures * 255).round().astype("uint8")


def _finish(bench: Bench, pipeline: Pipeline, prompts: list[str], latents: torch.Tensor) -> Pixels:
    """Do the last fifth of the schedule."""
    with torch.autocast(bench.base.device.type, torch.bfloat16):
        pictures = pipeline(
            prompts,
            image=latents,
            num_inference_steps=bench.steps,
            denoising_start=SWITCH,
            guidance_scale=5.0,
            output_type="np",
            generator=_generators(bench, len(prompts)),
        ).images
    return (pictures * 255).round().astype("uint8")


@torch.inference_mode()
def _noised(bench: Bench, pictures: Pixels) -> torch.Tensor:
    """Encode pictures and add the noise that is left at the switch: what the base hands to the refiner."""
    vae = cast(Any, bench.base.vae)
    latents = encode(vae, to_tensor(pictures).to(vae.device)) * scaling_factor(vae)
    scheduler: Any = make_scheduler()
    scheduler.set_timesteps(bench.steps)
    last = scheduler.config.num_train_timesteps * (1 - SWITCH)
    index = int((scheduler.timesteps >= last).sum())
    noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(bench.config.evaluate.seed))
    return latents + noise.to(latents.device) * scheduler.sigmas[index]


def _generators(bench: Bench, count: int) -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(bench.config.evaluate.seed + index) for index in range(count)]


def _composed(bench: Bench, subjects: list[str], colour: str) -> Pixels:
    layouts = [canonical_single(subject, Background("plain", colour)) for subject in subjects]
    return np.concatenate(list(draw_all(layouts, bench.judges.sprites)))


ABILITIES: tuple[Callable[[Bench], Figures], ...] = (
    measure_guidance,
    measure_negative_prompt,
    measure_weights,
    measure_strength,
    measure_inpainting,
    measure_micro_conditioning,
    measure_refiner,
    measure_time_and_precision,
)


def load_bench(model: Path, judges: Judges, config: Config, device: torch.device) -> Bench:
    """Load the exported folder as anyone would: the base, and the refiner beside it."""
    base = StableDiffusionXLPipeline.from_pretrained(model, dtype=torch.float32).to(device)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        model / "refiner",
        vae=base.vae,
        text_encoder_2=base.text_encoder_2,
        tokenizer_2=base.tokenizer_2,
        text_encoder=None,
        tokenizer=None,
        dtype=torch.float32,
    ).to(device)
    for pipeline in (base, refiner):
        pipeline.set_progress_bar_config(disable=True)
    return Bench(base, refiner, judges, config)
