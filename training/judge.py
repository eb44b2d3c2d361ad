"""A judge that names the subject of a picture from its grey-scale edges, and refuses what has no shape.

It is trained on composed pictures only. Colours never reach it, and one of its classes is "nothing": pictures whose
subject is a plain ellipse or a heavily blurred sprite, so that a coloured blob is not taken for a subject.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn
from torch.nn import functional

from training.backdrops import draw_backdrop
from training.checkpoint import load_checkpoint, save_checkpoint
from training.composed import draw_all, layouts
from training.config import Config, JudgeConfig
from training.layouts import MIXES, SUBJECT_NAMES
from training.networks import to_channels_last
from training.pictures import Layout, Pixels

logger = logging.getLogger(__name__)

NOTHING = len(SUBJECT_NAMES)
GREY = (0.299, 0.587, 0.114)
TEST_SHARE = 0.1
NOTHING_SHARE = 0.06
DRAWN_SIDE = 128


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

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 144, 192)) -> None:
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
    inputs, labels = _examples(settings, work / "data", rng)
    held = int(settings.pictures * TEST_SHARE)
    judge = to_channels_last(Judge(), torch.device("cpu"))
    _fit(judge, inputs[held:], labels[held:], settings)
    with torch.inference_mode():
        right = torch.cat([judge(part.float()).argmax(1) for part in inputs[:held].split(256)]) == labels[:held]
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
            batch = inputs[rows].float()
            batch = batch + 0.15 * torch.rand(()) * torch.randn_like(batch)
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


def _examples(settings: JudgeConfig, folder: Path, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw pictures and take their edges: (n, 1, side, side) in fp16, and their labels (n,)."""
    mix = replace(MIXES["wide"], two_subjects=0.0, aside=0.0, styled=0.0, soft=0.1, detailed=0.0, cropped=0.0)
    chosen = layouts(settings.pictures, rng, mix, DRAWN_SIDE)
    inputs, labels = [], []
    for pictures in draw_all(chosen, folder):
        for picture in pictures:
            layout = chosen[len(labels)]
            is_nothing = rng.random() < NOTHING_SHARE
            if is_nothing:
                picture = _blob(picture, layout, rng)
            inputs.append(edges(picture[None], settings.side).half())
            labels.append(NOTHING if is_nothing else SUBJECT_NAMES.index(layout.placements[0].subject))
    return torch.cat(inputs), torch.tensor(labels)


def _blob(picture: Pixels, layout: Layout, rng: np.random.Generator) -> Pixels:
    """Draw a picture of nothing: a plain ellipse, or a subject blurred until its shape is gone."""
    if rng.random() < 0.5:
        return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(rng.uniform(8, 12))))
    backdrop = draw_backdrop(layout.background, DRAWN_SIDE, DRAWN_SIDE)[:, :DRAWN_SIDE, :DRAWN_SIDE]
    canvas = Image.fromarray(backdrop.permute(1, 2, 0).numpy())
    centre, radii = rng.uniform(50, 78, 2), rng.uniform(20, 55, 2)
    box = [*(centre - radii), *(centre + radii)]
    ImageDraw.Draw(canvas).ellipse(box, fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 3))))
