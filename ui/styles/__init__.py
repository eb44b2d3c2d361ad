"""Styles to choose from, several at once: the engine puts their words around the prompts, or they are written in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.prompts.drawing import final_texts
from pipelines.prompts.styles import PLACE, Style
from pipelines.schema.errors import PipelineError
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import PROMPT_FIELDS, TextToImageRequest, make_request
from pipelines.schema.types import MAX_STYLES
from ui.fields import Fields
from ui.generate import as_gradio_error
from ui.i18n import ENGLISH, load_words, say

FOLDER = Path(__file__).parent
WORDS = ("title", "search", "groups", "write", "undo", "adds", "avoids", "remove", "nothing", "unknown", "most")


def build_style_table(styles: Mapping[str, Style]) -> None:
    """What every tab's choice is drawn from: once in the page, and never seen."""
    gr.HTML(
        html_template="",
        js_on_load=(FOLDER / "table.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        table=table_of(styles),
    )


def build_styles(fields: Fields) -> None:
    """A fold of its own making, always there: what is chosen is seen on it while it is closed."""
    picker: Any = gr.HTML(
        value=as_choice(()),
        html_template=(FOLDER / "styles.html").read_text(encoding="utf-8"),
        js_on_load=(FOLDER / "styles.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_classes=["styles-part"],
        note=note_of(fields.model, ENGLISH),
    )
    fields.add("styles", picker, read=read_styles, write=as_choice)
    fields.follow(picker, lambda model, language: gr.update(note=note_of(model, language)))


def bind_styles(fields: Fields) -> None:
    """Lets "write into the box" and its undo fill the prompts; the tab has drawn all of them before."""
    names = [name for name in PROMPT_FIELDS if name in fields.components]
    picker: Any = fields.components["styles"]
    parts = [picker, *(fields.components[name] for name in names)]

    def write(value: Any, *texts: Any) -> list[Any]:
        before = {name: str(text or "") for name, text in zip(names, texts, strict=True)}
        chosen = read_styles(value)
        try:
            after = write_styles(fields, before, chosen)
        except PipelineError as error:
            raise as_gradio_error(error) from error
        return [as_choice((), {"names": chosen, **before}), *(after[name] for name in names)]

    def undo(value: Any) -> list[Any]:
        before = value.get("before") if isinstance(value, dict) else None
        if not isinstance(before, dict):
            return [gr.skip()] * len(parts)
        texts = [str(before.get(name, "")) for name in names]
        return [as_choice(read_styles({"names": before.get("names")})), *texts]

    quiet: dict[str, Any] = {
        "preprocess": False, "queue": False, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    picker.write(write, parts, parts, **quiet)
    picker.undo(undo, picker, parts, **quiet)


def write_styles(fields: Fields, texts: dict[str, str], names: list[str]) -> dict[str, str]:
    """The texts as the engine would make them with the styles; raises `InvalidRequest` for an unknown one."""
    request = make_request(TextToImageRequest, {**texts, "styles": names})
    final = final_texts(request, fields.manager.styles)
    return {name: getattr(final, name) for name in texts}


def read_styles(value: Any) -> list[str]:
    """The names that are chosen, as the request takes them."""
    names = value.get("names") if isinstance(value, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def as_choice(names: Any, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The request's styles as what the choice shows; `before` is what undo brings back."""
    return {"names": list(names or ()), "before": before}


def note_of(model: ModelEntry, language: str) -> str:
    """A sentence about a model that styles do little for; else nothing."""
    return say("styles.embedded", language) if model.embedded else ""


def table_of(styles: Mapping[str, Style]) -> dict[str, Any]:
    """What the choice is drawn from, in all languages: the browser takes its own."""
    tables = load_words()
    groups = list(dict.fromkeys(style.group for style in styles.values()))
    return {
        "styles": [_describe(style) for style in styles.values()],
        "groups": [
            {"name": group, "title": {language: table[f"styles.group.{group}"] for language, table in tables.items()}}
            for group in groups
        ],
        "words": {
            language: {name: table[f"styles.{name}"].format(most=MAX_STYLES) for name in WORDS}
            for language, table in tables.items()
        },
        "most": MAX_STYLES,
    }


def _describe(style: Style) -> dict[str, Any]:
    return {
        "name": style.name,
        "title": style.title,
        "group": style.group,
        "colour": style.colour,
        "adds": style.prompt.replace(PLACE, "…"),
        "avoids": style.negative.replace(PLACE, "…").strip(" ,…"),
    }
