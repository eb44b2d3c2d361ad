"""A manager that draws flat colours: what the interface sees of the engine, without torch."""

import asyncio
import io
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from pipelines.job import Job
from pipelines.prompts.drawing import Draw, count_combinations, draw_prompts, draw_text, final_texts, wildcards_in
from pipelines.prompts.styles import Style
from pipelines.prompts.wildcards import Wildcards
from pipelines.schema.counts import EncoderCount, Hint, PromptCount
from pipelines.schema.errors import InvalidRequest, ModelError, QueueFull
from pipelines.schema.events import Done, Failed, Loading, Noticed, Queued, Result, Saving, Step, Stopped
from pipelines.schema.models import AddOn, Entry, ModelEntry
from pipelines.schema.requests import GenerationRequest, TextToImageRequest
from pipelines.schema.status import LoadedComponent, Status

COLOURS = {"blue": "#4a7bd0", "yellow": "#e8c441", "pink": "#e59bb5", "red": "#c8453c", "green": "#5aa55a"}
VOCABULARY = '{"subjects": ["fox", "cactus", "penguin"], "colours": ["blue", "yellow", "pink"], "scenes": ["at night"]}'


FEW_STEPS = {"num_inference_steps": 4, "guidance_scale": 1.0, "timestep_spacing": "trailing"}
GIGABYTES = 6_900_000_000
STYLES = (
    Style(
        name="film", group="photography", title={"en": "Film photo", "zh-CN": "胶片"}, colour="#b08050",
        prompt="photo of {prompt}, 35mm film, grain", negative="drawing",
    ),
    Style(
        name="oil", group="painting", title={"en": "Oil", "zh-CN": "油画"}, colour="#305080",
        prompt="{prompt}, oil on canvas, thick paint",
    ),
)  # fmt: skip
"""Two styles of different groups."""


@dataclass(frozen=True)
class FakeRefused:
    """A file that the library turned away."""

    file: str
    reason: str


@dataclass
class FakeLibrary:
    """Entries by name, and what a rescan will find."""

    checkpoints: dict[str, ModelEntry]
    add_ons: dict[str, AddOn]
    refused: tuple[FakeRefused, ...] = ()
    next_add_ons: dict[str, AddOn] = field(default_factory=dict)
    next_refused: tuple[FakeRefused, ...] = ()


def make_library(vocabulary: Path) -> FakeLibrary:
    """The embedded model, two of full size, one that inpaints, refiners, and add-ons of each kind."""
    demo = ModelEntry(
        name="demo", title="Studio demo", source="/models/demo", native_size=256, embedded=True,
        defaults={"num_inference_steps": 20, "guidance_scale": 5.0}, refiner="demo-refiner", vocabulary=str(vocabulary),
    )  # fmt: skip
    others = (
        ModelEntry(name="demo-refiner", title="Studio demo refiner", source="/a", kind="refiner", native_size=256),
        ModelEntry(
            name="big", title="Big model", source="someone/big", defaults={"guidance_scale": 7.0}, licence="Open"
        ),
        ModelEntry(name="fast", title="Fast model", source="/fast", native_size=512, defaults=FEW_STEPS),
        ModelEntry(name="filler", title="Filler", source="/filler", kind="inpainting"),
        ModelEntry(name="big-refiner", title="Big refiner", source="/b", kind="refiner"),
    )
    add_ons = (
        AddOn(name="paper", title="Paper cut", source="/paper", kind="lora"),
        AddOn(name="ink", title="Ink", source="/ink", kind="lora"),
        AddOn(name="four-steps", title="Four steps", source="/four", kind="lora", defaults=FEW_STEPS),
        AddOn(name="clear", title="Clear VAE", source="/clear", kind="vae"),
        AddOn(name="gloomy", title="gloomy", source="/gloomy", kind="embedding"),
    )
    return FakeLibrary({entry.name: entry for entry in (demo, *others)}, {entry.name: entry for entry in add_ons})


