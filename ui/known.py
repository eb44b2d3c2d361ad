"""Files and styles of this studio by the names that other programs have for them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipelines.prompts.syntax import parse
from pipelines.prompts.syntax.tags import TAG
from pipelines.schema.models import Entry, ModelEntry
from pipelines.schema.requests import PROMPT_FIELDS
from ui.entries import may_fit
from ui.names import Index, Shelf

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

FILES = ("model", "refiner", "vae")
"""The fields that hold the name of a file, beside the LoRAs."""
MAX_NAME = 100
CALL = re.compile(r"\b(?:with|use)Lora\(\s*([\w-]+)\s*(?:,[^()]{0,40})?\)")
"""How compel's syntax names a LoRA."""
Reason = Literal["not_here", "download", "unfit", "no_refiner"]


@dataclass(frozen=True)
class Missed:
    """Something in settings that is not taken over."""

    field: str
    name: str
    """Our title of what would have to be downloaded; else as it was written."""
    reason: Reason
    is_tag: bool = False
    """Whether it stood in a prompt, out of which it was taken."""


def find_names(
    manager: "PipelineManager", values: Mapping[str, Any], chosen: ModelEntry
) -> tuple[dict[str, Any], list[Missed]]:
    """The values with our names for files and styles that are on this disk, and what they name beside these.

    `chosen`: the model that stays where the values name none that is here. Nothing is taken over that a picture would
    have to wait for.
    """
    found = {name: value for name, value in values.items() if value or name != "model"}
    missed: list[Missed] = []
    model = chosen
    for field in FILES:
        if not found.get(field):
            continue
        entries = [*manager.choices(field), *([manager.model, chosen] if field == "model" else ())]
        entry, reason = _look_up(manager, Shelf(entries), found[field], own=(chosen.name, model.vae))
        if entry is None or reason:
            missed.append(Missed(field, _title(entry, found.pop(field)), reason or "not_here"))
            continue
        found[field] = entry.name
        if isinstance(entry, ModelEntry) and field == "model":
            model = entry
    share = found.get("denoising_end", 1)
    if share < 1 and not (found.get("refiner") or _has_refiner(manager, model)):
        missed.append(Missed("denoising_end", f"{found.pop('denoising_end'):g}", "no_refiner"))
    _find_loras(manager, found, missed, model)
    if "styles" in found:
        index = Index({name: [name, *style.title.values()] for name, style in manager.styles.items()})
        pairs = [(name, index.find(name)) for name in found["styles"]]
        found["styles"] = list(dict.fromkeys(ours for _, ours in pairs if ours is not None))
        missed += [Missed("styles", name, "not_here") for name, ours in pairs if ours is None]
    return found, list(dict.fromkeys(missed))


def _find_loras(manager: "PipelineManager", found: dict[str, Any], missed: list[Missed], model: ModelEntry) -> None:
    """Puts our names for LoRAs into the rows and into the tags of the prompts; what is not here goes out of both."""
    shelf = Shelf(manager.choices("lora"))
    if "loras" in found:
        rows: dict[str, Any] = {}
        for lora in found["loras"]:
            entry, reason = _look_up(manager, shelf, lora["name"], model=model)
            if entry is None or reason:
                missed.append(Missed("loras", _title(entry, lora["name"]), reason or "not_here"))
            else:
                rows[entry.name] = {**lora, "name": entry.name}
        found["loras"] = list(rows.values())
    for field in PROMPT_FIELDS:
        text = found.get(field, "")

        def look_up(name: str, field: str = field) -> str | None:
            entry, reason = _look_up(manager, shelf, name, model=model)
            if entry is None or reason:
                missed.append(Missed(field, _title(entry, name), reason or "not_here", is_tag=True))
                return None
            return entry.name

        found |= {field: _rename_tags(text, found.get("prompt_syntax", "auto"), look_up)} if text else {}


def _rename_tags(text: str, syntax: Any, look_up: Any) -> str:
    """A prompt whose tags name LoRAs as we do, without those for which `look_up` has no name."""
    is_cut = False

    def rename(tag: re.Match[str]) -> str:
        nonlocal is_cut
        name, colon, rest = tag[2].partition(":")
        if tag[1].lower() == "hypernet" or not name.strip():
            return tag[0]
        ours = look_up(name.strip())
        is_cut = is_cut or ours is None
        if ours is None:
            return ""
        return f"<{tag[1]}:{ours}{colon}{rest}>" if not set(":<>\n") & set(ours) else tag[0]

    def keep(call: re.Match[str]) -> str:
        nonlocal is_cut
        is_there = look_up(call[1]) is not None
        is_cut = is_cut or not is_there
        return call[0] if is_there else ""

    named = TAG.sub(rename, text)
    if CALL.search(text) and parse(text, syntax).dialect == "compel":
        named = CALL.sub(keep, named)
    if not is_cut:
        return named
    named = re.sub(r"[ \t]{2,}", " ", named).replace(" ,", ",")
    return re.sub(r",{2,}", ",", named).strip(" \t\n,")


def _look_up(
    manager: "PipelineManager",
    shelf: Shelf,
    name: str,
    *,
    own: Iterable[str | None] = (),
    model: ModelEntry | None = None,
) -> tuple[Entry | None, Reason | None]:
    """What goes by a name, and why it is not taken over all the same: `own` is drawn with in any case."""
    entry = shelf.find(name)
    if entry is None:
        return None, "not_here"
    if model is not None and not may_fit(entry, model):
        return entry, "unfit"
    return entry, None if entry.name in own or manager.is_here(entry) else "download"


def _has_refiner(manager: "PipelineManager", model: ModelEntry) -> bool:
    """Whether the second expert that the model itself names is on this disk."""
    refiner = manager.library.checkpoints.get(model.refiner or "")
    return refiner is not None and manager.is_here(refiner)


def _title(entry: Entry | None, name: str) -> str:
    return entry.title if entry else name[:MAX_NAME]
