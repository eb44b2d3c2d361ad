"""The right side of a tab: the picture under way, the finished ones, what was used, and where to go next."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipelines.job import Job
from pipelines.schema.events import Result
from pipelines.schema.requests import PROMPT_FIELDS, GenerationRequest
from ui.generate import publish, request_as_json
from ui.i18n import say, word
from ui.progress import describe_result, show_canvas, show_status

CAPTION_CHARACTERS = 200
"""What fits below a picture; the whole text is in its file."""
Update = dict[Any, Any]
"""New values by component, as Gradio takes them from a handler."""


@dataclass(frozen=True)
class Stage:
    """The parts of the right side and the values that live behind them."""

    idle: gr.Column
    canvas: gr.HTML
    gallery: gr.Gallery
    status: gr.HTML
    facts: gr.HTML
    actions: gr.Row
    send_to: dict[str, gr.Button]
    """The buttons below a finished picture, by the task they lead to."""
    reuse_seed: gr.Button
    generate: gr.Button
    stop: gr.Button
    job: gr.State
    """The job of this tab's running generation, for Stop."""
    outcome: gr.State
    """`{"files": [...], "seeds": [...], "request": {...}, "drawn": [...]}` of the last finished generation, or `None`.

    `drawn` holds for each picture the request that draws it alone: its own text, its own seed.
    """
    selected: gr.State
    """Which of its pictures is looked at."""

    @property
    def outputs(self) -> list[Any]:
        """Everything that a running generation changes."""
        return [
            self.idle, self.canvas, self.gallery, self.status, self.facts, self.actions,
            self.generate, self.stop, self.job, self.outcome, self.selected,
        ]  # fmt: skip

    def begin(self, job: Job, sentence: str, size: tuple[int, int], language: str) -> Update:
        """The stage when a job has been accepted."""
        return {
            self.idle: gr.update(visible=False),
            self.gallery: gr.update(visible=False),
            self.canvas: gr.update(visible=True, value=show_canvas(None, *size, language)),
            self.status: show_status(sentence),
            self.facts: gr.update(visible=False),
            self.actions: gr.update(visible=False),
            self.generate: gr.update(interactive=False),
            self.stop: gr.update(interactive=True),
            self.job: job,
        }

    def finish(self, result: Result, language: str, sentence: str = "", kind: str = "done") -> Update:
        """The stage with finished pictures, shown from the saved files; `sentence` where the job did not simply end."""
        files = [publish(file) for file in result.files]
        outcome = {
            "files": files,
            "seeds": list(result.seeds),
            "request": request_as_json(result.request),
            "drawn": [request_as_json(request) for request in result.drawn],
        }
        done = say("status.done", language, seconds=f"{result.elapsed_seconds:.1f}")
        captions = caption_pictures(result)
        first = 0 if len(set(captions)) == 1 else None  # pictures of different texts are compared side by side
        return {
            **self.rest(sentence or done, kind, outcome),
            self.gallery: gr.update(
                visible=True,
                value=list(zip(files, captions, strict=True)),
                selected_index=first,
                preview=first == 0,
                elem_classes=["result"] if first == 0 else ["result", "side-by-side"],
            ),
            self.facts: gr.update(visible=True, value=describe_result(result, language)),
            self.outcome: outcome,
            self.selected: 0,
        }

    def rest(self, sentence: str, kind: str, outcome: dict[str, Any] | None) -> Update:
        """The stage when nothing runs any more: the last pictures, or the examples where there are none."""
        has_pictures = outcome is not None
        return {
            self.idle: gr.update(visible=not has_pictures),
            self.canvas: gr.update(visible=False),
            self.gallery: gr.update(visible=has_pictures),
            self.status: show_status(sentence, kind=kind),
            self.facts: gr.update(visible=has_pictures),
            self.actions: gr.update(visible=has_pictures),
            self.generate: gr.update(interactive=True),
            self.stop: gr.update(interactive=False),
            self.job: None,
        }


def caption_pictures(result: Result) -> list[str | None]:
    """What was drawn for each picture, where it is not what was typed: from wildcards, variants, combinations."""
    return [_caption(request, result.request) for request in result.drawn]


def _caption(drawn: GenerationRequest, typed: GenerationRequest) -> str | None:
    texts = [getattr(drawn, name) for name in PROMPT_FIELDS if getattr(drawn, name) != getattr(typed, name)]
    caption = " · ".join(texts)
    return (caption if len(caption) <= CAPTION_CHARACTERS else caption[:CAPTION_CHARACTERS] + "…") or None


def build_bar() -> tuple[gr.Button, gr.Button]:
    """Generate and Stop, always in view."""
    with gr.Row(elem_classes=["action-bar"]):
        generate = gr.Button(word("button.generate"), variant="primary", scale=3, elem_classes=["generate"])
        stop = gr.Button(word("button.stop"), variant="stop", scale=1, interactive=False, elem_classes=["stop"])
    return generate, stop


def build_gallery() -> gr.Gallery:
    """The finished pictures, as the files that were saved."""
    return gr.Gallery(
        visible=False, show_label=False, type="filepath", format="png", object_fit="contain", preview=True,
        buttons=["download", "fullscreen"], interactive=False, elem_classes=["result"],
    )  # fmt: skip
