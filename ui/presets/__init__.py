"""Presets: the studio's own as chips, the visitor's as rows that stay in the visitor's browser alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.schema.buckets import nearest_bucket
from pipelines.schema.errors import PipelineError
from pipelines.schema.models import ModelEntry
from pipelines.schema.presets import KEY, MAX_FILE_CHARACTERS, MAX_NAME_CHARACTERS, MAX_PRESETS, Preset, load_presets
from pipelines.schema.presets import SCHEMA as PRESETS_SCHEMA
from pipelines.schema.requests import PROMPT_FIELDS, GenerationRequest
from ui.fields import Fields, section
from ui.filling import defaults_for
from ui.i18n import ENGLISH, load_words, say
from ui.loras import as_rows
from ui.refiner import fitting_refiners
from ui.sampling import FEW_STEPS, find_levels

FOLDER = Path(__file__).parent
TEXTS = (*PROMPT_FIELDS, "seed")
"""What a preset may leave to the moment."""


class PresetRefused(PipelineError):
    """The chosen model lacks what a preset needs."""


def build_presets(fields: Fields) -> gr.HTML:
    """A fold with the presets of a tab, and what else is done with all its settings at once; `keeping.js` hears it."""
    with section("presets"):
        part = gr.HTML(
            html_template=(FOLDER / "presets.html").read_text(encoding="utf-8"),
            js_on_load=(FOLDER / "presets.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_classes=["presets"],
            **props_of(fields, ENGLISH),
        )
    fields.follow(part, lambda _, language: gr.update(**props_of(fields, language)))
    return part


def props_of(fields: Fields, language: str) -> dict[str, Any]:
    """What the part is drawn with."""
    own = [preset for preset in load_presets() if fields.task in preset.tasks]
    table = load_words()[language]
    words = {key.removeprefix("presets."): text for key, text in table.items() if key.startswith("presets.")}
    return {
        "task": fields.task,
        "own": [{"name": preset.name, "title": preset.title_in(language)} for preset in own],
        "words": words,
        "limits": {"presets": MAX_PRESETS, "name": MAX_NAME_CHARACTERS, "file": MAX_FILE_CHARACTERS},
        "file": {KEY: PRESETS_SCHEMA},
    }


def find_own(name: Any) -> Preset | None:
    """The studio's preset of that name."""
    return next((preset for preset in load_presets() if preset.name == name), None)


def values_of(preset: Preset, fields: Fields, current: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The request fields that a preset sets in a tab whose inputs show `current`; raises `PresetRefused`."""
    named = preset.values
    if fields.task not in preset.tasks:  # a strength that inpaints would undo a refinement
        named = {name: value for name, value in named.items() if name in GenerationRequest.model_fields}
    model = fields.find_model(named.get("model") or current.get("model"))
    rows = as_rows(named["loras"]) if "loras" in named else current.get("loras")
    refuse_unmet(preset, fields, model, language)
    defaults = defaults_for(fields, model, rows)
    values: dict[str, Any] = {}
    if preset.quality:
        values |= find_levels(fields, defaults)[preset.quality]
        values["guidance_scale"] = defaults.get("guidance_scale", fields.describe("guidance_scale").default)
    if preset.shape:
        width, height = (int(side) for side in preset.shape.split(":"))
        bucket = nearest_bucket(width, height, model.native_size)
        values |= {"width": bucket.width, "height": bucket.height}
    return values | named


def refuse_unmet(preset: Preset, fields: Fields, model: ModelEntry, language: str) -> None:
    """Raises `PresetRefused` where the model has no refiner, or takes few steps alone, and the preset needs more."""
    few = defaults_for(fields, model, None).get("num_inference_steps", FEW_STEPS + 1) <= FEW_STEPS
    unmet = {"refiner": not fitting_refiners(fields, model), "many_steps": few}
    for need in preset.needs:
        if unmet[need]:
            title = preset.title_in(language)
            raise PresetRefused(say(f"preset_needs.{need}", language, name=title))
