"""What a picture or a text says of how it was drawn, in our words, and what of it has none."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pipelines.schema.partial import check_values
from pipelines.schema.requests import REQUESTS
from pipelines.schema.types import MAX_LORAS, LoraChoice

MAX_UNMAPPED = 60
MAX_WORDS = 160
"""Characters of one entry, which is there to be read."""
EXTENSIONS = (".safetensors", ".sft", ".ckpt", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Restored:
    """Settings as a program wrote them, read back."""

    source: str
    """The program's name."""
    task: str
    values: dict[str, Any]
    """What it said, by the names of our request's fields, each value checked; files by the name it has for them."""
    unmapped: tuple[str, ...] = ()
    """What has no counterpart here or breaks a rule of the request, in its own words: "Hires upscaler: Latent"."""
    template: dict[str, str] = field(default_factory=dict)
    """The prompts by field as they were typed, where wildcards or variants stood in them."""


class Claims:
    """Collects what a text claims, and lets the request judge it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._said: dict[str, str] = {}
        self._missed: list[str] = []

    def claim(self, said: str, **values: Any) -> None:
        """Values by field that follow from what was said."""
        self.values |= values
        self._said |= dict.fromkeys(values, said)

    def claim_lora(self, said: str, name: str, weight: Any) -> None:
        """One more LoRA; one that cannot be is missed alone."""
        loras = self.values.get("loras", [])
        try:
            lora = LoraChoice(name=name, weight=weight).model_dump()
        except ValidationError:
            lora = None
        if lora is None or len(loras) == MAX_LORAS or any(other["name"] == name for other in loras):
            self.miss(said)
        else:
            self.claim("LoRAs", loras=[*loras, lora])

    def miss(self, said: str) -> None:
        """What has no counterpart."""
        self._missed.append(said)

    def judge(self, source: str, task: str) -> Restored:
        """The values that a request of `task` takes; the others join what was missed, with what was said and why.

        Skipped layers are counted otherwise everywhere: our rule would puzzle there.
        """
        fields = REQUESTS[task].model_fields
        own = {name: value for name, value in self.values.items() if name in fields}
        checked = check_values(REQUESTS[task], own)
        rules = {error.field: f" ({error.rule})" for error in reversed(checked.wrong) if error.field != "clip_skip"}
        wrong: dict[str, str] = {}
        for name in self.values:
            if name not in checked.values:
                wrong.setdefault(self._said[name], rules.get(name, ""))
        told = (*self._missed, *(said + rule for said, rule in wrong.items()))
        missed = list(dict.fromkeys(map(_cut, told)))
        if len(missed) > MAX_UNMAPPED:
            missed = [*missed[:MAX_UNMAPPED], f"… {len(missed) - MAX_UNMAPPED} more"]
        return Restored(_cut(source), task, checked.values, tuple(missed))


def plain_name(file: str) -> str:
    """A model's name without folder, extension and the hash that A1111 puts behind it."""
    name = file.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if name.endswith("]") and " [" in name:
        name = name[: name.rindex(" [")]
    for extension in EXTENSIONS:
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name


def mend(text: str) -> str:
    """The text as UTF-8 can write it: JSON may hold half a character."""
    return text.encode(errors="replace").decode()


def _cut(said: str) -> str:
    """One short line."""
    line = " ".join(mend(said[: 2 * MAX_WORDS]).split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"
