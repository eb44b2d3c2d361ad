"""The public door of the engine: submit a request, listen to its job, ask what is loaded."""

import logging
import secrets
from pathlib import Path

from pipelines.components.cache import ComponentCache
from pipelines.components.device import choose_device, choose_dtype, choose_model, name_of_device
from pipelines.diffusion.conditioning import Conditioner
from pipelines.diffusion.previews import LatentPreview
from pipelines.engine import Engine
from pipelines.job import Job
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import MAX_SEED, GenerationRequest
from pipelines.schema.settings import Settings
from pipelines.schema.status import Status
from pipelines.tasks import TASKS

log = logging.getLogger(__name__)


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
        self._engine = Engine(settings, Conditioner(self.components), preview)
        if settings.preload:
            self._engine.call(self._load_experts).result()

    def submit(self, request: GenerationRequest, owner: str = "") -> Job:
        """Queues a request and returns its job; raises `InvalidRequest`, `PictureError`, `ModelError` or `QueueFull`.

        A seed of -1 is drawn here and a missing size filled in, so that the job's request says what will be drawn.
        """
        if request.seed < 0:
            request = request.model_copy(update={"seed": secrets.randbelow(MAX_SEED + 1)})
        request, inputs = TASKS[request.task].admit(request, self.model)
        job = Job(request, owner)
        self._engine.submit(job, inputs)
        return job

    def status(self) -> Status:
        """What is loaded where, and how many wait; names no visitor."""
        queued, running = self._engine.counts()
        return Status(
            model=self.model.title,
            device=str(self.components.device),
            device_name=name_of_device(self.components.device),
            dtype=str(self.components.dtype).removeprefix("torch."),
            components=self.components.loaded(),
            queued=queued,
            running=running,
        )

    def _load_experts(self) -> None:
        for name in ("base", "refiner") if self.model.refiner else ("base",):
            self.components.expert(name, lambda what, fraction: log.info("loading %s, %.0f %%", what, fraction * 100))

    def close(self) -> None:
        """Stops every job and the device's thread."""
        self._engine.close()
