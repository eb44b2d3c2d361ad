"""What a dialect makes of a text, before it is decided whose text it is."""

from dataclasses import dataclass, field

from pipelines.prompts.syntax.hints import Hints
from pipelines.prompts.syntax.program import Program


@dataclass(frozen=True)
class LoraTag:
    """A LoRA that the text asks for, by the name that was typed."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Mix:
    """Several programs whose embeddings are blended."""

    programs: tuple[Program, ...]
    weights: tuple[float, ...]
    normalized: bool


@dataclass
class Signs:
    """The first text seen of each strength by which a dialect is told; empty where there is none."""

    decisive: str = ""
    """Means something in this dialect alone."""
    strong: str = ""
    """Hardly anything else is written so."""
    weak: str = ""
    """May be a name or a hyphen as well."""
    bare: str = ""
    """Brackets that hold no weight."""
    special: bool = False
    """Whether the text is read in any way otherwise than as it stands."""


@dataclass(frozen=True)
class Draft:
    """One dialect's reading of a text: parts that stand one after the other, and what was noticed on the way."""

    parts: tuple[Program | Mix, ...]
    weights: tuple[float, ...]
    signs: Signs
    hints: Hints
    loras: tuple[LoraTag, ...] = field(default=())
