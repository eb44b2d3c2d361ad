"""The public door of the engine: submit a request, listen to its job, ask what is loaded."""

import secrets
import threading
from collections.abc import Mapping, Sequence
from functools import partial
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
from pipelines.diffusion.conditioning import check_pairs, count_steps, plan_stages, read_prompts
from pipelines.diffusion.plan import plan_steps
from pipelines.downloads import Downloads, Wanted
from pipelines.engine import Engine
from pipelines.job import Job
from pipelines.line import Drawing, Line, Turn
from pipelines.prompts.counting import Known, PromptCounter
from pipelines.prompts.drawing import draw_prompts, final_texts, texts_of
from pipelines.prompts.encoding import check_sides
from pipelines.prompts.styles import load_styles
from pipelines.prompts.textual_inversion import name_placeholders, rewrite
from pipelines.prompts.tokenizers import Tokenizers
from pipelines.prompts.wildcards import Wildcards
from pipelines.saving import Saver
from pipelines.schema.counts import PromptCount
from pipelines.schema.errors import InvalidRequest, PipelineError
from pipelines.schema.events import Loading
from pipelines.schema.models import Entry, ModelEntry, Selection, load_catalogue
from pipelines.schema.requests import GenerationRequest, TextToImageRequest, make_request
from pipelines.schema.settings import Settings
from pipelines.schema.status import Status
from pipelines.schema.types import MAX_SEED, Syntax, Weighting
from pipelines.tasks import TASKS

PREVIEW_DECODER = "taesdxl"
READ_AHEAD = 1_000_000
"""Characters, each once for every step at which they may change, that are measured before a job is taken: about 1 s."""
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
        self.styles = load_styles()
        """By name, in the order in which they are shown."""
        self.wildcards = Wildcards()
        self._tokenizers = Tokenizers()
        self._counter = PromptCounter(self.wildcards, self.styles, self._tokenizers)
        self._line = Line(settings.max_running, settings.max_queue, self._fits)
        self._downloads = Downloads(self._line)
        own = self.library.select(TextToImageRequest(), self.model)
        saver = Saver(settings.output_dir, self.styles)
        decoder = self.library.add_ons.get(PREVIEW_DECODER) if settings.previews == "sharp" else None
        self._engine = Engine(settings, self._line, Conditioner(self.components, self.styles), saver, own, decoder)
        if decoder:
            self._downloads.keep_trying(decoder)
        if settings.preload:
            self._wait_until_loaded()

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
            self._check_lengths(drawings)
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
        selection = self.library.select(request, self.model)
        entries = {name: selection.entry(name) or selection.model for name in experts_of(request)}
        return plan_steps(request, {name: self._scheduler_config(entry) for name, entry in entries.items()})

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
        return self._counter.count(request, field, self.library.checkpoints.get(model, self.model), known)

    def count_combinations(self, texts: GenerationRequest | Mapping[str, str]) -> int:
        """How many different texts a request, or prompts by their fields, can become; from any thread."""
        return self._counter.count_combinations(texts)

    def _scheduler_config(self, entry: ModelEntry) -> dict[str, Any]:
        """The checkpoint's own; SDXL's where its files are still on the Hub."""
        is_here = self.library.is_here(entry, ["scheduler"])
        return read_scheduler_config(entry, fetch(entry, ["scheduler"], ignore) if is_here else CONFIGS / entry.kind)

    def rescan(self) -> None:
        """Looks through the model folders and the wildcards again."""
        self.library.rescan()
        self.wildcards.rescan()

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

    def _plan_drawings(self, request: GenerationRequest) -> list[Drawing]:
        """What the request comes to, each text with its files; raises `InvalidRequest`."""
        drawings = []
        for draw in draw_prompts(request, self.wildcards):
            final_texts(draw.request, self.styles)  # so that an unknown style is refused while the visitor listens
            drawings.append(Drawing(draw, with_stamps(self.library.select(draw.request, self.model))))
        return drawings

    def _check_lengths(self, drawings: Sequence[Drawing]) -> None:
        """Refuses prompts that the device's thread would refuse as too long, unless measuring them takes long itself.

        Raises `InvalidRequest`.
        """
        room = READ_AHEAD
        for drawing in drawings:
            request = drawing.draw.request
            texts = texts_of(request).values()
            room -= sum(len(text) * (request.num_inference_steps if "[" in text else 1) for text in texts)
            if room < 0:
                return
            self._check_length(request, drawing.selection)

    def _check_length(self, request: GenerationRequest, selection: Selection) -> None:
        entry = selection.entry(experts_of(request)[0]) or selection.model
        sizes = self.library.embedding_sizes()
        vectors = {embedding.name: sizes.get(embedding.name, 1) for embedding in selection.embeddings}
        tokenizers = self._tokenizers.of(entry, sum(vectors.values()))
        prompts = read_prompts(request, self.styles, partial(rewrite, words=name_placeholders(vectors)))
        pairs = plan_stages(prompts, count_steps(prompts, request, lambda: self._scheduler_config(entry)))
        check = partial(check_sides, tokenizers=tokenizers, weighting=request.prompt_weighting)
        check_pairs(prompts, pairs.values(), check)

    def _admit(self, request: GenerationRequest, drawings: Sequence[Drawing]) -> tuple[GenerationRequest, Any]:
        """The request with model and size filled in, and its uploads; judged by the drawing with most pictures."""
        largest = max(drawings, key=lambda drawing: drawing.draw.request.num_images_per_prompt)
        with self._decoding:
            admitted, inputs = TASKS[request.task].admit(largest.draw.request, largest.selection)
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


def ignore(_event: Loading) -> None:
    """For what is on this disk already, and is not downloaded."""
