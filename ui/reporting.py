"""What is said of settings that were read: a message beside what was filled in, and a list that stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pipelines.media.readers.restored import MAX_UNMAPPED
from ui.i18n import load_words, say
from ui.known import Missed

MAX_TEMPLATE = 120
"""Characters of a template that are shown."""
NAMES = {"model": "chip.model", "loras": "section.loras"}
"""Words for fields whose input has no label of its own."""


@dataclass(frozen=True)
class Report:
    """Sentences about settings that were read."""

    sentences: tuple[str, ...]
    """What was filled in, from whom, and what is to be known of it."""
    missed: tuple[str, ...]
    """What was not taken over, with the reason where there is one."""

    def as_message(self, language: str) -> str:
        """The sentences, and how long the list is."""
        listed = [say("info.not_taken", language, count=len(self.missed))] if self.missed else []
        return " ".join((*self.sentences, *listed))

    def as_note(self, language: str) -> str:
        """The sentences and the list, as HTML."""
        parts = [f"<p>{escape(sentence)}</p>" for sentence in self.sentences]
        if self.missed:
            more = len(self.missed) - MAX_UNMAPPED
            shown = [*self.missed[:MAX_UNMAPPED], *([f"… {more}"] if more > 0 else [])]
            items = "".join(f"<li>{escape(said)}</li>" for said in shown)
            title = escape(say("info.not_taken", language, count=len(self.missed)))
            parts.append(f"<p>{title}</p><ul>{items}</ul>")
        return "".join(parts)


def tell_missed(missed: Missed, language: str) -> str:
    """What was named, and why it is not taken over: "VAE: clear is not in this studio"."""
    what = name_field("loras" if missed.is_tag else missed.field, language)
    said = say(f"missed.{missed.reason}", language, what=what, name=missed.name)
    return say("missed.taken_out", language, said=said) if missed.is_tag else said


def tell_template(template: dict[str, str], language: str) -> str:
    """What the prompt was drawn from."""
    text = " ".join(next(iter(template.values())).split())
    cut = text if len(text) <= MAX_TEMPLATE else text[: MAX_TEMPLATE - 1] + "…"
    return say("info.restored_template", language, template=cut)


def tell_values(values: dict[str, Any], language: str) -> Sequence[str]:
    """Settings in the words of their inputs: "Strength: 0.3"."""
    table = load_words()[language]
    return [
        f"{name_field(name, language)}: {table.get(f'choice.{name}.{value}', value)}" for name, value in values.items()
    ]


def name_field(name: str, language: str) -> str:
    """The label of a field's input."""
    table = load_words()[language]
    return table.get(NAMES.get(name, f"label.{name}"), name)
