"""The public door of the engine: submit a request, listen to its job, ask what is loaded."""

import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import transformers

from pipelines.components.cache import ComponentCache
from pipelines.components.device import choose_device, choose_dtype, choose_model, name_of_device
from pipelines.components.hub import fetch
from pipelines.components.library import Library
from pipelines.components.loading import read_scheduler_config
from pipelines.components.memory import Memory
from pipelines.components.parts import experts_of, files_of, weight_bytes, with_stamps
from pipelines.components.single_file import CONFIGS
from pipelines.diffusion.conditioner import Conditioner
from pipelines.diffusion.plan import plan_steps
from pipelines.downloads import Downloads, Wanted
from pipelines.engine import Engine
from pipelines.job import Job
from pipelines.line import Line, Turn
from pipelines.schema.errors import InvalidRequest, PipelineError
from pipelines.schema.events import Loading
from pipelines.schema.models import Entry, ModelEntry, Selection, load_catalogue
from pipelines.schema.requests import GenerationRequest, TextToImageRequest
from pipelines.schema.settings import Settings
from pipelines.schema.status import Status
from pipelines.schema.types import MAX_SEED
from pipelines.tasks import TASKS

PREVIEW_DECODER = "taesdxl"
DECODED_AT_ONCE = 2
"""Uploads that are read at the same time: a large one takes hundreds of megabytes for a moment."""


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
        self._known_bytes: dict[str, int] = {}
        self._line = Line(settings.max_running, settings.max_queue, self._fits)
        self._downloads = Downloads(self._line)
        own = self.library.select(TextToImageRequest(), self.model)
        decoder = self.library.add_ons.get(PREVIEW_DECODER) if settings.previews == "sharp" else None
        self._engine = Engine(settings, self._line, Conditioner(self.components), own, decoder)
        if decoder:
            self._downloads.keep_trying(decoder)
        if settings.preload:
            self._wait_until_loaded()

    def submit(self, request: GenerationRequest, owner: str = "") -> Job:
        """Queues a request and returns its job; raises `InvalidRequest`, `PictureError`, `ModelError` or `QueueFull`.

        A seed of -1 is drawn here, and model and size filled in, so that the job's request says what will be drawn.
        """
        self._line.reserve()
        try:
            selection = with_stamps(self.library.select(request, self.model))
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
            self._downloads.add(turn, missing)
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
        """What is loaded where, and how many wait, for their turn or for a download; names no visitor."""
        queued, running = self._line.counts()
        return Status(
            model=self._engine.drawn_with,
            device=str(self.components.device),
            device_name=name_of_device(self.components.device),
            dtype=str(self.components.dtype).removeprefix("torch."),
            memory=self.components.memory.mode,
            components=self.components.loaded(),
            queued=queued + self._downloads.count(),
            running=running,
        )

    def close(self) -> None:
        """Stops every job, the downloads, which a later start goes on with, and the device's thread."""
        self._downloads.close()
        self._engine.close()

    def _fits(self, turn: Turn, running: Sequence[Turn]) -> bool:
        """Whether a job's files may be loaded beside those at work: the same ones, or all of them within the budget."""
        sources = {self._sources(other.selection) for other in (turn, *running)}
        if len(sources) <= 1:
            return True
        each = {source for group in sources for source in group}
        return sum(map(self._weight_bytes, each)) <= self.components.budget_bytes

    @staticmethod
    def _sources(selection: Selection) -> tuple[str, ...]:
        entries = (selection.model, selection.refiner)
        return tuple(entry.source for entry in entries if entry)

    def _weight_bytes(self, source: str) -> int:
        """Bytes of a checkpoint's weights on this disk, looked up once."""
        if source not in self._known_bytes:
            entries = [*self.library.checkpoints.values()]
            entry = next((entry for entry in entries if entry.source == source), None)
            path = fetch(entry, [], ignore) if entry and self.library.is_here(entry, []) else Path(source)
            self._known_bytes[source] = weight_bytes(path)
        return self._known_bytes[source]

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

    def _wait_until_loaded(self) -> None:
        try:
            self._engine.ready.result()
        except PipelineError:
            self.close()
            raise


def ignore(_event: Loading) -> None:
    """For what is on this disk already, and is not downloaded."""
