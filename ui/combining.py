"""Every combination of wildcards and variants instead of one by chance, and how many pictures that makes."""

from html import escape
from typing import Any

import gradio as gr

from pipelines.prompts.drawing import MAX_PICTURES
from pipelines.schema.errors import PipelineError
from pipelines.schema.requests import PROMPT_FIELDS
from pipelines.schema.types import MAX_PROMPT_CHARACTERS
from ui.fields import Fields
from ui.i18n import say

UNCOUNTED = 1_000_000
"""From here on the exact number says nothing more."""


def build_combinations(fields: Fields) -> None:
    """The switch with the number of pictures below it; seen where a prompt holds something to choose from."""
    with gr.Column(visible=False, elem_classes=["combinations"]) as part:
        fields.switch("all_combinations")
        told = gr.HTML(elem_classes=["hint"])
    fields.combinations = part, told


def show_combinations(fields: Fields, given: dict[str, Any], language: str) -> list[Any]:
    """Updates of `fields.combinations`."""
    texts = {name: str(given.get(name) or "") for name in PROMPT_FIELDS}
    if any(len(text) > MAX_PROMPT_CHARACTERS for text in texts.values()):
        return [gr.update(visible=False), ""]
    try:
        count = fields.manager.count_combinations(texts)
    except PipelineError as error:
        return [gr.update(visible=True), f'<p class="wrong">{escape(str(error))}</p>']
    return [gr.update(visible=count > 1), describe_combinations(count, given["num_images_per_prompt"], language)]


def describe_combinations(count: int, pictures: Any, language: str) -> str:
    """ "12 combinations × 2 = 24 pictures", or what it would be: `combining.css` shows the one that fits the switch.

    A warning where it is switched on and more than one job draws.
    """
    pictures = pictures if isinstance(pictures, int) else 1
    total = count * pictures
    many = f"{count:,}" if count < UNCOUNTED else f"> {UNCOUNTED:,}"
    values = {"combinations": many, "pictures": pictures, "total": total, "limit": MAX_PICTURES}
    key, kind = ("combinations", "told") if total <= MAX_PICTURES else ("too_many_combinations", "wrong")
    is_so, would_be = say(f"info.{key}", language, **values), say(f"info.would_be_{key}", language, **values)
    return f'<p class="if-on {kind}">{escape(is_so)}</p><p class="if-off">{escape(would_be)}</p>'
