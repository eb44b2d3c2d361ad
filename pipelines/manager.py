"""The public door of the engine: submit a request, listen to its job, ask what is loaded."""

import logging
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import diffusers
import transformers

from pipelines.components.cache import ComponentCache
from pipelines.components.device import choose_device, choose_dtype, choose_model, name_of_device
from pipelines.components.hub import fetch
from pipelines.components.library import Library
from pipelines.components.loading import read_scheduler_config
from pipelines.components.memory import Memory
from pipelines.components.parts import experts_of, files_of
from pipelines.components.single_file import CONFIGS
from pipelines.diffusion.conditioner import Conditioner
from pipelines.diffusion.plan import plan_steps
from pipelines.engine import Engine
from pipelines.job import Job
from pipelines.line import Line, Turn
from pipelines.schema.errors import Cancelled, InvalidRequest, ModelError, PipelineError
from pipelines.schema.events import Failed, Loading
from pipelines.schema.models import Entry, ModelEntry, Selection, load_catalogue
from pipelines.schema.requests import MAX_SEED, GenerationRequest, TextToImageRequest
from pipelines.schema.settings import Settings
from pipelines.schema.status import Status
from pipelines.tasks import TASKS

log = logging.getLogger(__name__)

PREVIEW_DECODER = "taesdxl"
DOWNLOADS_AT_ONCE = 2
DECODED_AT_ONCE = 2
"""Uploads that are read at the same time: a large one takes hundreds of megabytes for a moment."""


Wanted = tuple[Entry, list[str] | None]
"""An entry, and the parts of it that are needed; `None`: all of it."""


