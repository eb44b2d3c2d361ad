"""Measure the exported model on prompts whose subject and background were never seen together.

`python -m training.evaluate` loads the exported folder as anyone would, draws the held-out prompts, and asks two
judges: the edge judge for the subject, and the border's median colours for the background.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from PIL import Image

from training.autoencoder import decode, encode, psnr, to_tensor
from training.captions import background_phrases, with_article
from training.card import write_card
from training.checkpoint import load_checkpoint
from training.config import Config, EvaluateConfig
from training.fit_preview import composed_pictures
from training.judge import Judge, load_judge, name_subjects
from training.layouts import NATIVE, SUBJECT_NAMES, held_out_pairs
from training.pictures import Pixels, Scenery, draw_background
from training.sampling import sample
from training.sheets import save_grid
from training.subjects import BACKGROUNDS, Background

logger = logging.getLogger(__name__)

BATCH = 10
BORDER = 10
BANDS = 8
SHEET_COLUMNS = 8
SHEET_PICTURES = 32
SHEET_SIDE = 128
PAIR_PROMPTS = 20


@dataclass(frozen=True)
class HeldOutPrompt:
    """A prompt with what must be seen in its picture."""

    subject: str
    background: Background
    prompt: str


def held_out_prompts(config: Config) -> list[HeldOutPrompt]:
    """Choose held-out pairs without repetition, each said in the first, plainest way."""
    pairs = held_out_pairs(config.data.held_out_percent)
    rng = np.random.default_rng(config.evaluate.seed)
    chosen = [pairs[index] for index in rng.permutation(len(pairs))[: config.evaluate.prompts]]
    return [
        HeldOutPrompt(subject, background, f"{with_article(subject)} {background_phrases(background)[0]}")
        for subject, background in chosen
    ]


def border_profile(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Median colour of the left and right border in each of eight bands from top to bottom: (8, 3), 0..255."""
    sides = np.concatenate([pixels[:, :BORDER], pixels[:, -BORDER:]], axis=1).astype(np.float32)
    return np.stack([np.median(band.reshape(-1, 3), axis=0) for band in np.array_split(sides, BANDS)])


def name_background(pixels: Pixels) -> Background:
    """Name the background whose own border is nearest to the picture's."""
    profile = border_profile(pixels)
    width, height = NATIVE
    distances = [
        np.abs(border_profile(draw_background(background, width, height, Scenery())) - profile).mean()
        for background in BACKGROUNDS
    ]
    return BACKGROUNDS[int(np.argmin(distances))]


def draw_prompts(pipeline: StableDiffusionXLPipeline, prompts: list[str], settings: EvaluateConfig) -> Pixels:
    """Draw one native picture per prompt, in batches."""
    pictures = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        steps, scale = settings.num_inference_steps, settings.guidance_scale
        pictures.append(sample(pipeline, batch, settings.seed + start, steps, scale))
        logger.info("evaluate: %d of %d pictures", start + len(batch), len(prompts))
    return np.concatenate(pictures)


def pair_prompts(seed: int) -> list[tuple[str, str, str]]:
    """Choose prompts of two subjects: left, right, prompt."""
    rng = np.random.default_rng(seed)
    chosen = []
    for _ in range(PAIR_PROMPTS):
        left, right = (SUBJECT_NAMES[index] for index in rng.choice(len(SUBJECT_NAMES), 2, replace=False))
        background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
        phrase = background_phrases(background)[0]
        chosen.append((left, right, f"{with_article(left)} and {with_article(right)} {phrase}"))
    return chosen


def evaluate(config: Config, work: Path, model: Path, device: torch.device) -> dict[str, float]:
    """Measure the model folder, write its card, figures and sheet, and return the figures."""
    judge, judge_accuracy = load_judge(work)
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, dtype=torch.float32).to(device)
    pipeline.set_progress_bar_config(disable=True)
    figures = {
        "steps": config.evaluate.num_inference_steps,
        "guidance": config.evaluate.guidance_scale,
        "judge_subject_percent": _percent(judge_accuracy["subject"]),
        "judge_nothing_percent": _percent(judge_accuracy["nothing"]),
        "vae_psnr": round(_autoencoder_quality(pipeline, work), 1),
    }
    figures |= _measure_held_out(pipeline, judge, config, work, model)
    figures |= _measure_pairs(pipeline, judge, config, work)
    for name in ("base", "refiner"):
        state = load_checkpoint(work / f"{name}.pt") or {"samples": 0, "elapsed_seconds": 0.0}
        figures[f"{name}_samples"] = state["samples"]
        figures[f"{name}_minutes"] = round(state["elapsed_seconds"] / 60)
    logger.info("evaluate: %s", figures)
    write_card(model, figures, _parameter_counts(pipeline, model))
    return figures