class FakeManager:
    """Answers like `PipelineManager`; one thread for each job, `step_seconds` for each step.

    A prompt with the word "break" fails, one with "full" finds the queue full, one with "heal" is drawn twice.
    """

    def __init__(self, folder: Path, step_seconds: float = 0.0) -> None:
        vocabulary = folder / "vocabulary.json"
        vocabulary.write_text(VOCABULARY, encoding="utf-8")
        self.library = make_library(vocabulary)
        self.model = self.library.checkpoints["demo"]
        self.reason = "no accelerator found"
        self.folder = folder
        self.step_seconds = step_seconds
        self.jobs: dict[str, Job] = {}
        self.requests: list[GenerationRequest] = []
        self.styles = {style.name: style for style in STYLES}
        (folder / "wildcards").mkdir()
        (folder / "wildcards" / "colour.txt").write_text("red\nblue\ngreen\n", encoding="utf-8")
        self.wildcards = Wildcards(folder / "wildcards")

    def submit(self, request: GenerationRequest, owner: str = "") -> Job:
        if "full" in request.prompt:
            raise QueueFull("the queue is full (32 jobs wait); try again in a minute")
        final_texts(request, self.styles)
        seeded = request if request.seed >= 0 else request.model_copy(update={"seed": 1234})
        draws = draw_prompts(seeded, self.wildcards)
        job = Job(request, owner)
        self.jobs[job.id] = job
        self.requests.append(request)
        job.post(Queued(position=0))
        threading.Thread(target=self._run, args=(job, draws), daemon=True).start()
        return job

    def cancel(self, job_id: str) -> None:
        self.jobs[job_id].cancel()

    def choices(self, kind: str) -> list[Entry]:
        kinds = ("base", "inpainting") if kind == "model" else (kind,)
        entries: list[Any] = [*self.library.checkpoints.values(), *self.library.add_ons.values()]
        return [entry for entry in entries if entry.kind in kinds]

    def is_here(self, entry: Entry) -> bool:
        return entry.source.startswith("/")

    def rescan(self) -> None:
        self.library.add_ons |= self.library.next_add_ons
        self.library.refused = self.library.next_refused

    def count_prompt(
        self, text: str, *, field: str = "prompt", model: str = "", syntax: str = "auto", weighting: str = "auto",
        styles: tuple[str, ...] = (), seed: int = -1,
    ) -> PromptCount:  # fmt: skip
        """A word is a token; the second encoder counts "gloomy" as two."""
        values: Any = {field: draw_text(text, self.wildcards, seed=max(seed, 0), field=field), "styles": styles}
        drawn = getattr(final_texts(TextToImageRequest(**values), self.styles), field)
        words = drawn.split()
        ends = tuple(words[min(end, len(words)) - 1] for end in range(75, len(words) + 75, 75)) or ("",)
        tags = re.findall(r"<lora:(\w+)", text)
        return PromptCount(
            dialect="compel" if "++" in text or syntax == "compel" else "a1111" if "(" in text else "plain",
            encoders=(EncoderCount(len(words), ends), EncoderCount(len(words) + words.count("gloomy"), ends)),
            drawn=drawn,
            loras=tuple(tag for tag in tags if tag in self.library.add_ons),
            unknown=tuple(tag for tag in tags if tag not in self.library.add_ons),
            wildcards=wildcards_in(text, self.wildcards),
            combinations=count_combinations({field: text}, self.wildcards),
            hints=(Hint("unclosed", "("),) if text.count("(") > text.count(")") else (),
        )

    def count_combinations(self, texts: dict[str, str]) -> int:
        return count_combinations(texts, self.wildcards)

    def plan_steps(self, request: GenerationRequest) -> dict[str, int]:
        steps = int(request.num_inference_steps * getattr(request, "strength", 1.0))
        base = round(steps * getattr(request, "denoising_end", 1.0))
        if base == 0:
            raise InvalidRequest("denoising_end", "must leave the base at least one step", 0.05)
        return {"base": base, "refiner": steps - base} if base < steps else {"base": steps}

    def status(self) -> Status:
        running = sum(not job.is_finished for job in self.jobs.values())
        parts = (LoadedComponent("unet", "Studio demo", 12_300_000, "cpu", "float32"),)
        return Status(
            model="Studio demo", device="cpu", device_name="test CPU", dtype="float32", memory="full",
            components=parts if self.jobs else (), queued=max(0, running - 1), running=min(1, running),
        )  # fmt: skip

    def close(self) -> None:
        for job in self.jobs.values():
            job.cancel()

    def _run(self, job: Job, draws: tuple[Draw, ...]) -> None:
        started = time.monotonic()
        total = job.request.num_inference_steps
        if job.request.model == "big":
            job.post(Loading("Big model", 0.17, int(GIGABYTES * 0.17), GIGABYTES))
            time.sleep(self.step_seconds)
        job.post(Loading("Studio demo", 0.62))
        time.sleep(self.step_seconds)
        if "break" in job.request.prompt:
            job.post(Failed(ModelError("models/demo/unet holds no weights")))
            return
        notices: tuple[Any, ...] = ("denoised_in_float32",) if "heal" in job.request.prompt else ()
        for notice in notices:
            job.post(Noticed(notice))
        drawn: list[GenerationRequest] = []
        files: list[Path] = []
        for number, one in enumerate(draws):
            for index in range(1, total + 1):
                time.sleep(self.step_seconds)
                if job.is_cancelled:
                    result = self._result(job, draws, drawn, files, started, notices)
                    job.post(Stopped(result if files else None))
                    return
                preview = self._preview(one.request, index / total) if index % 3 == 0 else None
                speed = 1 / self.step_seconds if self.step_seconds else 100.0
                done, of_all = number * total + index, total * len(draws)
                job.post(Step(done, of_all, "base", speed, (of_all - done) / speed, preview))
            own = [
                one.request.model_copy(update={"seed": seed, "num_images_per_prompt": 1}) for seed in one.request.seeds
            ]
            files += [self._draw(job, len(files) + place, request) for place, request in enumerate(own)]
            drawn += own
        job.post(Saving())
        job.post(Done(self._result(job, draws, drawn, files, started, notices)))

    def _result(
        self, job: Job, draws: tuple[Draw, ...], drawn: list[GenerationRequest], files: list[Path], started: float,
        notices: tuple[Any, ...],
    ) -> Result:  # fmt: skip
        width, height = self._size(job.request)
        size = {"width": width, "height": height}
        return Result(
            files=tuple(files),
            seeds=tuple(request.seed for request in drawn),
            request=job.request.model_copy(update={"seed": draws[0].request.seed, **size}),
            elapsed_seconds=time.monotonic() - started,
            steps={"base": job.request.num_inference_steps},
            model=job.request.model or "demo",
            notices=notices,
            drawn=tuple(request.model_copy(update=size) for request in drawn),
        )

    def _size(self, request: GenerationRequest) -> tuple[int, int]:
        native = self.library.checkpoints[request.model or "demo"].native_size
        return request.width or native, request.height or native

    def _picture(self, request: GenerationRequest) -> Image.Image:
        words = request.prompt.split()
        colour = next((COLOURS[word] for word in words if word in COLOURS), "#8a8f98")
        image = Image.new("RGB", self._size(request), colour)
        if words:
            ImageDraw.Draw(image).text((12, 12), request.prompt[:40], fill="white")
        return image

    def _preview(self, request: GenerationRequest, share: float) -> bytes:
        picture = self._picture(request).resize((64, 64))
        grey = Image.new("RGB", picture.size, "#777777")
        buffer = io.BytesIO()
        Image.blend(grey, picture, share).save(buffer, "JPEG")
        return buffer.getvalue()

    def _draw(self, job: Job, number: int, request: GenerationRequest) -> Path:
        path = self.folder / f"{job.id[:8]}-{number}-{request.seed}.png"
        self._picture(request).save(path)
        return path


def leave_no_loop_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio opens an event loop for each of its locks and never closes it, which here would be a warning.

    Since Python 3.10 a lock needs none.
    """
    for place in ("gradio.queueing", "gradio.utils"):
        monkeypatch.setattr(f"{place}.safe_get_lock", asyncio.Lock)
    monkeypatch.setattr("gradio.utils.safe_get_stop_event", asyncio.Event)
