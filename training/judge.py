"""A judge that names the subject of a picture from its grey-scale edges, and refuses what has no shape.

It is trained on composed pictures only. Colours never reach it, and one of its classes is "nothing": pictures whose
subject is a plain ellipse or a heavily blurred sprite, so that a coloured blob is not taken for a subject.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn
from torch.nn import functional

from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import Config, JudgeConfig
from training.layouts import (
    CANONICAL_SIZES,
    NATIVE,
    SUBJECT_NAMES,
    canonical_single,
    wide_layout,
)
from training.networks import to_channels_last
from training.pictures import Layout, Pixels, Scenery, draw, draw_background
from training.subjects import BACKGROUNDS

logger = logging.getLogger(__name__)

NOTHING = len(SUBJECT_NAMES)
GREY = (0.299, 0.587, 0.114)
TEST_SHARE = 0.1


def edges(pixels: Pixels, side: int) -> Tensor:
    """Turn (batch, height, width, 3) uint8 into edge strength: (batch, 1, side, side), mean about one."""
    grey = torch.from_numpy(np.array(pixels)).float().matmul(torch.tensor(GREY))[:, None] / 255
    grey = functional.interpolate(grey, size=(side, side), mode="area")
    horizontal = functional.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    vertical = functional.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    strength = (horizontal.square() + vertical.square()).sqrt()
    return strength / (strength.mean((2, 3), keepdim=True) + 0.01)


class Judge(nn.Module):
    """A small convolutional classifier of edge pictures: one class per subject and one for nothing."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 128, 160)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if width != widths[-1] else []
            channels = width
        self.features = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(channels, NOTHING + 1)

    def forward(self, strength: Tensor) -> Tensor:
        """Score the classes: (batch, 1, side, side) -> (batch, subjects + 1)."""
        return self.head(self.features(strength))


@torch.inference_mode()
def name_subjects(judge: Judge, pixels: Pixels, side: int) -> list[str]:
    """Name the subject of each picture; `nothing` where the judge sees no known shape."""
    names = (*SUBJECT_NAMES, "nothing")
    return [names[index] for index in judge(edges(pixels, side)).argmax(1).tolist()]


def train_judge(config: Config, work: Path) -> None:
    """Train the judge and save `work/judge.pt` with its accuracy on composed pictures it has not seen."""
    settings = config.judge
    if (work / "judge.pt").is_file():
        logger.info("judge: done before")
        return
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    examples = [_example(rng, work / "data") for _ in range(settings.pictures)]
    inputs = torch.cat([edges(pixels[None], settings.side) for pixels, _ in examples])
    labels = torch.tensor([label for _, label in examples])
    held = int(settings.pictures * TEST_SHARE)
    judge = to_channels_last(Judge(), torch.device("cpu"))
    _fit(judge, inputs[held:], labels[held:], settings)
    with torch.inference_mode():
        right = judge(inputs[:held]).argmax(1) == labels[:held]
    is_subject = labels[:held] != NOTHING
    figures = {"subject": right[is_subject].float().mean().item(), "nothing": right[~is_subject].float().mean().item()}
    logger.info("judge on unseen composed pictures: %s", figures)
    save_checkpoint({"model": judge.state_dict(), "accuracy": figures}, work / "judge.pt")


def _fit(judge: Judge, inputs: Tensor, labels: Tensor, settings: JudgeConfig) -> None:
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.02)
    steps = len(inputs) // settings.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, settings.epochs * steps)
    for epoch in range(settings.epochs):
        judge.train()
        total = 0.0
        order = torch.randperm(len(inputs))
        for rows in order[: steps * settings.batch].split(settings.batch):
            batch = inputs[rows] + 0.15 * torch.rand(()) * torch.randn_like(inputs[rows])
            with torch.autocast("cpu", torch.bfloat16):
                scores = judge(batch.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(scores.float(), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        logger.info("judge epoch %d loss %.3f", epoch + 1, total / steps)
    judge.eval()


def load_judge(work: Path) -> tuple[Judge, dict[str, float]]:
    """Load the judge and its accuracy on composed pictures.

    Raises:
        FileNotFoundError: the judge has not been trained yet.
    """
    state = load_checkpoint(work / "judge.pt")
    if state is None:
        raise FileNotFoundError(f"train the judge first: {work / 'judge.pt'} is missing")
    judge = Judge()
    judge.load_state_dict(state["model"])
    return judge.eval(), state["accuracy"]


def _example(rng: np.random.Generator, folder: Path) -> tuple[Pixels, int]:
    if rng.random() < 0.08:
        return _blob(rng, folder), NOTHING
    layout = _single(rng)
    pixels = draw(layout, folder)
    if rng.random() < 0.3:
        radius = rng.uniform(0.5, 2)
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
    return pixels, SUBJECT_NAMES.index(layout.placements[0].subject)


def _single(rng: np.random.Generator) -> Layout:
    if rng.random() < 0.5:
        subject = SUBJECT_NAMES[int(rng.integers(len(SUBJECT_NAMES)))]
        background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
        return canonical_single(subject, background, float(rng.choice(CANONICAL_SIZES)), rng)
    while len((layout := wide_layout(*NATIVE, held_out_percent=0, rng=rng)).placements) != 1:
        pass
    return layout


def _blob(rng: np.random.Generator, folder: Path) -> Pixels:
    """Draw a picture of nothing: a plain ellipse, or a subject blurred until its shape is gone."""
    if rng.random() < 0.5:
        sprite = Image.fromarray(draw(_single(rng), folder))
        return np.asarray(sprite.filter(ImageFilter.GaussianBlur(rng.uniform(14, 22))))
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    canvas = Image.fromarray(draw_background(background, *NATIVE, Scenery()).clip(0, 255).astype(np.uint8))
    centre, radii = rng.uniform(100, 156, 2), rng.uniform(40, 110, 2)
    box = [*(centre - radii), *(centre + radii)]
    ImageDraw.Draw(canvas).ellipse(box, fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 6))))
