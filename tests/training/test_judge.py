"""The judge of the evaluation: what it learns from, and its small file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from training.config import Config
from training.judge import Judge, export_judge, load_exported_judge, load_judge, save_judge, train_judge
from training.judge_examples import NOTHING, draw_examples
from training.subjects import SUBJECTS

MEGABYTE = 1_000_000


def test_an_exported_judge_is_small_and_names_as_the_trained_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Judge(side=64)
    judge.train()(torch.rand(8, 1, 64, 64))
    save_judge(judge, {"subject": 0.5}, tmp_path)
    trained, accuracy = load_judge(tmp_path)
    export_judge(trained, tmp_path / "judge.safetensors")
    shipped = load_exported_judge(tmp_path / "judge.safetensors")
    assert accuracy == {"subject": 0.5}
    assert (tmp_path / "judge.safetensors").stat().st_size < MEGABYTE
    assert shipped.subjects == tuple(SUBJECTS)
    strength = torch.rand(4, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(shipped(strength), trained(strength), atol=0.02, rtol=0.02)


def test_a_missing_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train the judge first"):
        load_judge(tmp_path)


def test_the_judge_learns_from_subjects_halves_and_nothing(sprites: Path) -> None:
    settings = Config().judge
    settings.pictures = 300
    examples = list(draw_examples(settings, sprites, np.random.default_rng(0)))
    kinds = Counter(example.kind for example in examples)
    assert len(examples) == pytest.approx(300, abs=1)
    assert 30 <= kinds["half"] <= 45
    assert kinds[NOTHING] >= 8
    assert all((example.answer == NOTHING) == (example.kind == NOTHING) for example in examples)
    assert all(example.answer in SUBJECTS for example in examples if example.kind != NOTHING)
    assert {example.picture.shape for example in examples} == {(128, 128, 3)}


def test_a_judge_is_trained_once(sprites: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(sprites)
    config = Config()
    config.judge.pictures, config.judge.epochs = 200, 1
    train_judge(config, tmp_path)
    judge, accuracy = load_judge(tmp_path)
    assert {"subject", "half"} <= set(accuracy) <= {"subject", "half", NOTHING}
    assert not judge.training
    written = (tmp_path / "judge.pt").stat().st_mtime_ns
    train_judge(config, tmp_path)
    assert (tmp_path / "judge.pt").stat().st_mtime_ns == written
