"""The evaluation end to end on the shipped model, with few steps and an untrained judge: every figure is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from training.card import EXAMS
from training.checkpoint import save_checkpoint
from training.config import Config
from training.evaluate import evaluate
from training.judge import Judge

KILOBYTE = 1000


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
