"""Settings on their way into a tab's inputs: from a preset, a link, or what the browser kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipelines.schema.models import ModelEntry
from pipelines.schema.partial import setting_names
from ui.entries import list_models, may_fit
from ui.fields import Fields
from ui.loras import as_rows, defaults_with_loras, read_loras
from ui.sampling import FEW_STEPS, OPTIONS, join_level, limit_options, list_levels


@dataclass(frozen=True)
class Filled:
    """What a tab's inputs become."""

    updates: dict[str, Any]
    """By field; what is not here stays."""
    quality: Any
    """The chips of the quality."""
    missing: tuple[str, ...]
    """Names of files and styles that this studio does not have, or not for the chosen model."""


def kept_names(fields: Fields) -> list[str]:
    """The inputs that hold settings: all but the pictures."""
    settings = setting_names(fields.request_class)
    return [name for name in fields.components if name in settings]


def read_shown(fields: Fields, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Field values of what inputs show, unchecked."""
    return fields.read(list(shown.values()), list(shown)) if shown else {}


def write_values(fields: Fields, values: Mapping[str, Any]) -> dict[str, Any]:
    """Field values as the tab's inputs show them; those that it has no input for are left out."""
    return {name: fields.write(name, value) for name, value in values.items() if name in fields.components}


def fill(fields: Fields, shown: Mapping[str, Any], current: Mapping[str, Any], language: str) -> Filled:
    """Lets inputs that show `current` show what `shown` has for them, each list with what it is to offer."""
    wanted, missing = keep_offered(fields, shown, current, language)
    after = {**current, **wanted}
    model = fields.find_model(after.get("model"))
    looks = {id(part): show for part, show in fields.followers}
    updates: dict[str, Any] = {}
    for name, value in wanted.items():
        show = looks.get(id(fields.components[name]))
        look = show(model, language) if show else {}
        if name == "model":
            look = gr.update(choices=list_models(fields.manager, language))
        updates[name] = {**look, "value": value} if look else value
    if wanted.keys() & {"scheduler", *OPTIONS}:
        updates |= limit_options(fields, after["scheduler"], *(after[name] for name in OPTIONS))
        after |= {name: updates[name]["value"] for name in OPTIONS}
    levels = list_levels(fields, defaults_for(fields, model, after.get("loras")))
    chosen = join_level(after)
    quality = gr.update(choices=levels, value=chosen if chosen in (value for _, value in levels) else None)
    return Filled(updates, quality, tuple(missing))


def keep_offered(
    fields: Fields, shown: Mapping[str, Any], current: Mapping[str, Any], language: str
) -> tuple[dict[str, Any], list[str]]:
    """`shown` without what cannot be chosen here, and the names of that; a list shows its first choice instead."""
    kept = {name: value for name, value in shown.items() if name in fields.components}
    missing: list[str] = []
    models = [name for _, name in list_models(fields.manager, language)]
    if "model" in kept and kept["model"] not in models:
        missing.append(kept.pop("model"))
    model = fields.find_model(kept.get("model", current.get("model")))
    for part, show in fields.followers:
        name = next((name for name in kept if fields.components[name] is part), None)
        if name is None or not isinstance(part, gr.Dropdown):
            continue
        offered = [value for _, value in show(model, language)["choices"]]
        if kept[name] not in offered:
            missing += [kept[name]] if kept[name] else []
            kept[name] = offered[0]
    if "loras" in kept:
        rows = read_loras(kept["loras"])
        fitting = [row for row in rows if is_lora_here(fields, row["name"], model)]
        missing += [row["name"] for row in rows if row not in fitting]
        kept["loras"] = as_rows(fitting)
    if "styles" in kept:
        styles = read_shown(fields, {"styles": kept["styles"]})["styles"]
        missing += [name for name in styles if name not in fields.manager.styles]
        kept["styles"] = fields.write("styles", [name for name in styles if name in fields.manager.styles])
    return kept, [str(name) for name in missing]


def is_lora_here(fields: Fields, name: str, model: ModelEntry) -> bool:
    """Whether a LoRA can be chosen beside the model."""
    return any(entry.name == name and may_fit(entry, model) for entry in fields.manager.choices("lora"))


def defaults_for(fields: Fields, model: ModelEntry, loras: Any) -> dict[str, Any]:
    """What model and LoRAs want of a tab; that the base was distilled is nothing to the refiner."""
    defaults = defaults_with_loras(fields, model, loras)
    few = defaults.get("num_inference_steps", FEW_STEPS + 1) <= FEW_STEPS
    return {} if few and fields.task == "refine" else defaults


def default_values(fields: Fields, model: ModelEntry) -> dict[str, Any]:
    """Every setting of a tab as it stands when a visitor first meets it with the model, which stays."""
    defaults = defaults_for(fields, model, None)
    values = {name: defaults.get(name, fields.describe(name).default) for name in kept_names(fields)}
    if fields.task == "text_to_image":
        values |= {"width": model.native_size, "height": model.native_size}
    return {**values, "model": model.name}
