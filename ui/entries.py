"""The files of the model folders and of the catalogue, as the lists beside the models offer them."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.schema.models import Entry, ModelEntry
from ui.i18n import say

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager


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
