"""Where the measures are taken: the device, its clock, studios to measure and stock diffusers beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from benchmarks.figures import Promise
from benchmarks.models import tiny_source, write_mid_size
from benchmarks.pairs import Clock
from pipelines.components.expert import Expert
from pipelines.components.use import Use
from pipelines.manager import PipelineManager
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.settings import Settings

GUIDANCE = 5.0
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "gray")


@dataclass
class Scene:
    """One run of the benchmarks."""

    device: torch.device
    dtype: str
    """What the studio chose at the start, for example "bfloat16": every measure is taken in the same."""
    pairs: int
    quick: bool
    folder: Path
    """For models and pictures, gone after the run."""
    cores: int = field(default_factory=torch.get_num_threads)

    @cached_property
    def clock(self) -> Clock:
        """The device's."""
        return Clock(self.device)

    @property
    def is_cpu(self) -> bool:
        """Whether the promises of a CPU's speed hold here, and its threads count."""
        return self.device.type == "cpu"

    @property
    def few(self) -> int:
        """Pairs of what takes minutes."""
        return max(1, self.pairs // 3)

    def on_cpu(self, promise: Promise) -> Promise | None:
        """A promise that is made for CPUs alone."""
        return promise if self.is_cpu else None

    def threads(self, one_too: bool = True) -> list[int]:
        """The numbers of threads to measure with: all, and one where that says something."""
        return [self.cores, 1] if one_too and self.is_cpu and self.cores > 1 else [self.cores]

    @cached_property
    def mid_size(self) -> Path:
        """The folder of the model of middle size, written when it is first wanted."""
        return write_mid_size(self.folder / "mid-size")

    def source(self, size: str) -> Path:
        """The folder of the "tiny" or the "mid-size" model."""
        return tiny_source() if size == "tiny" else self.mid_size

    @contextmanager
    def studio(self, size: str, threads: int | None = None, **settings: Any) -> Iterator[PipelineManager]:
        """A studio with nobody in it, its model loaded."""
        torch.set_num_threads(threads or self.cores)  # of this thread, and of those that it starts from now on
        given: dict[str, Any] = {"dtype": self.dtype, "device": str(self.device), "preload": True}
        given |= {"model": "demo" if size == "tiny" else str(self.mid_size)}
        given |= {"output_dir": self.folder / "outputs", "models_dir": self.folder / "models"}
        manager = PipelineManager(Settings(**(given | settings)))
        try:
            yield manager
        finally:
            manager.close()

    def stock(self, size: str, dtype: torch.dtype = torch.float32) -> Any:
        """diffusers' own pipeline, as its documentation makes it."""
        pipeline: Any = StableDiffusionXLPipeline.from_pretrained(
            self.source(size), dtype=dtype, add_watermarker=False, local_files_only=True
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def draw_stock(self, pipeline: Any, prompt: str, steps: int) -> None:
        """One picture, 256x256, as a file."""
        generator = torch.Generator("cpu").manual_seed(1)
        options = {"num_inference_steps": steps, "guidance_scale": GUIDANCE, "generator": generator}
        pipeline(prompt, width=256, height=256, **options).images[0].save(self.folder / "stock.png")


def base_of(manager: PipelineManager) -> Expert:
    """The base that a studio draws with."""
    own = manager.library.select(TextToImageRequest(), manager.model)
    return manager.components.expert(Use(own, manager.components.dtype), "base", lambda event: None)


def make_request(prompt: str, steps: int, **values: Any) -> TextToImageRequest:
    """A picture, 256x256, as the stock pipeline draws it."""
    given: dict[str, Any] = {"prompt": prompt, "num_inference_steps": steps, "guidance_scale": GUIDANCE}
    return TextToImageRequest(**{**given, "width": 256, "height": 256, "seed": 1, **values})


def new_prompt(turn: int, job: int = 0) -> str:
    """Another text in each turn and for each job, all of them of one length."""
    return f"a fox on a {COLOURS[job % len(COLOURS)]} background, number {turn % 100:02}"
