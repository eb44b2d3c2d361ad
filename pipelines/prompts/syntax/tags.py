"""Names in a prompt: LoRA tags, which are taken out, and textual inversions, which stay."""

import re

from pipelines.prompts.syntax.draft import LoraTag
from pipelines.prompts.syntax.hints import Hints
from pipelines.prompts.syntax.numbers import read_number

TAG = re.compile(r"<(lora|lyco|hypernet):([^<>\n]+)>", re.IGNORECASE)
EMBEDDING = re.compile(r"(?<!\w)embedding:([^\s,()\[\]:|<>\"\\]+)")


def take_tags(text: str, hints: Hints) -> tuple[str, tuple[LoraTag, ...]]:
    """The text without its tags, and the LoRAs that they name. A tag without a name is text."""
    loras: list[LoraTag] = []

    def take(found: re.Match[str]) -> str:
        name, *numbers = (part.strip() for part in found[2].split(":"))
        if not name:
            return found[0]
        if found[1].lower() == "hypernet":
            hints.add("no_effect", found[0])
        else:
            loras.append(LoraTag(name, _first_number(numbers, found[0], hints)))
        return ""

    return TAG.sub(take, text), tuple(loras)


def find_embeddings(text: str, *, signs_end_names: bool) -> tuple[str, ...]:
    """Names behind `embedding:`, each once."""
    ends = ".;!?+-" if signs_end_names else ".;!?"
    names = (found[1].rstrip(ends) for found in EMBEDDING.finditer(text))
    return tuple(dict.fromkeys(name for name in names if name))


def _first_number(numbers: list[str], tag: str, hints: Hints) -> float:
    """The weight of a tag: A1111 knows others behind it, for the text encoders and for blocks."""
    weights = [weight for weight in map(read_number, numbers) if weight is not None]
    if numbers and not weights:
        hints.add("bad_weight", tag)
    elif len(numbers) > 1:
        hints.add("lora_numbers", tag)
    return weights[0] if weights else 1.0
