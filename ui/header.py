"""The top of the page: what runs where, who waits, and what the embedded model can draw."""

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block

from pipelines.schema.models import ModelEntry
from ui.about import PANEL, build_about, show_loaded
from ui.choosing import Choosing, build_model_box, show_note
from ui.fields import Show
from ui.i18n import ENGLISH, language_of, load_words, say, word

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

REFRESH_SECONDS = 4.0
NAME = "SDXL Studio"


@dataclass(frozen=True)
class Header:
    """What the rest of the page needs of it."""

    choosing: Choosing
    followers: list[tuple[Block, Show]]
    """What looks different when another model is chosen."""


def build_header(manager: "PipelineManager", app: gr.Blocks) -> Header:
    """Name, the choice of the model, chips for device and queue, and the switch between light and dark."""

    def look(client: gr.Request) -> tuple[str, str]:
        language = language_of(client)
        return show_chips(manager, language), show_loaded(manager.status(), language)

    with gr.Row(elem_classes=["header"]):
        gr.HTML(f'<h1 class="name">{NAME}</h1>', elem_classes=["name-box"])
        model, rescan = build_model_box(manager)
        chips = gr.HTML(show_chips(manager, ENGLISH), elem_classes=["chips-box"])
        theme = gr.Button(word("button.theme"), elem_classes=["theme-switch", "sign"], scale=0, min_width=44)
    found, loaded = build_about(manager)
    note = gr.HTML(show_note(manager, manager.model, ENGLISH), elem_classes=["note-box"])
    theme.click(None, js="() => window.studio.switchTheme()", api_visibility="private")
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    app.load(look, None, [chips, loaded], **quiet)
    gr.Timer(REFRESH_SECONDS).tick(look, None, [chips, loaded], **quiet)
    followers: list[tuple[Block, Show]] = [(note, lambda model, language: show_note(manager, model, language))]
    embedded = [entry for entry in manager.library.checkpoints.values() if entry.embedded and entry.kind == "base"]
    for entry in embedded:
        followers += build_embedded_note(entry, is_chosen=entry == manager.model)
    return Header(Choosing(model, rescan, found), followers)


def show_chips(manager: "PipelineManager", language: str) -> str:
    """Queue and device as HTML; the device's chip opens the panel of `ui/about.py`."""
    status = manager.status()
    waiting = say("chip.queue", language, running=status.running, queued=status.queued)
    queue = f'<span class="what">{escape(say("chip.jobs", language))}</span>{escape(waiting)}'
    words = escape(say("chip.device", language))
    precision = status.dtype or say("chip.starting", language)
    device = f'<span class="what">{words}</span>{escape(f"{status.device_name} · {precision}")}'
    opens = f'<button type="button" popovertarget="{PANEL}">{device}</button>'
    return f'<ul class="status-chips"><li>{queue}</li><li class="device">{opens}</li></ul>'


def build_embedded_note(model: ModelEntry, *, is_chosen: bool) -> list[tuple[Block, Show]]:
    """For the small model that comes with the project: its words, and how to get the full one; returns what follows."""
    classes = ["section", "section-embedded"]
    with gr.Accordion(word("embedded.title"), open=False, visible=is_chosen, elem_classes=classes) as fold:
        gr.Markdown(word("embedded.how"))
        vocabulary = gr.HTML(elem_classes=["vocabulary"])
    return [
        (fold, lambda chosen, _: gr.update(visible=chosen.name == model.name)),
        (vocabulary, lambda _, language: show_vocabulary(load_vocabulary(model), language)),
    ]


def show_vocabulary(vocabulary: dict[str, list[str]], language: str) -> str:
    """The model's lists of words as HTML; a list that `ui/i18n/` has no heading for keeps its own name."""
    table = load_words()[language]
    headings = [table.get(f"vocabulary.{name}", name.replace("_", " ")) for name in vocabulary]
    lists = [", ".join(words) for words in vocabulary.values()]
    pairs = zip(headings, lists, strict=True)
    rows = [f"<dt>{escape(heading)}</dt><dd>{escape(words)}</dd>" for heading, words in pairs]
    return f"<dl>{''.join(rows)}</dl>"


def load_vocabulary(model: ModelEntry) -> dict[str, list[str]]:
    """The lists of words of a model that cannot draw everything; empty where it has no such file."""
    path = Path(model.vocabulary or "")
    if not path.is_file():
        return {}
    data = json.loads(path.read_text(encoding="utf-8"))
    return {name: [str(word) for word in words] for name, words in data.items() if isinstance(words, list)}
