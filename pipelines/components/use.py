"""What a job is drawn with, told apart from what other jobs are drawn with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipelines.components.parts import stamp_of
from pipelines.schema.models import Entry, Selection

Identity = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Use:
    """Files, and the precision they are computed in."""

    selection: Selection
    dtype: torch.dtype
    identity: Identity = field(init=False, repr=False)
    """The same for the same files, unless one of them was replaced; as it was when the use began."""

    def __post_init__(self) -> None:
        entries = (self.selection.model, self.selection.refiner, self.selection.vae)
        stamped = (entry and (*origin(entry), stamp_of(Path(entry.source))) for entry in entries)
        object.__setattr__(self, "identity", (self.dtype, *stamped))


def origin(entry: Entry) -> Identity:
    """Where an entry's files come from."""
    return (entry.source, entry.revision, entry.file)
