"""The public door of the engine: submit a request, listen to its job, ask what is loaded.

It knows the files that there are and who waits for what. What computes is behind it, in the workshop, which is built
when it is first needed: a page can be served before torch is imported.
"""

import platform
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.components.accelerators import choose_model, may_have_accelerator
from pipelines.components.hub import find
from pipelines.components.library import Library
from pipelines.components.parts import experts_of, files_of, weight_bytes, with_stamps
from pipelines.downloads import Downloads, Wanted
from pipelines.job import Job
from pipelines.line import Drawing, Line, Turn
from pipelines.prompts.drawing import draw_prompts, final_texts
from pipelines.prompts.styles import load_styles
from pipelines.prompts.wildcards import Wildcards
from pipelines.schema.counts import Known, PromptCount
from pipelines.schema.errors import InvalidRequest, PipelineError, RunError
from pipelines.schema.models import AddOn, Entry, ModelEntry, Selection, load_catalogue
from pipelines.schema.requests import GenerationRequest, TextToImageRequest, make_request
from pipelines.schema.settings import Settings
from pipelines.schema.status import Status
from pipelines.schema.types import MAX_SEED, Syntax, Weighting

if TYPE_CHECKING:
    from pipelines.components.cache import ComponentCache
    from pipelines.engine import Engine
    from pipelines.workshop import Workshop

PREVIEW_DECODER = "taesdxl"


