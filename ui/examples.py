"""What stands on an empty stage: a few pictures to start from, from `presets/examples.json`."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.schema.models import ModelEntry
from pipelines.schema.paths import PRESETS
from ui.fields import Fields
from ui.generate import publish
from ui.i18n import word

ANY_SDXL = "sdxl"


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


def load_examples(task: str) -> dict[str, list[Example]]:
    """The examples by the name of the model that they are for."""
    data = json.loads((PRESETS / "examples.json").read_text(encoding="utf-8"))
    return {
        name: [
            Example(task, entry["prompt"], PRESETS / "examples" / entry["picture"] if "picture" in entry else None)
            for entry in tasks.get(task, [])
        ]
        for name, tasks in data.items()
    }


def build_examples(fields: Fields) -> list[tuple[gr.Button, Example]]:
    """A sentence on how to start, and a card for each example of each model; only the chosen model's are seen."""
    gr.Markdown(word(f"idle.{fields.task}"), elem_classes=["idle-text"])
    examples = load_examples(fields.task)
    cards = []
    for name, ones in examples.items():
        if not ones:
            continue
        is_for = partial(_is_for, name, frozenset(examples))
        with gr.Column(visible=is_for(fields.model), elem_classes=["example-set"]) as part:
            gr.Markdown(word("idle.examples"), elem_classes=["idle-text"])
            with gr.Row(elem_classes=["cards"]):
                cards += [(_build_card(example), example) for example in ones]
        fields.follow(part, lambda model, _, is_for=is_for: gr.update(visible=is_for(model)))
    return cards


def _is_for(name: str, names: frozenset[str], model: ModelEntry) -> bool:
    """A model that the file does not know gets the examples for any SDXL."""
    return name == (model.name if model.name in names else ANY_SDXL)


def _build_card(example: Example) -> gr.Button:
    """The picture to start from over the prompt; an arrow where the one is to become the other."""
    becomes = example.task in ("image_to_image", "inpaint")
    return gr.Button(
        f"→ {example.prompt}" if becomes else example.prompt,
        icon=example.picture if example.picture and example.picture.is_file() else None,
        elem_classes=["card"],
        min_width=140,
    )
