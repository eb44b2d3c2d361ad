"""LoRAs as rows of a name and a weight, drawn in the browser; one more row is always free until there are enough."""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.schema.models import AddOn, ModelEntry
from pipelines.schema.schedulers import SCHEDULER_TITLES
from pipelines.schema.types import MAX_LORAS
from ui.entries import list_entries, may_fit, title_of
from ui.fields import Fields, section
from ui.i18n import ENGLISH, language_of, load_words, say
from ui.sampling import LEVEL, list_levels

FOLDER = Path(__file__).parent
TAKEN_OVER = (*LEVEL, "guidance_scale")
"""The fields that a LoRA trained for few steps sets."""
WORDS = ("choose", "weight", "remove", "none", "unknown")


def build_loras(fields: Fields) -> None:
    """The rows and, below them, the names of textual inversions, folded."""
    with section("loras"):
        rows = gr.HTML(
            value=as_rows(()),
            html_template=(FOLDER / "loras.html").read_text(encoding="utf-8"),
            js_on_load=(FOLDER / "loras.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_classes=["loras"],
            **props_of(fields, fields.model, ENGLISH),
        )
        note = gr.HTML(elem_classes=["hint"])
        build_embeddings(fields)
    fields.add("loras", rows, read=read_loras, write=as_rows)
    fields.follow(rows, lambda model, language: gr.update(**props_of(fields, model, language)))
    names = [name for name in TAKEN_OVER if name in fields.components]

    def take_over(client: gr.Request, value: Any, model_name: Any) -> list[Any]:
        turned = turned_entries(fields, value)
        if not turned:
            return [gr.skip()] * (2 + len(names))
        defaults = defaults_with_loras(fields, fields.find_model(model_name), value)
        touched = {name for entry in turned for name in entry.defaults}
        changed = {name: defaults.get(name, fields.describe(name).default) for name in names if name in touched}
        is_on = any(row["name"] == turned[-1].name for row in read_loras(value))
        sentence = describe_change(turned[-1], changed, is_on, language_of(client))
        values = [changed.get(name, gr.skip()) for name in names]
        return [sentence, gr.update(choices=list_levels(fields, defaults)), *values]

    rows.input(
        take_over,
        [rows, fields.components["model"]],
        [note, fields.quality, *(fields.components[name] for name in names)],
        preprocess=False,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def build_embeddings(fields: Fields) -> None:
    """The names of textual inversions; nothing is seen where there are none."""
    part = gr.HTML(show_embeddings(fields, ENGLISH), elem_classes=["embeddings", "hint"])
    fields.follow(part, lambda _, language: show_embeddings(fields, language))


def read_loras(value: Any) -> list[dict[str, Any]]:
    """The rows that name a LoRA, as the request takes them."""
    rows = value.get("rows") if isinstance(value, dict) else None
    return [row for row in rows if isinstance(row, dict) and row.get("name")] if isinstance(rows, list) else []


def as_rows(loras: Any) -> dict[str, Any]:
    """The request's LoRAs as what the rows show."""
    return {"rows": [dict(lora) for lora in loras or ()], "turned": []}


def defaults_with_loras(fields: Fields, model: ModelEntry, value: Any) -> dict[str, Any]:
    """The fields that a model wants otherwise than the schema, under those of the LoRAs that join it."""
    defaults = dict(model.defaults)
    for row in fitting_loras(fields, model, value):
        if entry := fields.manager.library.add_ons.get(str(row["name"])):
            defaults |= entry.defaults
    return defaults


def fitting_loras(fields: Fields, model: ModelEntry, value: Any) -> list[dict[str, Any]]:
    """The rows that may stay where `model` is chosen; what nobody knows is left to the request."""
    add_ons = fields.manager.library.add_ons
    entries = [(row, add_ons.get(str(row["name"]))) for row in read_loras(value)]
    return [row for row, entry in entries if entry is None or may_fit(entry, model)]


def turned_entries(fields: Fields, value: Any) -> list[AddOn]:
    """The LoRAs with settings of their own that were just removed or chosen, in this order."""
    turned = value.get("turned") if isinstance(value, dict) else None
    entries = [fields.manager.library.add_ons.get(str(name)) for name in turned or ()]
    return [entry for entry in entries if entry and entry.defaults]


def describe_change(entry: AddOn, changed: dict[str, Any], is_on: bool, language: str) -> str:
    """Which settings a LoRA brought, or what they went back to when it was removed."""
    values = [_describe_setting(name, value, language) for name, value in changed.items() if value != "default"]
    key = "info.taken_over" if is_on else "info.given_back"
    return f"<p>{escape(say(key, language, title=entry.title, settings=', '.join(values)))}</p>"


def list_loras(fields: Fields, model: ModelEntry, language: str) -> list[dict[str, str]]:
    """Names, titles that tell them apart, and what the list shows: the title, marked where it means a download."""
    entries = list_entries(fields.manager, "lora", model)
    titles = [entry.title for entry in entries]
    told_apart = [
        entry if titles.count(entry.title) == 1 else entry.model_copy(update={"title": entry.name}) for entry in entries
    ]
    return [
        {"name": entry.name, "title": entry.title, "shown": title_of(fields.manager, entry, language)}
        for entry in told_apart
    ]


def props_of(fields: Fields, model: ModelEntry, language: str) -> dict[str, Any]:
    """What the rows are drawn with beside their value; an update replaces all of it."""
    words = {name: say(f"loras.{name}", language) for name in WORDS}
    return {"choices": list_loras(fields, model, language), "words": words, "most": MAX_LORAS}


def show_embeddings(fields: Fields, language: str) -> str:
    """The textual inversions as buttons that write their name into the prompt; `script.js` listens to them."""
    names = [entry.name for entry in fields.manager.choices("embedding")]
    if not names:
        return ""
    buttons = " ".join(f'<button type="button" class="word-chip">{escape(name)}</button>' for name in names)
    return f'<p class="hint">{escape(say("info.embeddings", language))}</p><div class="word-chips">{buttons}</div>'


def _describe_setting(name: str, value: Any, language: str) -> str:
    if name == "scheduler":
        return SCHEDULER_TITLES.get(value, str(value))
    table = load_words()[language]
    number = f"{value:g}" if isinstance(value, int | float) else str(value)
    return f"{table[f'label.{name}']} {table.get(f'choice.{name}.{value}', number)}"
