"""A judge that names the subject of a picture from its grey-scale edges, and refuses what has no shape.

It is trained on composed pictures only. Colours never reach it, and one of its classes is "nothing", so that a coloured
blob is not taken for a subject.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import Config, JudgeConfig
from training.judge_examples import NOTHING, draw_examples
from training.layouts import SUBJECT_NAMES
from training.networks import to_channels_last
from training.pictures import Pixels

logger = logging.getLogger(__name__)

GREY = (0.299, 0.587, 0.114)
TEST_SHARE = 0.1
COUNTER = "num_batches_tracked"


def edges(pixels: Pixels, side: int) -> Tensor:
    """Turn (batch, height, width, 3) uint8 into edge strength: (batch, 1, side, side), mean about one."""
    grey = torch.from_numpy(np.array(pixels)).float().matmul(torch.tensor(GREY))[:, None] / 255
    grey = functional.interpolate(grey, size=(side, side), mode="area")
    horizontal = functional.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    vertical = functional.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    strength = (horizontal.square() + vertical.square()).sqrt()
    return strength / (strength.mean((2, 3), keepdim=True) + 0.01)


class Judge(nn.Module):
    """A small convolutional classifier of edge pictures: one class for each of `subjects`, and one for nothing."""

    widths: tuple[int, ...] = (24, 48, 96, 144, 192)

    def __init__(self, subjects: tuple[str, ...] = SUBJECT_NAMES, side: int = 64) -> None:
        super().__init__()
        self.subjects, self.side = subjects, side
        layers: list[nn.Module] = []
        channels = 1
        for width in self.widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if width != self.widths[-1] else []
            channels = width
        self.features = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(channels, len(subjects) + 1)

    def forward(self, strength: Tensor) -> Tensor:
        """Score the classes: (batch, 1, side, side) -> (batch, subjects + 1)."""
        return self.head(self.features(strength))

    @torch.inference_mode()
    def names(self, pixels: Pixels) -> list[str]:
        """Name the subject of each square picture; `nothing` where no known shape is seen."""
        known = (*self.subjects, NOTHING)
        parts = [pixels[start : start + 64] for start in range(0, len(pixels), 64)]
        return [known[index] for part in parts for index in self(edges(part, self.side)).argmax(1).tolist()]


def train_judge(config: Config, work: Path) -> None:
    """Train the judge and save `work/judge.pt` with its accuracy on composed pictures it has not seen."""
    settings = config.judge
    if (work / "judge.pt").is_file():
        logger.info("judge: done before")
        return
    torch.manual_seed(settings.seed)
    judge = Judge(side=settings.side)
    classes = {name: index for index, name in enumerate((*judge.subjects, NOTHING))}
    inputs, labels, kinds = [], [], []
    for example in draw_examples(settings, work / "data", np.random.default_rng(settings.seed)):
        inputs.append(edges(example.picture[None], settings.side).half())
        labels.append(classes[example.answer])
        kinds.append(example.kind)
    order = torch.randperm(len(labels))
    strength, right = torch.cat(inputs)[order], torch.tensor(labels)[order]
    held = int(len(order) * TEST_SHARE)
    _fit(to_channels_last(judge, torch.device("cpu")), strength[held:], right[held:], settings)
    accuracy = _accuracy(judge, strength[:held], right[:held], [kinds[row] for row in order[:held].tolist()])
    logger.info("judge on unseen composed pictures: %s", accuracy)
    save_judge(judge, accuracy, work)


def save_judge(judge: Judge, accuracy: dict[str, float], work: Path) -> None:
    """Write `work/judge.pt`; `accuracy` is the share of right names for each kind of example."""
    state = {"model": judge.state_dict(), "subjects": list(judge.subjects), "side": judge.side, "accuracy": accuracy}
    save_checkpoint(state, work / "judge.pt")


def load_judge(work: Path) -> tuple[Judge, dict[str, float]]:
    """Load the trained judge and its accuracy on composed pictures.

    Raises:
        FileNotFoundError: the judge has not been trained yet.
    """
    state: dict[str, Any] | None = load_checkpoint(work / "judge.pt")
    if state is None:
        raise FileNotFoundError(f"train the judge first: {work / 'judge.pt'} is missing")
    judge = Judge(tuple(state["subjects"]), state["side"])
    judge.load_state_dict(state["model"])
    return judge.eval(), state["accuracy"]


def export_judge(judge: Judge, path: Path) -> None:
    """Write the judge in fp16 with its subjects' names, small enough to be shipped beside the model."""
    weights = {name: value.half().contiguous() for name, value in judge.state_dict().items() if COUNTER not in name}
    save_file(weights, path, {"subjects": json.dumps(judge.subjects), "side": str(judge.side)})


def load_exported_judge(path: Path) -> Judge:
    """Load what `export_judge` wrote, in fp32."""
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    judge = Judge(tuple(json.loads(facts["subjects"])), int(facts["side"]))
    weights = {name: value.float() for name, value in load_file(path).items()}
    counters = {name: value for name, value in judge.state_dict().items() if COUNTER in name}
    judge.load_state_dict({**weights, **counters})
    return judge.eval()


@torch.inference_mode()
def _accuracy(judge: Judge, inputs: Tensor, labels: Tensor, kinds: list[str]) -> dict[str, float]:
    right = torch.cat([judge(part.float()).argmax(1) for part in inputs.split(256)]) == labels
    shares = {}
    for kind in sorted(set(kinds)):
        rows = torch.tensor([own == kind for own in kinds])
        shares[kind] = right[rows].float().mean().item()
    return shares


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
