"""The files of the model folders and of the catalogue, as the lists of models and of what joins them offer them."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.schema.models import Entry, ModelEntry
from ui.i18n import say

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager


def list_models(manager: "PipelineManager", language: str) -> list[tuple[str, str]]:
    """Title, size and what should be known before each is chosen; the studio's own is always among them."""
    entries: dict[str, Entry] = {manager.model.name: manager.model}
    entries |= {entry.name: entry for entry in manager.choices("model")}
    return [(_describe_model(manager, entry, language), name) for name, entry in entries.items()]


def list_entries(manager: "PipelineManager", kind: str, model: ModelEntry) -> list[Entry]:
    """What `manager.choices(kind)` offers, without what cannot fit the model."""
    return [entry for entry in manager.choices(kind) if may_fit(entry, model)]


def may_fit(entry: Entry, model: ModelEntry) -> bool:
    """Whether an add-on may be meant for the model: the Hub's are for SDXL, and no embedded model has its size."""
    return not model.embedded or Path(entry.source).is_absolute()


def title_of(manager: "PipelineManager", entry: Entry, language: str, *facts: str) -> str:
    """The title and more about the entry, marked where choosing it means a download."""
    mark = [] if manager.is_here(entry) else [say("choice.model.download", language)]
    return " · ".join([entry.title, *facts, *mark])


def _describe_model(manager: "PipelineManager", entry: Entry, language: str) -> str:
    facts = []
    if isinstance(entry, ModelEntry):
        facts.append(f"{entry.native_size} px")
        if entry.kind == "inpainting":
            facts.append(say("choice.model.inpainting", language))
    return title_of(manager, entry, language, *facts)
