"""The top of the page: what runs where, who waits, and what the embedded model can draw."""

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.schema.models import ModelEntry
from ui.i18n import language_of, load_words, say, word

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

REFRESH_SECONDS = 4.0
NAME = "SDXL Studio"


def build_header(manager: "PipelineManager", app: gr.Blocks) -> None:
    """Name, chips for model, device and queue, and the switch between light and dark."""

    def chips(client: gr.Request) -> str:
        return show_chips(manager, language_of(client))

    with gr.Row(elem_classes=["header"]):
        gr.HTML(f'<h1 class="name">{NAME}</h1>', elem_classes=["name-box"])
        status = gr.HTML(show_chips(manager, "en"), elem_classes=["chips-box"])
        theme = gr.Button(word("button.theme"), elem_classes=["theme-switch", "sign"], scale=0, min_width=44)
    theme.click(None, js="() => window.studio.switchTheme()", api_visibility="private")
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    app.load(chips, None, status, **quiet)
    gr.Timer(REFRESH_SECONDS).tick(chips, None, status, **quiet)
    if manager.model.embedded:
        build_embedded_note(manager.model, app)


def show_chips(manager: "PipelineManager", language: str) -> str:
    """Model, device and queue as HTML."""
    status = manager.status()
    waiting = say("chip.queue", language, running=status.running, queued=status.queued)
    chips = [
        (say("chip.model", language), status.model),
        (say("chip.device", language), f"{status.device_name} · {status.dtype}"),
        (say("chip.jobs", language), waiting),
    ]
    cells = "".join(f'<li><span class="what">{escape(what)}</span>{escape(value)}</li>' for what, value in chips)
    return f'<ul class="status-chips">{cells}</ul>'


def build_embedded_note(model: ModelEntry, app: gr.Blocks) -> None:
    """For the small model that comes with the project: its words, and how to get the full one."""
    with gr.Accordion(word("embedded.title"), open=False, elem_classes=["section", "section-embedded"]):
        gr.Markdown(word("embedded.how"))
        vocabulary = gr.HTML(elem_classes=["vocabulary"])

    def in_own_language(client: gr.Request) -> str:
        return show_vocabulary(load_vocabulary(model), language_of(client))

    app.load(in_own_language, None, vocabulary, queue=False, show_progress="hidden", api_visibility="private")


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