def _measure_held_out(
    pipeline: StableDiffusionXLPipeline, judge: Judge, config: Config, work: Path, model: Path
) -> dict[str, float]:
    wanted = held_out_prompts(config)
    prompts = [item.prompt for item in wanted]
    pictures = draw_prompts(pipeline, prompts, config.evaluate)
    subjects = name_subjects(judge, pictures, config.judge.side)
    backgrounds = [name_background(picture) for picture in pictures]
    for item, subject, background in zip(wanted, subjects, backgrounds, strict=True):
        if (item.subject, item.background) != (subject, background):
            logger.info("evaluate: %r shows %s, %s %s", item.prompt, subject, background.kind, background.name)
    save_grid(pictures, work / "sheets" / "held-out.png", 10, prompts)
    _save_shipped_sheet(pictures, prompts, model / "sheet.png")
    return {
        "prompts": len(wanted),
        "subject_percent": _percent(np.mean([w.subject == seen for w, seen in zip(wanted, subjects, strict=True)])),
        "background_percent": _percent(
            np.mean([w.background == seen for w, seen in zip(wanted, backgrounds, strict=True)])
        ),
    }


def _measure_pairs(pipeline: StableDiffusionXLPipeline, judge: Judge, config: Config, work: Path) -> dict[str, float]:
    """Draw two subjects side by side and judge the two halves."""
    wanted = pair_prompts(config.evaluate.seed)
    prompts = [prompt for _, _, prompt in wanted]
    pictures = draw_prompts(pipeline, prompts, config.evaluate)
    lefts = name_subjects(judge, _half(pictures, 0), config.judge.side)
    rights = name_subjects(judge, _half(pictures, NATIVE[0] // 2), config.judge.side)
    seen = zip(lefts, rights, strict=True)
    is_right = [pair[:2] == names for pair, names in zip(wanted, seen, strict=True)]
    save_grid(pictures, work / "sheets" / "pairs.png", 5, prompts)
    return {"pair_prompts": len(wanted), "both_subjects_percent": _percent(np.mean(is_right))}


@torch.inference_mode()
def _autoencoder_quality(pipeline: StableDiffusionXLPipeline, work: Path) -> float:
    pictures = to_tensor(np.stack(composed_pictures(work / "data", 32))).to(pipeline.device)
    return psnr(decode(pipeline.vae, encode(pipeline.vae, pictures)), pictures)


def _parameter_counts(pipeline: StableDiffusionXLPipeline, model: Path) -> dict[str, int]:
    parts = {
        "UNet": pipeline.unet,
        "refiner UNet": UNet2DConditionModel.from_pretrained(model / "refiner" / "unet"),
        "text encoder": pipeline.text_encoder,
        "text encoder 2": pipeline.text_encoder_2,
        "autoencoder": pipeline.vae,
    }
    return {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}


def _percent(share: float | np.floating) -> float:
    return round(100 * float(share), 1)


def _half(pictures: Pixels, left: int) -> Pixels:
    """Cut the middle square of one half, as the judge is used to square pictures."""
    width, height = NATIVE
    return pictures[:, height // 4 : height // 4 + width // 2, left : left + width // 2]


def _save_shipped_sheet(pictures: Pixels, prompts: list[str], path: Path) -> None:
    """Save the first pictures, reduced and in 256 colours, so that the sheet stays small."""
    shown = [Image.fromarray(picture) for picture in pictures[:SHEET_PICTURES]]
    size = (SHEET_SIDE, SHEET_SIDE)
    reduced = np.stack([np.asarray(image.resize(size, Image.Resampling.LANCZOS)) for image in shown])
    save_grid(reduced, path, SHEET_COLUMNS, [prompt.replace(" background", "") for prompt in prompts])
    with Image.open(path) as sheet:
        palette = sheet.quantize(256)
        dithered = sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    dithered.save(path, optimize=True)


def main() -> None:
    """Evaluate from the command line."""
    folder = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--work", type=Path, default=folder / "work")
    parser.add_argument("--model", type=Path, default=folder.parent / "models" / "demo")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    evaluate(Config(), arguments.work, arguments.model, torch.device(arguments.device))


if __name__ == "__main__":
    main()
