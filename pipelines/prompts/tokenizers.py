"""Tokenizers apart from their models, to count prompts with before anything is loaded."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from pipelines.components.hub import find
from pipelines.components.loading import load_part
from pipelines.components.parts import stamp_of
from pipelines.components.single_file import CONFIGS, PAD_TOKENS, TOKENS
from pipelines.prompts.textual_inversion import extend
from pipelines.schema.errors import ModelError
from pipelines.schema.models import ModelEntry

log = logging.getLogger(__name__)

MAX_KEPT = 16
ROOM = 128
"""A tokenizer that knows placeholders knows a multiple of so many, so that few copies are made."""


class Tokenizers:
    """The tokenizers of checkpoints, read once and kept. They are used by counting alone; safe from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, CLIPTokenizer] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, model: ModelEntry, placeholders: int = 0) -> tuple[CLIPTokenizer, ...]:
        """One for each text encoder, which know at least so many placeholders of textual inversions.

        They are SDXL's own for a checkpoint in a single file, for one that must be downloaded first, and for a folder
        whose tokenizers cannot be read.
        """
        parts = ("tokenizer_2",) if model.kind == "refiner" else tuple(PAD_TOKENS)
        folder = _folder_of(model, parts)
        room = -(-placeholders // ROOM) * ROOM
        with self._lock:
            return tuple(self._find(part, model, folder, room) for part in parts)

    def _find(self, part: str, model: ModelEntry, folder: Path | None, room: int) -> CLIPTokenizer:
        place = (folder, part, stamp_of(folder, part)) if folder else (part,)
        plain = self._keep(place, lambda: _load(part, model, folder))
        return self._keep((*place, room), lambda: extend(plain, room)) if room else plain

    def _keep(self, key: Hashable, make: Callable[[], CLIPTokenizer]) -> CLIPTokenizer:
        if key not in self._kept:
            self._kept[key] = make()
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _folder_of(model: ModelEntry, parts: tuple[str, ...]) -> Path | None:
    """Where the model's own tokenizers lie on this disk."""
    path = find(model, parts)
    return path if path and all((path / part).is_dir() for part in parts) else None


def _load(part: str, model: ModelEntry, folder: Path | None) -> CLIPTokenizer:
    if folder:
        try:
            return load_part(part, model, folder, torch.float32)
        except ModelError as error:
            log.warning("prompts are counted with another tokenizer: %s", error)
    return CLIPTokenizer.from_pretrained(
        str(CONFIGS / "tokenizer"), local_files_only=True, pad_token=PAD_TOKENS[part], model_max_length=TOKENS
    )
