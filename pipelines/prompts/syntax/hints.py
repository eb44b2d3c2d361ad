"""What may not mean what it looks like, named once: the interface has words for each of these codes."""

import re
from collections.abc import Iterator

from pipelines.schema.counts import Hint

CODES = (
    "unclosed",
    "unopened",
    "bad_weight",
    "weight_limited",
    "lora_numbers",
    "no_effect",
    "misplaced",
    "other_syntax",
    "maybe_weight",
    "unweighted_brackets",
)
TOO_LONG = "too_long"
"""Of a prompt that would be refused: known only to whoever counts it."""
FACE = re.compile(r"[:;=8]['^-]?\Z")
EXCERPT = 24
"""Characters of a prompt that a hint shows."""


class Hints:
    """Hints of one prompt: the first of each code, so that ten thousand brackets are one hint."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def add(self, code: str, value: str) -> None:
        """Keeps the beginning of `value`, unless there is a hint of this code already."""
        if code not in CODES:
            raise ValueError(f"unknown code {code}")
        self._first.setdefault(code, value.strip()[:EXCERPT])

    def update(self, others: "Hints") -> None:
        """Takes over what `others` found."""
        for code, value in others._first.items():
            self._first.setdefault(code, value)

    def __iter__(self) -> Iterator[Hint]:
        return (Hint(code, self._first[code]) for code in CODES if code in self._first)


def hint_at_bracket(hints: Hints, code: str, text: str, at: int) -> None:
    """A hint of a bracket without a partner, unless it is the mouth of a face such as `:)`."""
    if not FACE.search(text, max(0, at - 2), at):
        hints.add(code, text[at : at + EXCERPT])
