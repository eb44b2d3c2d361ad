"""What stands on an empty stage: a few pictures to start from, from `presets/examples.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.schema.models import ModelEntry
from pipelines.schema.paths import PRESETS
from ui.generate import publish
from ui.i18n import word


@dataclass(frozen=True)
class Example:
    """A prompt that the model knows, with what it drew."""

    task: str
    prompt: str
    picture: Path | None

    def fields(self) -> list[str]:
        """The fields it fills."""
        return ["prompt"] if self.task == "text_to_image" else ["image", "prompt"]

    def fill(self) -> Any:
        """Values for `fields()`, in that order."""
        if self.task == "text_to_image" or self.picture is None:
            return self.prompt
        return publish(self.picture), self.prompt


def load_examples(model: ModelEntry, task: str) -> list[Example]:
    """The examples for a model by name; a model that the file does not know gets those for any SDXL."""
    data = json.loads((PRESETS / "examples.json").read_text(encoding="utf-8"))
    entries = data.get(model.name, data["sdxl"]).get(task, [])
    return [
        Example(task, entry["prompt"], PRESETS / "examples" / entry["picture"] if "picture" in entry else None)
        for entry in entries
    ]


def build_examples(examples: list[Example], task: str) -> list[gr.Button]:
    """A sentence on how to start, and a card for each example."""
    gr.Markdown(word(f"idle.{task}"), elem_classes=["idle-text"])
    if examples:
        gr.Markdown(word("idle.examples"), elem_classes=["idle-text"])
    with gr.Row(elem_classes=["cards"]):
        return [
            gr.Button(
                example.prompt,
                icon=example.picture if example.picture and example.picture.is_file() else None,
                elem_classes=["card"],
                min_width=140,
            )
            for example in examples
        ]
