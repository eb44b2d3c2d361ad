"""Measure the exported model on prompts whose subject and background were never seen together.

`python -m training.evaluate` loads the exported folder as anyone would, sets it the exams of `exams.py`, measures its
abilities, compares all of it with the aims of `verdicts.py`, and writes the card, the figures and the sheets. Figures
and pictures are kept in `work/` as they come: a killed run goes on where it was. `--quick` asks a tenth of everything
and writes to `work/quick/` only.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.abilities import (
    measure_guidance,
    measure_micro_conditioning,
    measure_negative_prompt,
    measure_weights,
)
from training.autoencoder import psnr, to_tensor
from training.bench import Bench, Figures, Measured, load_bench
from training.card import write_card
from training.checkpoint import load_checkpoint
from training.composed import composed
from training.config import Config, EvaluateConfig
from training.exams import Exam, Judges, all_exams
from training.intervals import share_interval
from training.judge import load_judge
from training.limits import folder_megabytes, measure_precision, measure_time, parameter_counts
from training.naming_sheet import save_naming_sheet
from training.refinement import measure_refiner
from training.repainting import measure_inpainting, measure_strength
from training.sheets import save_grid, save_small_grid
from training.verdicts import judge_aims

logger = logging.getLogger(__name__)

SHEET_PICTURES = 64
QUICK_SHARE = 10
NAMED = "named_by_eye"
ABILITIES: tuple[Callable[[Bench], Measured], ...] = (
    measure_time,
    measure_guidance,
    measure_negative_prompt,
    measure_weights,
    measure_strength,
    measure_inpainting,
    measure_micro_conditioning,
    measure_refiner,
    measure_precision,
)


def evaluate(
    config: Config, work: Path, model: Path, device: torch.device, quick: bool = False, named: int | None = None
) -> Figures:
    """Measure the model folder and return the figures; its card and sheets are written there, or to `work/quick`.

    named: how many of the 64 pictures of `naming.png` somebody named, who saw nothing else.
    """
    kept = work / "quick" if quick else work
    published = kept if quick else model
    config = replace(config, evaluate=_tenth(config)) if quick else config
    subjects, accuracy = load_judge(work)
    bench = load_bench(model, Judges(subjects, work / "data"), config, kept / "pictures", device)
    figures: Figures = {
        "steps": config.evaluate.num_inference_steps,
        "guidance": config.evaluate.guidance_scale,
        "seeds": config.evaluate.seeds,
        "weights_hash": bench.weights[:12],
        "vae_psnr": _autoencoder_quality(bench, work),
        **{f"judge_{kind}_percent": _percent(share) for kind, share in accuracy.items()},
        **({} if named is None else {NAMED: named}),
    }
    for exam in all_exams(config):
        _keep(figures, sit(exam, bench, kept, published), kept)
    for measure in ABILITIES:
        measured = measure(bench)
        for name, sheet in measured.sheets.items():
            save_grid(sheet.pictures, kept / "sheets" / f"{name}.png", 8, sheet.labels)
            shown = sheet.pictures[:SHEET_PICTURES]
            save_small_grid(shown, published / f"sheet_{name}.webp", sheet.labels[:SHEET_PICTURES])
        _keep(figures, measured.figures, kept)
    for name in ("base", "refiner"):
        state = load_checkpoint(work / f"{name}.pt") or {"samples": 0, "elapsed_seconds": 0.0}
        figures |= {f"{name}_samples": state["samples"], f"{name}_minutes": round(state["elapsed_seconds"] / 60)}
    _keep(figures, {"megabytes": folder_megabytes(model)}, kept)
    verdicts = judge_aims(figures)
    for verdict in verdicts:
        logger.info("%s %s: %s (%s)", "MET" if verdict.met else "NOT", verdict.aim, verdict.found, verdict.rule)
    write_card(published, figures, verdicts, parameter_counts(bench))
    return figures


def sit(exam: Exam, bench: Bench, kept: Path, published: Path) -> Figures:
    """Set one exam with every seed, and judge right pictures of the same prompts, too: the ceiling of the figures."""
    answers: dict[str, list[list[bool]]] = {}
    for repeat in range(bench.config.evaluate.seeds):
        pictures = bench.draw(f"{exam.name}-{repeat}", exam.prompts, repeat)
        for name, right in exam.judge(pictures, bench.judges).items():
            answers.setdefault(name, []).append(right)
            wrong = [prompt for prompt, is_right in zip(exam.prompts, right, strict=False) if not is_right]
            if name in ("subject", "synonym", "size", "side", "both", "colour", "style"):
                logger.info("evaluate: wrong %s: %s", name, "; ".join(wrong))
        if repeat == 0:
            save_grid(pictures, kept / "sheets" / f"{exam.name}.png", 10, exam.prompts)
        if repeat == 0 and exam.name == "subjects":
            shown, prompts = pictures[:SHEET_PICTURES], exam.prompts[:SHEET_PICTURES]
            save_small_grid(shown, published / "sheet.webp", prompts)
            save_naming_sheet(shown, prompts, kept / "sheets", bench.config.evaluate.seed)
    ceiling = exam.judge(bench.perfect(f"{exam.name}-perfect", exam.layouts), bench.judges)
    figures: Figures = {}
    for name, right in answers.items():
        low, high = share_interval(right)
        figures |= {
            f"{name}_percent": _percent(np.mean(right)) if right[0] else 0.0,
            f"{name}_percent_interval": [_percent(low), _percent(high)],
            f"{name}_prompts": len(right[0]),
            f"{name}_ceiling_percent": _percent(np.mean(ceiling[name])) if right[0] else 0.0,
        }
    return figures


def _keep(figures: Figures, more: Figures, kept: Path) -> None:
    """Add figures and write all so far, so that nothing is lost if a later measure fails."""
    logger.info("evaluate: %s", more)
    figures |= more
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def _autoencoder_quality(bench: Bench, work: Path) -> float:
    pictures = composed(work / "data", 32, seed=23, soft=False)
    return round(psnr(to_tensor(bench.through_autoencoder(pictures)), to_tensor(pictures)), 1)


def _percent(share: float | np.floating[Any]) -> float:
    return round(100 * float(share), 1)


def _tenth(config: Config) -> EvaluateConfig:
    """Ask a tenth of everything, once."""
    settings = config.evaluate
    return replace(
        settings,
        prompts=settings.prompts // QUICK_SHARE,
        prompts_of_a_word=max(7, settings.prompts_of_a_word // QUICK_SHARE),
        pictures_of_an_ability=max(4, settings.pictures_of_an_ability // QUICK_SHARE),
        pictures_of_a_series=max(2, settings.pictures_of_a_series // QUICK_SHARE),
        seeds=1,
    )


def main() -> None:
    """Evaluate from the command line."""
    folder = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--work", type=Path, default=folder / "work")
    parser.add_argument("--model", type=Path, default=folder.parent / "models" / "demo")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to work/quick")
    parser.add_argument("--named", type=int, help="pictures of sheets/naming.png that somebody named by eye, of 64")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    device = torch.device(arguments.device)
    evaluate(Config(), arguments.work, arguments.model, device, arguments.quick, arguments.named)


if __name__ == "__main__":
    main()
