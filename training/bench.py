"""The model under measurement: it draws in lanes, and every picture is kept until weights or question change."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.autoencoder import decode, encode, to_tensor
from training.autoencoder import to_pixels as decoded_pixels
from training.composed import draw_all
from training.config import Config
from training.exams import Judges
from training.lanes import Lanes
from training.layouts import NATIVE
from training.pictures import Layout, Pixels
from training.sampling import BATCH, Pipeline, call_in_lanes, to_pixels
from training.verdicts import Figures

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sheet:
    """Pictures to be shown, in rows of eight, each with a label."""

    pictures: Pixels
    labels: list[str]


@dataclass(frozen=True)
class Measured:
    """What an ability's measure found, and pictures to show for it."""

    figures: Figures
    sheets: dict[str, Sheet] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """The loaded model, the judges, and the folder in which pictures are kept."""

    base: StableDiffusionXLPipeline
    refiner: StableDiffusionXLImg2ImgPipeline
    judges: Judges
    config: Config
    model: Path
    folder: Path
    weights: str
    """Hash of the base: what its pictures depend on."""
    refiner_weights: str
    lanes: Lanes

    @property
    def count(self) -> int:
        """Pictures per figure."""
        return self.config.evaluate.pictures_of_an_ability

    @property
    def common(self) -> dict[str, Any]:
        """Settings of every picture."""
        settings = self.config.evaluate
        return {"num_inference_steps": settings.num_inference_steps, "guidance_scale": settings.guidance_scale}

    def seeds(self, count: int, repeat: int = 0) -> range:
        """One seed for each picture; every repeat has others."""
        first = self.config.evaluate.seed + 10_000 * repeat
        return range(first, first + count)

    def draw(self, name: str, prompts: Sequence[str], repeat: int = 0, **settings: Any) -> Pixels:
        """Draw one native picture per prompt with the base."""
        return self.draw_rows(name, {"prompt": list(prompts)}, self.seeds(len(prompts), repeat), **settings)

    def draw_rows(self, name: str, rows: Mapping[str, Any], seeds: Sequence[int], **settings: Any) -> Pixels:
        """Draw native pictures with the base from each picture's own arguments."""
        return self.call(name, self.base, rows, seeds, width=NATIVE[0], height=NATIVE[1], **settings)

    def call(
        self, name: str, pipeline: Pipeline, rows: Mapping[str, Any], seeds: Sequence[int], **settings: Any
    ) -> Pixels:
        """Draw with any pipeline of the model."""
        settings = {**self.common, **settings}
        refiner = pipeline is self.refiner and self.refiner_weights
        asked = (type(pipeline).__name__, refiner, dict(rows), list(seeds), settings)

        def make() -> Pixels:
            batches = call_in_lanes(pipeline, self.lanes, rows, seeds, **settings)
            return np.concatenate([to_pixels(batch) for batch in batches])

        return self.keep(name, asked, make)

    def perfect(self, name: str, layouts: Sequence[Layout]) -> Pixels:
        """Compose pictures and put them through the autoencoder: the best that any UNet could draw."""
        return self.keep(name, list(layouts), lambda: self.through_autoencoder(self.composed(layouts)))

    def composed(self, layouts: Sequence[Layout]) -> Pixels:
        """Compose pictures of one size."""
        return np.concatenate(list(draw_all(list(layouts), self.judges.sprites)))

    def through_autoencoder(self, pictures: Pixels) -> Pixels:
        """Encode and decode pictures."""
        vae = self.base.vae

        @torch.inference_mode()
        def part(rows: slice) -> list[Pixels]:
            with torch.autocast(vae.device.type, torch.bfloat16):
                batches = to_tensor(pictures[rows]).to(vae.device).split(BATCH)
                return [decoded_pixels(decode(vae, encode(vae, batch)).clamp(-1, 1)) for batch in batches]

        return np.concatenate([batch for batches in self.lanes.run(part, len(pictures)) for batch in batches])

    def keep(self, name: str, asked: object, make: Callable[[], Pixels]) -> Pixels:
        """Return the pictures that an earlier run made of the same weights and question, or make and keep them."""
        key = hashlib.sha256(f"{self.weights} {fingerprint(asked)}".encode()).hexdigest()[:12]
        path = self.folder / f"{name}.{key}.npy"
        if path.is_file():
            return np.load(path)
        pictures = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob(f"{name}.*.npy"):
            old.unlink()
        temporary = self.folder / f".{path.name}"
        with temporary.open("wb") as stream:
            np.save(stream, pictures)
        temporary.replace(path)
        logger.info("evaluate: drew %d pictures of %s", len(pictures), name)
        return pictures


def fingerprint(value: object) -> str:
    """Describe a question in text that is equal only for equal questions; pictures and tensors by their content."""
    if isinstance(value, Image.Image):
        value = np.asarray(value)
    if isinstance(value, Tensor):
        value = value.detach().float().cpu().numpy()
    if isinstance(value, np.ndarray):
        array: NDArray[Any] = np.ascontiguousarray(value)
        return f"{array.shape} {array.dtype} {hashlib.sha256(array.tobytes()).hexdigest()}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {fingerprint(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(fingerprint(item) for item in value)}]"
    return repr(value)


def hash_weights(model: Path) -> str:
    """Hash what decides a base's pictures, or a refiner's: weights, configs and tokenizers of its parts."""
    digest = hashlib.sha256()
    for path in sorted(model.rglob("*")):
        if path.is_file() and path.parent != model and path.relative_to(model).parts[0] not in ("refiner", "tiny"):
            digest.update(path.relative_to(model).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def load_bench(model: Path, judges: Judges, config: Config, folder: Path, device: torch.device) -> Bench:
    """Load the exported folder as anyone would: the base, and the refiner beside it."""
    base = StableDiffusionXLPipeline.from_pretrained(model, dtype=torch.float32).to(device)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        model / "refiner",
        vae=base.vae,
        text_encoder_2=base.text_encoder_2,
        tokenizer_2=base.tokenizer_2,
        text_encoder=None,
        tokenizer=None,
        dtype=torch.float32,
    ).to(device)
    for pipeline in (base, refiner):
        pipeline.set_progress_bar_config(disable=True)
    hashes = hash_weights(model), hash_weights(model / "refiner")
    return Bench(base, refiner, judges, config, model, folder, *hashes, Lanes(device))
