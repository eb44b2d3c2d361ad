"""What a prompt says at one step, whichever dialect it was written in: texts with weights, and how they join."""

from dataclasses import dataclass
from typing import Literal

Dialect = Literal["plain", "a1111", "compel"]
"""Whose signs a prompt holds; "plain" where it holds none."""


@dataclass(frozen=True)
class Fragment:
    """Words of one weight. Brackets that were escaped stand here as plain brackets."""

    text: str
    weight: float = 1.0


Section = tuple[Fragment, ...]
"""What stands between two `BREAK`s, at least one fragment, which may be empty; begins a chunk of its own."""


@dataclass(frozen=True)
class Passage:
    """One flat text; of several sections, at least one, only in A1111's dialect."""

    sections: tuple[Section, ...]

    @property
    def is_empty(self) -> bool:
        """Whether it holds no text but spaces."""
        return not any(fragment.text.strip() for section in self.sections for fragment in section)


@dataclass(frozen=True)
class Blend:
    """Passages whose embeddings are mixed: compel's `("a", "b").blend(1, 1)`."""

    passages: tuple[Passage, ...]
    weights: tuple[float, ...]
    normalized: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether none of its passages says anything."""
        return all(passage.is_empty for passage in self.passages)


@dataclass(frozen=True)
class Reading:
    """A whole prompt; of several parts only for compel's `("a", "b").and(1, 1)`, which stand one after the other."""

    dialect: Dialect
    parts: tuple[Passage | Blend, ...]
    weights: tuple[float, ...]
    """One for each part."""
    text: str
    """All in one: in compel's syntax as it was typed, which its pooled state is read of; else the words alone."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return all(part.is_empty for part in self.parts)
