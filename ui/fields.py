"""Inputs that tabs draw, collected as {request field: component}.

Limits and help texts come from the request's schema, first values from the model's defaults over the schema's.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines.schema.fields import FieldInfo, describe_field
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import GenerationRequest
from ui.entries import list_entries, title_of
from ui.i18n import ENGLISH, word

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

RANDOM_SEED = -1
Show = Callable[[ModelEntry, str], Any]
"""What a part of the page looks like for the chosen model, in a language, as Gradio's update of it."""


class Fields:
    """Draws the inputs of one tab and remembers which field each fills."""

    def __init__(self, request_class: type[GenerationRequest], manager: "PipelineManager") -> None:
        self.request_class = request_class
        self.manager = manager
        self.model = manager.model
        """The studio's own, which the page starts with."""
        self.components: dict[str, Component] = {}
        self.readers: dict[str, Callable[[Any], Any]] = {}
        """What makes a field's value of what the browser sent, where that is not the value itself."""
        self.writers: dict[str, Callable[[Any], Any]] = {}
        """What makes what an input shows of a field's value, where `as_input` does not."""
        self.quality: gr.Radio
        """The chips that set several fields of the sampling at once."""
        self.counters: dict[str, gr.HTML] = {}
        """The line below each prompt, by the prompt's field."""
        self.combinations: tuple[gr.Column, gr.HTML]
        """The part of the page about all combinations, and the line in it that says how many there are."""
        self.followers: list[tuple[Block, Show]] = []
        """What looks different when another model is chosen, or when the model folders have been read again."""

    @property
    def task(self) -> str:
        """The task whose inputs are drawn."""
        return self.request_class.task

    def describe(self, name: str) -> FieldInfo:
        """Limits and help of a field of this tab's request."""
        return _describe(self.request_class, name)

    def default(self, name: str) -> Any:
        """The first value of an input: the model's own, else the schema's."""
        return self.model.defaults.get(name, self.describe(name).default)

    def find_model(self, name: Any) -> ModelEntry:
        """The checkpoint of that name, else the studio's own."""
        return self.manager.library.checkpoints.get(str(name), self.model)

    def follow(self, part: Block, show: Show) -> None:
        """Lets a part of the page follow the choice of the model; `show` leaves what was chosen in it alone."""
        self.followers.append((part, show))

    def write(self, name: str, value: Any) -> Any:
        """A field's value as its input shows it."""
        return self.writers.get(name, as_input)(value)

    def labels(self, name: str) -> dict[str, Any]:
        """Label and help of a field, as the keyword arguments that every Gradio input takes."""
        return {"label": word(f"label.{name}"), "info": word(f"help.{self.task}.{name}")}

    def add(
        self,
        name: str,
        component: Component,
        read: Callable[[Any], Any] | None = None,
        write: Callable[[Any], Any] | None = None,
    ) -> Component:
        """Lets `component` fill the field `name`; raises `KeyError` for a field the request does not have."""
        self.describe(name)
        self.components[name] = component
        if read:
            self.readers[name] = read
        if write:
            self.writers[name] = write
        return component

    def read(self, values: Sequence[Any], names: Sequence[str] | None = None) -> dict[str, Any]:
        """Field values by name of what the browser sent for `names`, else for `components`.

        Unchecked: the request judges them.
        """
        named = zip(names or self.components, values, strict=True)
        return {name: self.readers[name](value) if name in self.readers else value for name, value in named}

    def slider(self, name: str, step: float, lowest: float | None = None) -> gr.Slider:
        """A slider between the field's limits; `lowest` where the lower limit itself is not allowed."""
        info = self.describe(name)
        low, high = info.minimum if lowest is None else lowest, info.maximum
        if low is None or high is None:
            raise ValueError(f"{name} has no limits to draw a slider between")
        slider = gr.Slider(low, high, value=self.default(name), step=step, buttons=[], **self.labels(name))
        self.add(name, slider)
        return slider

    def choice(self, name: str) -> gr.Radio:
        """A row of chips, one for each value that the field allows."""
        choices = [(word(f"choice.{name}.{value}"), value) for value in self.describe(name).choices]
        chips = gr.Radio(choices, value=self.default(name), elem_classes=["chips"], **self.labels(name))
        self.add(name, chips)
        return chips

    def entry(self, name: str, kind: str, own: str) -> gr.Dropdown:
        """A list of what there is of a kind for the chosen model, under the word `own` for none of them."""

        def offer(model: ModelEntry, language: str) -> list[tuple[Any, str]]:
            entries = list_entries(self.manager, kind, model)
            return [(word(own), ""), *((title_of(self.manager, entry, language), entry.name) for entry in entries)]

        box = gr.Dropdown(offer(self.model, ENGLISH), value="", **self.labels(name))
        self.follow(box, lambda model, language: gr.update(choices=offer(model, language)))
        self.add(name, box)
        return box

    def switch(self, name: str) -> Component:
        """A box to tick."""
        return self.add(name, gr.Checkbox(value=self.default(name), **self.labels(name)))

    def pair(self, name: str, placeholder: Any) -> Component:
        """Two whole numbers in one text box, as "top, left"; its help is left to whoever stands around it."""
        value, label = as_input(self.default(name)), word(f"label.{name}")
        return self.add(name, gr.Textbox(value=value, label=label, placeholder=placeholder, max_lines=1, min_width=80))

    def count(self) -> None:
        """How many pictures, each with a seed of its own."""
        info = self.describe("num_images_per_prompt")
        choices = list(range(int(info.minimum or 1), int(info.maximum or 1) + 1))
        chips = gr.Radio(
            choices, value=self.default("num_images_per_prompt"), label=word("label.num_images_per_prompt"),
            elem_classes=["chips", "numerals"],
        )  # fmt: skip
        self.add("num_images_per_prompt", chips)

    def seed(self) -> None:
        """The seed, and a die that makes it random again."""
        with section("seed"):
            seed = gr.Textbox(str(RANDOM_SEED), max_lines=1, **self.labels("seed"))
            dice = gr.Button(word("button.random_seed"), size="sm")
            dice.click(None, outputs=seed, js=f"() => '{RANDOM_SEED}'", api_visibility="private")
        self.add("seed", seed, read=lambda text: RANDOM_SEED if (number := read_number(text)) is None else number)


_describe = cache(describe_field)  # a schema takes milliseconds to write, and every change of a model asks for dozens


def as_input(value: Any) -> Any:
    """A request's value as an input shows it: a pair as text, nothing as an empty box."""
    if value is None:
        return ""
    return ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else value


def read_number(text: Any) -> Any:
    """A number where one was typed, `None` where nothing was; Gradio's own number input turns an empty box into 0."""
    text = str(text).strip()
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text or None


def section(name: str) -> gr.Accordion:
    """A folded part of the left column; the browser remembers by its class whether it was open."""
    return gr.Accordion(word(f"section.{name}"), open=False, elem_classes=["section", f"section-{name}"])