class PipelineManager:
    """Keeps one copy of a model's components on the device and draws everybody's requests with them.

    Components are loaded with the first request that needs them, or at once with `settings.preload`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        for library in (diffusers, transformers):  # their bars go to the console: ours go to whoever waits
            library.utils.logging.disable_progress_bar()
        device = choose_device(settings)
        self.library = Library(settings.models_dir, load_catalogue())
        self.model: ModelEntry
        """The checkpoint that requests mean which name none."""
        self.reason: str
        """Why this model was chosen, in a few words."""
        self.model, self.reason = choose_model(settings, device, self.library)
        memory = Memory(device, settings.memory, settings.fp8)
        budget = round(settings.memory_budget * 1e9)
        self.components = ComponentCache(device, choose_dtype(settings, device), memory, budget)
        self._decoding = threading.Semaphore(DECODED_AT_ONCE)
        self._downloads = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download")
        self._line = Line(settings.max_running, settings.max_queue, self._fits)
        own = self.library.select(TextToImageRequest(), self.model)
        decoder = self.library.add_ons.get(PREVIEW_DECODER) if settings.previews == "sharp" else None
        self._engine = Engine(settings, self._line, Conditioner(self.components), own, decoder)
        if settings.preload:
            self._wait_until_loaded()

    def submit(self, request: GenerationRequest, owner: str = "") -> Job:
        """Queues a request and returns its job; raises `InvalidRequest`, `PictureError`, `ModelError` or `QueueFull`.

        A seed of -1 is drawn here, and model and size filled in, so that the job's request says what will be drawn.
        """
        self._line.reserve()
        try:
            selection = self.library.select(request, self.model)
            missing = self._find_missing(request, selection)
            seed = request.seed if request.seed >= 0 else secrets.randbelow(MAX_SEED + 1)
            request = request.model_copy(update={"seed": seed, "model": selection.model.name})
            with self._decoding:
                request, inputs = TASKS[request.task].admit(request, selection)
        except BaseException:
            self._line.release()
            raise
        job = Job(request, owner)
        turn = Turn(job, selection, inputs)
        if missing:
            self._downloads.submit(self._download, turn, missing)
        else:
            self._line.enter(turn)
        return job

    def choices(self, kind: str) -> list[Entry]:
        """What a request may name: kind "model" (base and inpainting), "refiner", "vae", "lora" or "embedding".

        Without `settings.downloads` only what is on this disk, and what the studio started with.
        """
        kinds = ("base", "inpainting") if kind == "model" else (kind,)
        entries: list[Entry] = [*self.library.checkpoints.values(), *self.library.add_ons.values()]
        return [entry for entry in entries if getattr(entry, "kind", "") in kinds and self._may_use(entry)]

    def is_here(self, entry: Entry) -> bool:
        """Whether the entry's files are on this disk; else the first picture with them waits for a download."""
        return self.library.is_here(entry)

    def plan_steps(self, request: GenerationRequest) -> dict[str, int]:
        """UNet calls that each expert will make, for example `{"base": 24, "refiner": 6}`, before anything is loaded.

        Raises `InvalidRequest` as the request itself would.
        """
        selection = self.library.select(request, self.model)
        entries = {name: selection.entry(name) or selection.model for name in experts_of(request)}
        return plan_steps(request, {name: self._scheduler_config(entry) for name, entry in entries.items()})

    def _scheduler_config(self, entry: ModelEntry) -> dict[str, Any]:
        """The checkpoint's own; SDXL's where its files are still on the Hub."""
        is_here = self.library.is_here(entry, ["scheduler"])
        return read_scheduler_config(entry, fetch(entry, ["scheduler"], ignore) if is_here else CONFIGS / entry.kind)

    def rescan(self) -> None:
        """Looks through the model folders again."""
        self.library.rescan()

    def status(self) -> Status:
        """What is loaded where, and how many wait; names no visitor."""
        queued, running = self._line.counts()
        return Status(
            model=self._engine.drawn_with,
            device=str(self.components.device),
            device_name=name_of_device(self.components.device),
            dtype=str(self.components.dtype).removeprefix("torch."),
            memory=self.components.memory.mode,
            components=self.components.loaded(),
            queued=queued,
            running=running,
        )

    def close(self) -> None:
        """Stops every job and the device's thread, and leaves downloads to be taken up again later."""
        self._downloads.shutdown(wait=False, cancel_futures=True)
        self._engine.close()

    def _fits(self, turn: Turn, running: Sequence[Turn]) -> bool:
        """Whether a job's checkpoint may be loaded beside those at work: not without a budget for several."""
        return bool(self.settings.memory_budget) or all(
            turn.selection.model.source == other.selection.model.source for other in running
        )

    def _may_use(self, entry: Entry) -> bool:
        is_own = entry.name in (self.model.name, self.model.refiner, self.model.vae)
        return is_own or self.settings.downloads is not False or self.library.is_here(entry)

    def _find_missing(self, request: GenerationRequest, selection: Selection) -> list[Wanted]:
        """What has to be downloaded first; raises `InvalidRequest` where visitors may not ask for that."""
        wanted = files_of(selection, experts_of(request))
        missing = [(entry, parts) for entry, parts in wanted if not self.library.is_here(entry, parts)]
        for entry, _ in missing:
            if not self._may_use(entry):
                field = "loras" if getattr(entry, "kind", "") == "lora" else "model"
                raise InvalidRequest(field, "must be on the studio's disk: its host allows no downloads", entry.name)
        return missing

    def _download(self, turn: Turn, missing: list[Wanted]) -> None:
        """Brings a job's files beside the device's thread, which goes on with others; then the job joins the line."""
        job = turn.job

        def report(event: Loading) -> None:
            if job.is_cancelled:
                raise Cancelled("the job was stopped while its model was being downloaded")
            job.post(event)

        try:
            for entry, parts in missing:
                fetch(entry, parts, report)
        except Cancelled:
            job.stop()
        except PipelineError as error:
            job.post(Failed(error))
        except Exception as error:
            log.exception("download of %s", missing[0][0].source)
            job.post(Failed(ModelError(f"{missing[0][0].title} could not be downloaded ({type(error).__name__})")))
        if job.is_finished:
            self._line.release()
        else:
            self._line.enter(turn)

    def _wait_until_loaded(self) -> None:
        try:
            self._engine.ready.result()
        except PipelineError:
            self.close()
            raise


def ignore(_event: Loading) -> None:
    """For what is on this disk already, and is not downloaded."""