class PipelineManager:
    """Keeps one copy of a model's components on the device and draws everybody's requests with them.

    Components are loaded with the first request that needs them, or at once with `settings.preload`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.library = Library(settings.models_dir, load_catalogue())
        self.styles = load_styles()
        """By name, in the order in which they are shown."""
        self.wildcards = Wildcards()
        self._known_bytes: dict[str, int] = {}
        self._line = Line(settings.max_running, settings.max_queue, self._fits)
        self._building = threading.RLock()
        self._built: Workshop | None = None
        self._is_closed = False
        self.model: ModelEntry
        """The checkpoint that requests mean which name none."""
        self.reason: str
        """Why this model was chosen, in a few words."""
        is_plain = settings.device == "cpu" or (settings.device == "auto" and not may_have_accelerator())
        accelerator = "" if is_plain else self._build().accelerator
        self.model, self.reason = choose_model(settings, accelerator, self.library)
        self._downloads = Downloads(self._line)
        if self._decoder:
            self._downloads.keep_trying(self._decoder)
        if settings.preload:
            self._wait_until_loaded()

    @property
    def components(self) -> "ComponentCache":
        """What is in memory; the device's thread alone may change it."""
        return self._workshop.components

    @property
    def _engine(self) -> "Engine":
        return self._workshop.engine

    @property
    def _decoder(self) -> AddOn | None:
        """Of sharp previews."""
        return self.library.add_ons.get(PREVIEW_DECODER) if self.settings.previews == "sharp" else None

    @property
    def _workshop(self) -> "Workshop":
        """What computes, at work; whoever asks first waits for its imports."""
        with self._building:
            workshop = self._build()
            if not workshop.is_started:
                workshop.start(self.library.select(TextToImageRequest(), self.model), self._decoder)
            return workshop

    def _build(self) -> "Workshop":
        if self._is_closed:
            raise RunError("the studio is closing; start it again and try once more")
        if self._built is None:
            from pipelines.workshop import Workshop

            self._built = Workshop(self.settings, self.library, self._line, self.styles, self.wildcards)
        return self._built

    def warm_up(self) -> None:
        """Builds beside the caller what the first request would wait for."""

        def build() -> None:
            with suppress(RunError):  # the studio was closed before it was used
                _ = self._workshop

        threading.Thread(target=build, name="warm-up", daemon=True).start()

    def submit(self, request: GenerationRequest, owner: str = "") -> Job:
        """Queues a request and returns its job; raises `InvalidRequest`, `PictureError`, `ModelError` or `QueueFull`.

        A seed of -1 is drawn here, and model and size filled in, so that the job's request says what will be drawn.
        Pictures whose texts differ, because wildcards stand in them, become drawings of their own.
        """
        self._line.reserve()
        try:
            seed = request.seed if request.seed >= 0 else secrets.randbelow(MAX_SEED + 1)
            request = request.model_copy(update={"seed": seed})
            drawings = self._plan_drawings(request)
            self._workshop.check_lengths(drawings)
            missing = self._find_missing(drawings)
            request, inputs = self._admit(request, drawings)
        except BaseException:
            self._line.release()
            raise
        filled = {"model": request.model, "width": request.width, "height": request.height}
        job = Job(request, owner)
        turn = Turn(job, tuple(drawing.fill(filled) for drawing in drawings), inputs)
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
        return self._workshop.plan_steps(request, self.library.select(request, self.model))

    def count_prompt(  # noqa: PLR0913 (what a request says of its prompts)
        self,
        text: str,
        *,
        field: str = "prompt",
        model: str = "",
        syntax: Syntax = "auto",
        weighting: Weighting = "auto",
        styles: Sequence[str] = (),
        seed: int = -1,
    ) -> PromptCount:
        """How long a text is in the request's field `field`, and what in it is not known, before anything is loaded.

        Another model's tokenizers count where there is none of that name. From any thread; raises `InvalidRequest`.
        """
        choices = {"prompt_syntax": syntax, "prompt_weighting": weighting, "styles": tuple(styles), "seed": seed}
        request = make_request(TextToImageRequest, {field: text, **choices})
        known = Known(self.library.knows_lora, self.library.embedding_sizes())
        return self._workshop.counter.count(request, field, self.library.checkpoints.get(model, self.model), known)

    def count_combinations(self, texts: GenerationRequest | Mapping[str, str]) -> int:
        """How many different texts a request, or prompts by their fields, can become; from any thread."""
        return self._workshop.counter.count_combinations(texts)

    def rescan(self) -> None:
        """Looks through the model folders and the wildcards again."""
        self.library.rescan()
        self.wildcards.rescan()

    def status(self) -> Status:
        """What is loaded where, and how many wait, for their turn or for a download; names no visitor."""
        queued, running = self._line.counts()
        built = self._built
        return Status(
            model=built.engine.drawn_with if built and built.is_started else self.model.title,
            device=str(built.device) if built else "cpu",
            device_name=built.device_name if built else f"{platform.machine()} CPU",
            dtype=built.dtype_name if built else "",
            memory=built.components.memory.mode if built else "full",
            components=built.components.loaded() if built else (),
            queued=queued + self._downloads.count(),
            running=running,
        )

    def close(self) -> None:
        """Stops every job, the downloads, which a later start goes on with, and the device's thread."""
        self._downloads.close()
        with self._building:
            self._is_closed = True
            self._line.close()
            if self._built is not None:
                self._built.close()

    def _fits(self, turn: Turn, running: Sequence[Turn]) -> bool:
        """Whether a job's files may be loaded beside those at work: the same ones, or all of them within the budget."""
        sources = {self._sources(other.selection) for other in (turn, *running)}
        if len(sources) <= 1:
            return True
        each = {source for group in sources for source in group}
        return sum(map(self._weight_bytes, each)) <= round(self.settings.memory_budget * 1e9)

    @staticmethod
    def _sources(selection: Selection) -> tuple[str, ...]:
        entries = (selection.model, selection.refiner)
        return tuple(entry.source for entry in entries if entry)

    def _weight_bytes(self, source: str) -> int:
        """Bytes of a checkpoint's weights on this disk, looked up once."""
        if source not in self._known_bytes:
            entries = [*self.library.checkpoints.values()]
            entry = next((entry for entry in entries if entry.source == source), None)
            path = find(entry, []) if entry else None
            self._known_bytes[source] = weight_bytes(path or Path(source))
        return self._known_bytes[source]

    def _may_use(self, entry: Entry) -> bool:
        is_own = entry.name in (self.model.name, self.model.refiner, self.model.vae)
        return is_own or self.settings.downloads is not False or self.library.is_here(entry)

    def _plan_drawings(self, request: GenerationRequest) -> list[Drawing]:
        """What the request comes to, each text with its files; raises `InvalidRequest`."""
        drawings = []
        for draw in draw_prompts(request, self.wildcards):
            final_texts(draw.request, self.styles)  # so that an unknown style is refused while the visitor listens
            drawings.append(Drawing(draw, with_stamps(self.library.select(draw.request, self.model))))
        return drawings

    def _admit(self, request: GenerationRequest, drawings: Sequence[Drawing]) -> tuple[GenerationRequest, Any]:
        """The request with model and size filled in, and its uploads; judged by the drawing with most pictures."""
        largest = max(drawings, key=lambda drawing: drawing.draw.request.num_images_per_prompt)
        admitted, inputs = self._workshop.admit(request.task, largest.draw.request, largest.selection)
        model = largest.selection.model.name
        return request.model_copy(update={"model": model, "width": admitted.width, "height": admitted.height}), inputs

    def _find_missing(self, drawings: Sequence[Drawing]) -> list[Wanted]:
        """What has to be downloaded first; raises `InvalidRequest` where visitors may not ask for that."""
        wanted: list[Wanted] = []
        for drawing in drawings:
            files = files_of(drawing.selection, experts_of(drawing.draw.request))
            wanted += [file for file in files if file not in wanted]
        missing = [(entry, parts) for entry, parts in wanted if not self.library.is_here(entry, parts)]
        for entry, _ in missing:
            if not self._may_use(entry):
                field = {"lora": "loras", "preview": "draft"}.get(getattr(entry, "kind", ""), "model")
                raise InvalidRequest(field, "must be on the studio's disk: its host allows no downloads", entry.name)
        return missing

    def _wait_until_loaded(self) -> None:
        try:
            self._engine.ready.result()
        except PipelineError:
            self.close()
            raise
