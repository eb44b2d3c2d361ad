"""Pictures of the evaluation are drawn once, and again only for other weights or another question."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from training.bench import Bench, fingerprint, hash_weights
from training.config import Config
from training.exams import Judges
from training.lanes import Lanes
from training.pictures import Pixels


class Counted:
    """Makes pictures and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Pixels:
        self.calls += 1
        return np.full((2, 4, 4, 3), self.calls, np.uint8)


def make_bench(folder: Path, weights: str) -> Bench:
    nothing = cast(Any, None)
    return Bench(
        nothing, nothing, cast(Judges, None), Config(), Path(), folder, weights, "", Lanes(torch.device("cpu"))
    )


def test_pictures_are_kept_until_question_or_weights_change(tmp_path: Path) -> None:
    bench, make = make_bench(tmp_path, "a"), Counted()
    first = bench.keep("sizes-0", ["a small fox"], make)
    assert (bench.keep("sizes-0", ["a small fox"], make) == first).all()
    assert (make_bench(tmp_path, "a").keep("sizes-0", ["a small fox"], make) == first).all()
    assert make.calls == 1
    bench.keep("sizes-0", ["a tiny fox"], make)
    assert make.calls == 2
    assert make_bench(tmp_path, "b").keep("sizes-0", ["a tiny fox"], make).max() == 3
    bench.keep("sizes-1", ["a tiny fox"], make)
    assert sorted(path.name.split(".")[0] for path in tmp_path.iterdir()) == ["sizes-0", "sizes-1"]


def test_questions_are_told_apart_by_the_content_of_pictures_and_tensors() -> None:
    tensor, picture = torch.zeros(2, 3), Image.new("RGB", (4, 4))
    asked = {"prompt": ["a fox"], "image": [picture], "embeds": tensor}
    assert fingerprint(asked) == fingerprint({**asked, "embeds": torch.zeros(2, 3), "image": [picture.copy()]})
    others = [
        {**asked, "embeds": torch.ones(2, 3)},
        {**asked, "embeds": torch.zeros(3, 2)},
        {**asked, "image": [Image.new("RGB", (4, 4), "red")]},
        {**asked, "prompt": ["a cat"]},
    ]
    assert len({fingerprint(other) for other in (asked, *others)}) == 5


def test_the_hash_of_the_weights_is_of_the_parts_only(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"one")
    before = hash_weights(tmp_path)
    (tmp_path / "README.md").write_text("card")
    assert hash_weights(tmp_path) == before
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"two")
    assert hash_weights(tmp_path) != before
