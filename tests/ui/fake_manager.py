"""A manager that draws flat colours: what the interface sees of the engine, without torch."""

import asyncio
import io
import threading
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from pipelines.job import Job
from pipelines.schema.errors import ModelError, QueueFull
from pipelines.schema.events import Done, Failed, Loading, Queued, Result, Saving, Step, Stopped
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import GenerationRequest
from pipelines.schema.status import Status

COLOURS = {"blue": "#4a7bd0", "yellow": "#e8c441", "pink": "#e59bb5", "red": "#c8453c", "green": "#5aa55a"}
VOCABULARY = '{"subjects": ["fox", "cactus", "penguin"], "colours": ["blue", "yellow", "pink"], "scenes": ["at night"]}'


class FakeManager:
    """Answers like `PipelineManager`; one thread for each job, `step_seconds` for each step.

    A prompt with the word "break" fails, one with "full" finds the queue full.
    """

    def __init__(self, folder: Path, step_seconds: float = 0.0) -> None:
        vocabulary = folder / "vocabulary.json"
        vocabulary.write_text(VOCABULARY, encoding="utf-8")
        self.model = ModelEntry(
            name="demo",
            title="Studio demo",
            source="models/demo",
            native_size=256,
            defaults={"num_inference_steps": 20, "guidance_scale": 5.0},
            embedded=True,
            refiner="models/demo/refiner",
            vocabulary=str(vocabulary),
        )
        self.reason = "no accelerator found"
        self.folder = folder
        self.step_seconds = step_seconds
        self.jobs: dict[str, Job] = {}
        self.requests: list[GenerationRequest] = []

    def submit(self, request: GenerationRequest, owner: str = "") -> Job:
        if "full" in request.prompt:
            raise QueueFull("the queue is full (32 jobs wait); try again in a minute")
        job = Job(request, owner)
        self.jobs[job.id] = job
        self.requests.append(request)
        job.post(Queued(position=0))
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def cancel(self, job_id: str) -> None:
        self.jobs[job_id].cancel()

    def status(self) -> Status:
        running = sum(not job.is_finished for job in self.jobs.values())
        return Status("demo", "cpu", "test CPU", "float32", (), queued=max(0, running - 1), running=min(1, running))

    def close(self) -> None:
        for job in self.jobs.values():
            job.cancel()

    def _run(self, job: Job) -> None:
        started = time.monotonic()
        total = job.request.num_inference_steps
        job.post(Loading("Studio demo", 0.62))
        time.sleep(self.step_seconds)
        if "break" in job.request.prompt:
            job.post(Failed(ModelError("models/demo/unet holds no weights")))
            return
        for index in range(1, total + 1):
            time.sleep(self.step_seconds)
            if job.is_cancelled:
                job.post(Stopped())
                return
            preview = self._preview(job, index / total) if index % 3 == 0 else None
            speed = 1 / self.step_seconds if self.step_seconds else 100.0
            job.post(Step(index, total, "base", speed, (total - index) / speed, preview))
        job.post(Saving())
        first = job.request.seed if job.request.seed >= 0 else 1234
        seeds = tuple(first + k for k in range(job.request.num_images_per_prompt))
        files = tuple(self._draw(job, seed) for seed in seeds)
        width, height = self._size(job)
        drawn = job.request.model_copy(update={"seed": first, "width": width, "height": height})
        elapsed = time.monotonic() - started
        job.post(Done(Result(files, seeds, drawn, elapsed, {"base": total}, "demo")))

    def _size(self, job: Job) -> tuple[int, int]:
        return job.request.width or 256, job.request.height or 256

    def _picture(self, job: Job) -> Image.Image:
        words = job.request.prompt.split()
        colour = next((COLOURS[word] for word in words if word in COLOURS), "#8a8f98")
        image = Image.new("RGB", self._size(job), colour)
        if words:
            ImageDraw.Draw(image).text((12, 12), job.request.prompt[:40], fill="white")
        return image

    def _preview(self, job: Job, share: float) -> bytes:
        picture = self._picture(job).resize((64, 64))
        grey = Image.new("RGB", picture.size, "#777777")
        buffer = io.BytesIO()
        Image.blend(grey, picture, share).save(buffer, "JPEG")
        return buffer.getvalue()

    def _draw(self, job: Job, seed: int) -> Path:
        path = self.folder / f"{job.id[:8]}-{seed}.png"
        self._picture(job).save(path)
        return path


def leave_no_loop_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio opens an event loop for each of its locks and never closes it, which here would be a warning.

    Since Python 3.10 a lock needs none.
    """
    for place in ("gradio.queueing", "gradio.utils"):
        monkeypatch.setattr(f"{place}.safe_get_lock", asyncio.Lock)
    monkeypatch.setattr("gradio.utils.safe_get_stop_event", asyncio.Event)
