"""The refiner: which one, from which share of the schedule on, and what it is told of beauty."""

from html import escape
from typing import Any

import gradio as gr

from pipelines.schema.errors import PipelineError
from pipelines.schema.models import Entry, ModelEntry
from pipelines.schema.requests import make_request
from ui.entries import title_of
from ui.fields import Fields, section
from ui.i18n import ENGLISH, language_of, say
from ui.progress import name_steps

PLANNED = (
    "num_inference_steps", "strength", "denoising_end", "scheduler", "timestep_spacing", "sigmas", "timesteps",
    "refiner", "model",
)  # fmt: skip
"""The fields that the number of steps depends on."""


def build_refiner(fields: Fields) -> None:
    """A fold with the share that the refiner draws and the steps that follow from it; none where no refiner fits."""
    with section("refiner") as fold:
        fields.slider("denoising_end", step=0.05, lowest=0.05)
        plan = gr.HTML(elem_classes=["hint"])
        build_refiner_choice(fields)
    fold.visible = bool(fitting_refiners(fields, fields.model))
    fields.follow(fold, lambda model, _: gr.update(visible=bool(fitting_refiners(fields, model))))
    names = [name for name in PLANNED if name in fields.components]
    inputs = [fields.components[name] for name in names]

    def tell(client: gr.Request, *values: Any) -> str:
        return plan_of(fields, dict(zip(names, values, strict=True)), language_of(client))

    for name in names:
        part: Any = fields.components[name]
        part.change(
            tell, inputs, plan, preprocess=False, queue=False, trigger_mode="always_last", show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip


def build_refiner_choice(fields: Fields) -> None:
    """Which refiner, and the aesthetic scores that it alone understands."""
    refiners = list_refiners(fields, fields.model, ENGLISH)
    box = gr.Dropdown(refiners, value=refiners[0][1], **fields.labels("refiner"))
    fields.add("refiner", box)
    fields.follow(box, lambda model, language: gr.update(choices=list_refiners(fields, model, language)))
    fields.slider("aesthetic_score", step=0.1)
    fields.slider("negative_aesthetic_score", step=0.1)


def fitting_refiners(fields: Fields, model: ModelEntry) -> list[Entry]:
    """The refiners of a model's own size; one of another was trained on other latents."""
    refiners = fields.manager.choices("refiner")
    return [entry for entry in refiners if getattr(entry, "native_size", None) == model.native_size]


def list_refiners(fields: Fields, model: ModelEntry, language: str) -> list[tuple[Any, str]]:
    """The model's own first, without a name: where another model is chosen, its own takes that place."""
    titles = {entry.name: title_of(fields.manager, entry, language) for entry in fitting_refiners(fields, model)}
    own = titles.pop(model.refiner or "", None)
    others = [(title, name) for name, title in titles.items()]
    return [(own, ""), *others] if own else others or [("–", "")]


def plan_of(fields: Fields, values: dict[str, Any], language: str) -> str:
    """The steps of each expert in words; nothing while the refiner has none, the engine's sentence where it refuses."""
    if values.get("denoising_end") == 1:
        return ""
    pictures = dict.fromkeys({"image", "mask_image"} & set(fields.request_class.model_fields), "unread")
    try:
        steps = fields.manager.plan_steps(make_request(fields.request_class, values | pictures))
    except PipelineError as error:
        return f"<p>{escape(str(error))}</p>"
    return f"<p>{escape(say('info.plan', language, steps=name_steps(steps, language)))}</p>"
