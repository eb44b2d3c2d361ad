"""The evaluation: a fast subset on the shipped model, and all of it with few steps and an untrained judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from training.card import EXAMS
from training.checkpoint import save_checkpoint
from training.config import Config
from training.evaluate import evaluate
from training.exams import Exam, Judges, colours_exam, sides_exam, sizes_exam, styles_exam
from training.judge import Judge
from training.sampling import sample

KILOBYTE = 1000
FEW = 7


@pytest.fixture(scope="module")
def model_of_words(demo: Path) -> StableDiffusionXLPipeline:
    if "styles" not in json.loads((demo / "vocabulary.json").read_text("utf-8")):
        pytest.skip("the shipped model is from before the words of colour and style")
    pipeline = StableDiffusionXLPipeline.from_pretrained(demo, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.slow
@pytest.mark.parametrize("make_exam", [sizes_exam, sides_exam, colours_exam, styles_exam])
def test_words_of_size_side_colour_and_style_are_drawn(
    model_of_words: StableDiffusionXLPipeline, sprites: Path, make_exam: Callable[[Config, Judges, int], Exam]
) -> None:
    config = Config()
    exam = make_exam(config, Judges(Judge(), config.judge.side, sprites), FEW)
    pictures = sample(model_of_words, list(exam.prompts), config.evaluate.seed)
    answers = next(iter(exam.judge(pictures).values()))
    assert sum(answers) >= FEW - 2, dict(zip(exam.prompts, answers, strict=False))


@pytest.mark.slow
def test_an_evaluation_writes_figures_card_and_small_sheets(demo: Path, sprites: Path, tmp_path: Path) -> None:
    model, work = tmp_path / "model", tmp_path / "work"
    shutil.copytree(demo, model)
    work.mkdir()
    (work / "data").symlink_to(sprites)
    accuracy = {"subject": 0.0, "nothing": 0.0}
    save_checkpoint({"model": Judge().state_dict(), "accuracy": accuracy}, work / "judge.pt")
    config = Config()
    settings = config.evaluate
    settings.prompts, settings.prompts_of_a_word, settings.pictures_of_an_ability = 8, 7, 2
    settings.seeds, settings.num_inference_steps = 1, 6

    figures = evaluate(config, work, model, torch.device("cpu"))

    assert figures == json.loads((model / "figures.json").read_text("utf-8"))
    assert {f"{name}_percent" for name in EXAMS} <= set(figures)
    assert figures["distance_by_strength"] == sorted(figures["distance_by_strength"])
    card = (model / "README.md").read_text("utf-8")
    assert "{" not in card.replace("{'", "").split("## Figures")[1].split("## Limits")[0]
    assert (model / "sheet.png").stat().st_size < 300 * KILOBYTE
