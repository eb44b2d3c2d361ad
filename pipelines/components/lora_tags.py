"""LoRAs that prompts name as `<lora:name:weight>`, beside those that a request chooses."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pipelines.components.parts import experts_of
from pipelines.prompts.syntax import LoraTag, parse
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import AddOn
from pipelines.schema.requests import GenerationRequest
from pipelines.schema.types import MAX_LORAS

TAGGED_FIELDS = ("prompt", "prompt_2")
"""Where a tag counts; in a negative prompt it does nothing, as in A1111."""
MAX_WEIGHT = 4.0
MAX_NAMES_TOLD = 20


def add_tagged(request: GenerationRequest, chosen: Mapping[str, float], loras: Mapping[str, AddOn]) -> dict[str, float]:
    """The weights of all LoRAs that draw a request, by name: `chosen`, and those that its prompts name.

    A tag counts instead of a choice of the same LoRA, and of several tags the last. Where no base draws none counts:
    LoRAs are made for it. Raises `InvalidRequest` for a tag that names none, for a weight that is not allowed, and for
    too many.
    """
    weights = dict(chosen)
    if "base" not in experts_of(request):
        return weights
    for field in TAGGED_FIELDS:
        for tag in parse(getattr(request, field), request.prompt_syntax).loras:
            name = _pick(field, tag, loras)
            weights[name] = tag.weight
            if len(weights) > MAX_LORAS:
                rule = f"must name fewer LoRAs: {MAX_LORAS} are the most together with those that are chosen beside it"
                raise InvalidRequest(field, rule, tag.name)
    return weights


def find_loras(name: str, loras: Mapping[str, AddOn]) -> list[str]:
    """The LoRAs that a tag's name may mean: the one so called, else those whose file is, in whatever letters.

    A1111's tags name a file without its folder and its `.safetensors`.
    """
    if name in loras:
        return [name]
    wanted = _plain(name)
    same = [known for known in loras if _plain(known) == wanted]
    return same or [known for known, entry in loras.items() if _stem(wanted) in (_stem(_plain(known)), _file(entry))]


def list_names(names: Iterable[str]) -> str:
    """Names for a sentence: the first twenty, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - MAX_NAMES_TOLD
    return ", ".join(all_names[:MAX_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")


def _pick(field: str, tag: LoraTag, loras: Mapping[str, AddOn]) -> str:
    if not -MAX_WEIGHT <= tag.weight <= MAX_WEIGHT:
        raise InvalidRequest(field, "must weigh LoRAs from -4 to 4", f"{tag.name}:{tag.weight:g}")
    found = find_loras(tag.name, loras)
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidRequest(field, f"must name one LoRA, of {list_names(found)}", tag.name)
    rule = f"must name LoRAs among {list_names(loras)}" if loras else "must name no LoRA, because none is there"
    raise InvalidRequest(field, rule, tag.name)


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").casefold().removesuffix(".safetensors")


def _stem(name: str) -> str:
    return PurePosixPath(name).name


def _file(entry: AddOn) -> str:
    return _plain(Path(entry.file or entry.source).name)
