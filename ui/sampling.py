"""Steps, guidance and scheduler, and one choice of quality that sets two of them at once."""

import json

import gradio as gr

from pipelines.schema.schedulers import SCHEDULER_NAMES, SCHEDULER_TITLES
from ui.fields import Fields, section
from ui.i18n import word

DRAFT = (10, "dpmpp_2m_karras")
"""Steps and scheduler of a quick look."""
QUALITY_FACTOR = 1.75
"""The best quality takes so many times the model's own number of steps."""


def build_sampling(fields: Fields) -> None:
    """Chips for the quality and, folded, the inputs they set."""
    own_steps, own_scheduler = fields.default("num_inference_steps"), fields.default("scheduler")
    levels = {
        "draft": DRAFT,
        "balanced": (own_steps, own_scheduler),
        "quality": (round(own_steps * QUALITY_FACTOR), own_scheduler),
    }
    chips = gr.Radio(
        [(word(f"choice.quality.{level}"), level) for level in levels], value="balanced",
        label=word("label.quality"), elem_classes=["chips", "equal"],
    )  # fmt: skip
    with section("sampling"):
        steps = fields.slider("num_inference_steps", step=1)
        fields.slider("guidance_scale", step=0.1)
        titles = [(SCHEDULER_TITLES[name], name) for name in SCHEDULER_NAMES]
        scheduler = gr.Dropdown(titles, value=own_scheduler, filterable=False, **fields.labels("scheduler"))
    fields.add("scheduler", scheduler)
    table = json.dumps(levels)
    to_level = (
        f"(steps, scheduler) => Object.entries({table})"
        ".find(([, [s, name]]) => s === steps && name === scheduler)?.[0] ?? null"
    )
    chips.input(None, chips, [steps, scheduler], js=f"(level) => ({table})[level]", api_visibility="private")
    steps.change(None, [steps, scheduler], chips, js=to_level, api_visibility="private")
    scheduler.change(None, [steps, scheduler], chips, js=to_level, api_visibility="private")
