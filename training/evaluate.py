"""Measure the exported model on prompts whose subject and background were never seen together.

`python -m training.evaluate` loads the exported folder as anyone would, sets it the exams of `exams.py`, measures its
abilities of `abilities.py`, and writes the card, the figures and the sheets. `--quick` asks a tenth of everything.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

from training.abilities import ABILITIES, Bench, load_bench
from training.autoencoder import decode, encode, psnr, to_tensor
from training.card import write_card
from training.checkpoint import load_checkpoint
from training.composed import composed
from training.config import Config
from training.exams import Exam, Judges, all_exams
from training.judge import load_judge
from training.measures import interval
from training.pictures import Pixels
from training.sampling import sample
from training.sheets import save_grid, save_small_grid

logger = logging.getLogger(__name__)

BATCH = 10
SHEET_PICTURES = 64
QUICK_SHARE = 10


def evaluate(config: Config, work: Path, model: Path, device: torch.device) -> dict[str, Any]:
    """Measure the model folder, write its card, figures and sheets, and return the figures."""
    subjects, accuracy = load_judge(work)
    judges = Judges(subjects, config.judge.side, work / "data")
    bench = load_bench(model, judges, config, device)
    figures: dict[str, Any] = {
        "steps": config.evaluate.num_inference_steps,
        "guidance": config.evaluate.guidance_scale,
        "prompts": config.evaluate.prompts,
        "seeds": config.evaluate.seeds,
        "judge_subject_percent": _percent(accuracy["subject"]),
        "judge_nothing_percent": _percent(accuracy["nothing"]),
        "vae_psnr": round(_autoencoder_quality(bench.base, work), 1),
    }
    for exam in all_exams(config, judges):
        figures |= _sit(exam, bench, work, model)
    for measure in ABILITIES:
        measured = measure(bench)
        for name in [name for name in measured if name.startswith("_")]:
            _save_ability_sheet(measured.pop(name), work / "sheets" / f"{name[1:]}.png", model / f"sheet{name}.png")
        logger.info("evaluate: %s", measured)
        figures |= measured
    for name in ("base", "refiner"):
        state = load_checkpoint(work / f"{name}.pt") or {"samples": 0, "elapsed_seconds": 0.0}
        figures[f"{name}_samples"] = state["samples"]
        figures[f"{name}_minutes"] = round(state["elapsed_seconds"] / 60)
    logger.info("evaluate: %s", figures)
    write_card(model, figures, _parameter_counts(bench.base, model))
    return figures


def _sit(exam: Exam, bench: Bench, work: Path, model: Path) -> dict[str, Any]:
    """Set one exam, with every seed for the subjects and one for the others."""
    settings = bench.config.evaluate
    answers: dict[str, list[bool]] = defaultdict(list)
    for repeat in range(settings.seeds if exam.name == "subjects" else 1):
        pictures = draw_prompts(bench, list(exam.prompts), settings.seed + 10_000 * repeat)
        for name, right in exam.judge(pictures).items():
            answers[name] += right
            for prompt, is_right in zip(exam.prompts, right, strict=False):
                if not is_right and len(right) == len(exam.prompts):
                    logger.info("evaluate: wrong %s: %s", name, prompt)
        if repeat == 0:
            save_grid(pictures, work / "sheets" / f"{exam.name.replace(' ', '-')}.png", 10, list(exam.prompts))
        if repeat == 0 and exam.name == "subjects":
            labels = [prompt.replace(" background", "") for prompt in exam.prompts]
            save_small_grid(pictures[:SHEET_PICTURES], model / "sheet.png", labels[:SHEET_PICTURES])
    figures: dict[str, Any] = {}
    for name, right in answers.items():
        key = name.replace(" ", "_")
        figures[f"{key}_percent"] = _percent(np.mean(right)) if right else 0.0
        figures[f"{key}_interval"] = list(interval(sum(right), len(right)))
        figures[f"{key}_count"] = len(right)
    logger.info("evaluate: %s: %s", exam.name, figures)
    return figures


def draw_prompts(bench: Bench, prompts: list[str], seed: int) -> Pixels:
    """Draw one native picture per prompt, in batches."""
    settings = bench.config.evaluate
    pictures = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        steps, scale = settings.num_inference_steps, settings.guidance_scale
        pictures.append(sample(bench.base, batch, seed + start, steps, scale))
    logger.info("evaluate: %d pictures", len(prompts))
    return np.concatenate(pictures)


def _save_ability_sheet(pictures: Pixels, path: Path, shipped: Path) -> None:
    save_grid(pictures, path, 8)
    if len(pictures) >= 8:
        save_small_grid(pictures[:SHEET_PICTURES], shipped)


@torch.inference_mode()
def _autoencoder_quality(pipeline: StableDiffusionXLPipeline, work: Path) -> float:
    pictures = to_tensor(composed(work / "data", 32, seed=23, soft=False)).to(pipeline.device)
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


def quick(config: Config) -> Config:
    """Ask a tenth of everything, once."""
    settings = config.evaluate
    settings.prompts //= QUICK_SHARE
    settings.prompts_of_a_word = max(7, settings.prompts_of_a_word // QUICK_SHARE)
    settings.pictures_of_an_ability = max(8, settings.pictures_of_an_ability // QUICK_SHARE)
    settings.seeds = 1
    return config


def main() -> None:
    """Evaluate from the command line."""
    folder = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--work", type=Path, default=folder / "work")
    parser.add_argument("--model", type=Path, default=folder.parent / "models" / "demo")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    config = quick(Config()) if arguments.quick else Config()
    evaluate(config, arguments.work, arguments.model, torch.device(arguments.device))


if __name__ == "__main__":
    main()
