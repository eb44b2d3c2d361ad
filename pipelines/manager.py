"""The public door of the engine: submit a request, listen to its job, ask what is loaded."""

import secrets
import threading
from pathlib import Path

from pipelines.components.cache import ComponentCache
from pipelines.components.device import choose_device, choose_dtype, choose_model, name_of_device
from pipelines.diffusion.conditioning import Conditioner
from pipelines.diffusion.previews import LatentPreview
from pipelines.engine import Engine
from pipelines.job import Job
from pipelines.line import Line, Turn
from pipelines.schema.errors import PipelineError
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import MAX_SEED, GenerationRequest
from pipelines.schema.settings import Settings
from pipelines.schema.status import Status
from pipelines.tasks import TASKS

DECODED_AT_ONCE = 2
"""Uploads that are read at the same time: a large one takes hundreds of megabytes for a moment."""


class PipelineManager:
    """Keeps one copy of a model's components on the device and draws everybody's requests with them.

    Components are loaded with the first request that needs them, or at once with `settings.preload`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        device = choose_device(settings)
        self.model: ModelEntry
        self.reason: str
        """Why this model was chosen, in a few words."""
        self.model, self.reason = choose_model(settings, device)
        self.components = ComponentCache(self.model, device, choose_dtype(settings, device))
        preview_file = Path(self.model.latent_rgb) if self.model.latent_rgb else None
        preview = LatentPreview.from_file(preview_file) if preview_file and preview_file.is_file() else None
        self._decoding = threading.Semaphore(DECODED_AT_ONCE)
        self._line = Line(settings.max_running, settings.max_queue)
        self._engine = Engine(settings, self._line, Conditioner(self.components), preview)
        if settings.preload:
            self._wait_until_loaded()

    def submit(self, request: GenerationRequest, owner: str = "") -> Job:
        """Queues a request and returns its job; raises `InvalidRequest`, `PictureError`, `ModelError` or `QueueFull`.

        A seed of -1 is drawn here and a missing size filled in, so that the job's request says what will be drawn.
        """
        self._line.reserve()
        try:
            if request.seed < 0:
                request = request.model_copy(update={"seed": secrets.randbelow(MAX_SEED + 1)})
            with self._decoding:
                request, inputs = TASKS[request.task].admit(request, self.model)
        except BaseException:
            self._line.release()
            raise
        job = Job(request, owner)
        self._line.enter(Turn(job, inputs))
        return job

    def status(self) -> Status:
        """What is loaded where, and how many wait; names no visitor."""
        queued, running = self._line.counts()
        return Status(
            model=self.model.title,
            device=str(self.components.device),
            device_name=name_of_device(self.components.device),
            dtype=str(self.components.dtype).removeprefix("torch."),
            components=self.components.loaded(),
            queued=queued,
            running=running,
        )

    def close(self) -> None:
        """Stops every job and the device's thread."""
        self._engine.close()

    def _wait_until_loaded(self) -> None:
        try:
            self._engine.ready.result()
        except PipelineError:
            self.close()
            raise
