"""What draws: the components on their device, the thread that works with them, and what reads prompts as they do.

Importing this imports torch, diffusers, transformers and compel, which takes seconds of a processor's time.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import diffusers
import transformers

from pipelines.components.cache import ComponentCache
from pipelines.components.device import choose_device, choose_dtype, name_of_device, name_of_dtype
from pipelines.components.hub import find
from pipelines.components.library import Library
from pipelines.components.loading import read_scheduler_config
from pipelines.components.memory import Memory
from pipelines.components.parts import experts_of
from pipelines.components.single_file import CONFIGS
from pipelines.diffusion.conditioner import Conditioner
from pipelines.diffusion.conditioning import check_pairs, count_steps, plan_stages, read_prompts
from pipelines.diffusion.plan import plan_steps
from pipelines.engine import Engine
from pipelines.line import Drawing, Line
from pipelines.prompts.counting import PromptCounter
from pipelines.prompts.drawing import texts_of
from pipelines.prompts.encoding import check_sides
from pipelines.prompts.inversion_names import name_placeholders, rewrite
from pipelines.prompts.styles import Style
from pipelines.prompts.tokenizers import Tokenizers
from pipelines.prompts.wildcards import Wildcards
from pipelines.saving import Saver
from pipelines.schema.models import AddOn, ModelEntry, Selection
from pipelines.schema.requests import GenerationRequest
from pipelines.schema.settings import Settings
from pipelines.tasks import TASKS

READ_AHEAD = 1_000_000
"""Characters, each once for every step at which they may change, that are measured before a job is taken: about 1 s."""
DECODED_AT_ONCE = 2
"""Uploads that are read at the same time: a large one takes hundreds of megabytes for a moment."""


class Workshop:
    """One device with all that computes. What it is asked may be asked by any thread."""

    def __init__(
        self, settings: Settings, library: Library, line: Line, styles: dict[str, Style], wildcards: Wildcards
    ) -> None:
        for package in (diffusers, transformers):  # their bars go to the console: ours go to whoever waits
            package.utils.logging.disable_progress_bar()
        self.settings = settings
        self.library = library
        self.line = line
        self.styles = styles
        self.device = choose_device(settings)
        memory = Memory(self.device, settings.memory, settings.fp8)
        budget = round(settings.memory_budget * 1e9)
        self.components = ComponentCache(self.device, choose_dtype(settings, self.device), memory, budget)
        self._tokenizers = Tokenizers()
        self.counter = PromptCounter(wildcards, styles, self._tokenizers)
        self._decoding = threading.Semaphore(DECODED_AT_ONCE)
        self._engine: Engine | None = None

    @property
    def accelerator(self) -> str:
        """What a person calls the accelerator, "" on a CPU."""
        return "" if self.device.type == "cpu" else self.device_name

    @property
    def device_name(self) -> str:
        """What a person calls the device."""
        return name_of_device(self.device)

    @property
    def dtype_name(self) -> str:
        """What it draws in, for example "float32"."""
        return name_of_dtype(self.components.dtype)

    @property
    def is_started(self) -> bool:
        """Whether jobs are being drawn."""
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """The device's thread; raises `RuntimeError` before `start`."""
        if self._engine is None:
            raise RuntimeError("the workshop has not been started")
        return self._engine

    def start(self, own: Selection, decoder: AddOn | None) -> None:
        """Begins to draw the line's jobs; `own`: what requests mean that name no model; `decoder`: of previews."""
        conditioner = Conditioner(self.components, self.styles)
        saver = Saver(self.settings.output_dir, self.styles)
        self._engine = Engine(self.settings, self.line, conditioner, saver, own, decoder)

    def plan_steps(self, request: GenerationRequest, selection: Selection) -> dict[str, int]:
        """UNet calls that each expert will make, for example `{"base": 24, "refiner": 6}`."""
        entries = {name: selection.entry(name) or selection.model for name in experts_of(request)}
        return plan_steps(request, {name: self._scheduler_config(entry) for name, entry in entries.items()})

    def check_lengths(self, drawings: Sequence[Drawing]) -> None:
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

    def admit(self, task: str, request: GenerationRequest, selection: Selection) -> tuple[GenerationRequest, Any]:
        """What the task makes of a request: its size filled in, and its uploads; raises `PipelineError`."""
        with self._decoding:
            return TASKS[task].admit(request, selection)

    def close(self) -> None:
        """Stops every job and the device's thread."""
        if self._engine is not None:
            self._engine.close()

    def _check_length(self, request: GenerationRequest, selection: Selection) -> None:
        entry = selection.entry(experts_of(request)[0]) or selection.model
        sizes: Mapping[str, int] = self.library.embedding_sizes()
        vectors = {embedding.name: sizes.get(embedding.name, 1) for embedding in selection.embeddings}
        tokenizers = self._tokenizers.of(entry, sum(vectors.values()))
        prompts = read_prompts(request, self.styles, partial(rewrite, words=name_placeholders(vectors)))
        pairs = plan_stages(prompts, count_steps(prompts, request, lambda: self._scheduler_config(entry)))
        check = partial(check_sides, tokenizers=tokenizers, weighting=request.prompt_weighting)
        check_pairs(prompts, pairs.values(), check)

    def _scheduler_config(self, entry: ModelEntry) -> dict[str, Any]:
        """The checkpoint's own; SDXL's where its files are still on the Hub."""
        return read_scheduler_config(entry, find(entry, ["scheduler"]) or CONFIGS / entry.kind)
