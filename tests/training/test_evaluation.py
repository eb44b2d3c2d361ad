"""The evaluation: a fast subset on the shipped model, and all of it with few steps and an untrained judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline
from PIL import Image

from training.captions import background_phrases
from training.config import Config
from training.evaluate import evaluate
from training.exams import (
    Exam,
    Judges,
    colours_exam,
    sides_exam,
    sizes_exam,
    styles_exam,
    subjects_exam,
    two_subjects_exam,
)
from training.judge import Judge, edges, load_exported_judge, save_judge
from training.measures import backdrop, colour_share, name_background
from training.pictures import Pixels
from training.repainting import painted_square
from training.sampling import call, sample, sibling, to_pixels
from training.sheets import SHIPPED_LIMIT_BYTES
from training.subjects import COLOURS, PLAIN
from training.verdicts import AIMS

FEW = 7
STEPS = 14
CONFIG = Config()


@pytest.fixture(autouse=True)
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model_of_words(demo: Path) -> StableDiffusionXLPipeline:
    pipeline = StableDiffusionXLPipeline.from_pretrained(demo, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def judge(demo: Path) -> Judge:
    return load_exported_judge(demo / "judge.safetensors")


def draw(model: StableDiffusionXLPipeline, prompts: list[str], guidance_scale: float = 5.0, **settings: Any) -> Pixels:
    return sample(model, prompts, CONFIG.evaluate.seed, STEPS, guidance_scale, **settings)


def check_words(model: StableDiffusionXLPipeline, exam: Exam, judges: Judges) -> None:
    answers = next(iter(exam.judge(draw(model, list(exam.prompts)), judges).values()))
    assert sum(answers) >= FEW - 2, dict(zip(exam.prompts, answers, strict=False))


@pytest.mark.slow
@pytest.mark.parametrize("make_exam", [sizes_exam, sides_exam, styles_exam])
def test_words_of_size_side_and_style_are_drawn(
    model_of_words: StableDiffusionXLPipeline, make_exam: Callable[[Config, int], Exam]
) -> None:
    check_words(model_of_words, make_exam(CONFIG, FEW), Judges(Judge(), Path()))


@pytest.mark.slow
def test_words_of_colour_are_drawn(model_of_words: StableDiffusionXLPipeline, sprites: Path) -> None:
    check_words(model_of_words, colours_exam(CONFIG, FEW), Judges(Judge(), sprites))


@pytest.mark.slow
def test_held_out_subjects_are_drawn_and_guidance_makes_them_clearer(
    model_of_words: StableDiffusionXLPipeline, judge: Judge
) -> None:
    exam = subjects_exam(CONFIG, 12)
    certain = {}
    for scale in (1.0, 5.0):
        pictures = draw(model_of_words, list(exam.prompts), scale)
        wanted = [judge.subjects.index(layout.placements[0].subject) for layout in exam.layouts]
        with torch.inference_mode():
            certain[scale] = judge(edges(pictures, judge.side)).softmax(1)[list(range(12)), wanted].mean().item()
    answers = exam.judge(pictures, Judges(judge, Path()))
    assert sum(answers["subject"]) >= 10, dict(zip(exam.prompts, answers["subject"], strict=True))
    assert sum(answers["background"]) >= 11
    assert certain[5.0] > certain[1.0]


@pytest.mark.slow
def test_both_of_two_held_out_subjects_are_drawn(model_of_words: StableDiffusionXLPipeline, judge: Judge) -> None:
    exam = two_subjects_exam(CONFIG, 12)
    answers = exam.judge(draw(model_of_words, list(exam.prompts)), Judges(judge, Path()))
    assert sum(answers["both"]) >= 8, dict(zip(exam.prompts, answers["both"], strict=True))


@pytest.mark.slow
def test_a_negative_prompt_lowers_the_share_of_its_colour(model_of_words: StableDiffusionXLPipeline) -> None:
    prompts = ["a fox", "a cat", "a car", "a house", "a tree", "an apple"]
    first = draw(model_of_words, prompts)
    names = [name_background(picture).name for picture in first]
    colours = [name if name in COLOURS else "blue" for name in names]
    pictures = draw(model_of_words, prompts, negative_prompt=[f"{colour} background" for colour in colours])
    control = draw(model_of_words, prompts, negative_prompt=["a star"] * len(prompts))
    without, named, other = (
        float(np.mean([colour_share(p, COLOURS[c]) for p, c in zip(group, colours, strict=True)]))
        for group in (first, pictures, control)
    )
    assert named < 0.3 * without
    assert named < 0.7 * other


@pytest.mark.slow
def test_a_cat_is_inpainted_on_the_right(model_of_words: StableDiffusionXLPipeline, judge: Judge) -> None:
    grounds = PLAIN[:6]
    mask = np.zeros((256, 256), np.uint8)
    mask[:, 128:] = 255
    rows = {
        "prompt": [f"a cat on the right {background_phrases(ground)[0]}" for ground in grounds],
        "image": [Image.fromarray(backdrop(ground)) for ground in grounds],
        "mask_image": [Image.fromarray(mask)] * len(grounds),
    }
    settings = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "strength": 1.0, "width": 256, "height": 256}
    pictures = to_pixels(call(sibling(model_of_words, StableDiffusionXLInpaintPipeline), rows, range(6), **settings))
    squares = np.stack([painted_square(picture, ground) for picture, ground in zip(pictures, grounds, strict=True)])
    assert judge.names(squares).count("cat") >= 4
    assert np.abs(pictures[:, :, :96].astype(int) - np.stack([backdrop(g) for g in grounds])[:, :, :96]).mean() < 12


def prepare(demo: Path, sprites: Path, folder: Path) -> tuple[Path, Path]:
    """Copy the model, and make a working folder with an untrained judge."""
    model, work = folder / "model", folder / "work"
    shutil.copytree(demo, model)
    work.mkdir()
    (work / "data").symlink_to(sprites)
    save_judge(Judge(), {"subject": 0.0, "half": 0.0, "nothing": 0.0}, work)
    return model, work


@pytest.mark.slow
def test_an_evaluation_keeps_what_it_draws_and_writes_figures_card_and_small_sheets(
    demo: Path, sprites: Path, tmp_path: Path
) -> None:
    model, work = prepare(demo, sprites, tmp_path)
    config = Config()
    settings = config.evaluate
    settings.prompts, settings.prompts_of_a_word, settings.seeds = 4, 2, 2
    settings.pictures_of_an_ability = settings.pictures_of_a_series = 2
    settings.num_inference_steps = 6

    figures = evaluate(config, work, model, torch.device("cpu"))

    for folder in (work, model):
        assert json.loads((folder / "figures.json").read_text("utf-8")) == figures
    assert figures["distance_by_strength"][-1] > figures["distance_by_strength"][0] + 1
    assert {path.name.split(".")[0] for path in (work / "pictures").iterdir()} >= {"subjects-0", "subjects-1"}
    assert (work / "sheets" / "naming-key.txt").is_file()
    text = (model / "README.md").read_text("utf-8")
    assert all(aim.text in text for aim in AIMS)
    unmeasured = [row for row in text.splitlines() if "not measured" in row]
    assert [row.split("|")[1].strip() for row in unmeasured] == ["of 64 held-out pictures, named by eye"]
    sheets = sorted(model.glob("sheet*.webp"))
    assert [path.stem for path in sheets] == ["sheet", "sheet_image_to_image", "sheet_inpaint", "sheet_refined"]
    assert max(path.stat().st_size for path in sheets) < SHIPPED_LIMIT_BYTES


def test_a_quick_evaluation_leaves_the_model_folder_alone(
    demo: Path, sprites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, work = prepare(demo, sprites, tmp_path)
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    monkeypatch.setattr("training.evaluate.ABILITIES", ())
    monkeypatch.setattr("training.evaluate.all_exams", lambda config: ())
    evaluate(Config(), work, model, torch.device("cpu"), quick=True, named=61)
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    assert "| 61 | at least 60 | yes |" in (work / "quick" / "README.md").read_text("utf-8")
    assert not (work / "figures.json").exists()
