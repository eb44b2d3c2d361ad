"""What is loaded and where, and what there is to choose from: a panel that a click on the device opens."""

from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from pipelines.schema.status import Status
from ui.i18n import ENGLISH, say
from ui.progress import say_bytes

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

KINDS = ("model", "refiner", "vae", "lora", "embedding")
PANEL = "about"
"""The panel's id; `script.js` makes it one that opens over the page."""


def build_about(manager: "PipelineManager") -> tuple[gr.HTML, gr.HTML]:
    """The panel; returns what there is to choose from and what is loaded, to be renewed."""
    with gr.Column(elem_id=PANEL, elem_classes=["about"]):
        found = gr.HTML(show_found(manager, ENGLISH))
        loaded = gr.HTML(show_loaded(manager.status(), ENGLISH))
    return found, loaded


def known_names(manager: "PipelineManager") -> set[str]:
    """The names that the library knows; what may be chosen leaves a deleted file out before the folders are read."""
    return {*manager.library.checkpoints, *manager.library.add_ons}


def describe_rescan(before: set[str], after: set[str], language: str) -> str:
    """What came and what went between two looks into the folders."""
    told = [("about.new", sorted(after - before)), ("about.gone", sorted(before - after))]
    sentences = [say(key, language, names=", ".join(names)) for key, names in told if names]
    return " ".join(sentences) or say("about.nothing_new", language)


def show_found(manager: "PipelineManager", language: str, sentence: str = "") -> str:
    """How many files of each kind there are, and those in the folders that cannot be used, each with its reason."""
    counts = " · ".join(say(f"about.count.{kind}", language, count=len(manager.choices(kind))) for kind in KINDS)
    told = f'<p class="told" role="status">{escape(sentence)}</p>' if sentence else ""
    refused = "".join(
        f"<div><dt>{escape(one.file)}</dt><dd>{escape(one.reason)}</dd></div>" for one in manager.library.refused
    )
    heading = f"<h2>{escape(say('about.refused', language))}</h2>" if refused else ""
    return (
        f"<h2>{escape(say('about.choices', language))}</h2>{told}<p>{escape(counts)}</p>"
        + heading
        + (f'<dl class="refused">{refused}</dl>' if refused else "")
    )


def show_loaded(status: Status, language: str) -> str:
    """Each part of the models in memory: whose it is, how large, where, in which precision; and the memory mode."""
    total = sum(part.component_bytes for part in status.components)
    mode = say(f"about.memory.{status.memory}", language)
    heading = f"<h2>{escape(say('about.loaded', language))}</h2>"
    if not status.components:
        return f"{heading}<p>{escape(say('about.nothing_loaded', language))}</p><p>{escape(mode)}</p>"
    names = ("part", "source", "size", "place", "dtype")
    head = "".join(f'<th scope="col">{escape(say(f"about.column.{name}", language))}</th>' for name in names)
    rows = "".join(
        f"<tr><td>{escape(part.name)}</td><td>{escape(part.source)}</td>"
        f"<td>{say_bytes(part.component_bytes, language)}</td><td>{escape(part.device)}</td>"
        f"<td>{escape(part.dtype)}</td></tr>"
        for part in status.components
    )
    whole = say("about.total", language, size=say_bytes(total, language))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"{heading}<p>{escape(whole)} {escape(mode)}</p>{table}"
