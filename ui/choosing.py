"""The model: chosen once for the whole page, and by each visitor for themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from pipelines.schema.models import ModelEntry
from ui.about import describe_rescan, known_names, show_found
from ui.entries import list_models
from ui.fields import Show
from ui.filling import defaults_for
from ui.framing import BOXES
from ui.i18n import ENGLISH, language_of, say, word
from ui.loras import as_rows, fitting_loras, read_loras
from ui.refiner import list_refiners
from ui.sampling import list_levels
from ui.view import View

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

TAKEN_OVER = (
    "num_inference_steps", "guidance_scale", "scheduler", "timestep_spacing", "sigmas", "timesteps",
    "guidance_rescale", "clip_skip", "denoising_end", "vae", *BOXES,
)  # fmt: skip
"""The fields that a chosen model sets: to what its entry says, else to what the schema says."""

AFTER_RESCAN = "() => { window.studio.showAbout(); document.dispatchEvent(new CustomEvent('studio:changed')); }"
"""Shows what was found, and has the prompts counted again: their LoRAs may be there now."""


@dataclass(frozen=True)
class Choosing:
    """The model's part of the header."""

    model: gr.Dropdown
    rescan: gr.Button
    found: gr.HTML
    """What there is to choose from."""


def build_model_box(manager: "PipelineManager") -> tuple[gr.Dropdown, gr.Button]:
    """The list of models, and the button that reads the folders again."""
    model = gr.Dropdown(
        list_models(manager, ENGLISH), value=manager.model.name, label=word("chip.model"), show_label=False,
        min_width=200, elem_classes=["model-box"],
    )  # fmt: skip
    rescan = gr.Button(word("button.rescan"), elem_classes=["rescan", "sign"], scale=0, min_width=44)
    return model, rescan


def show_note(manager: "PipelineManager", model: ModelEntry, language: str) -> str:
    """One line below the header for a model that only inpaints or is not here yet; else nothing."""
    notes = [escape(say("note.inpainting", language))] if model.kind == "inpainting" else []
    if not manager.is_here(model):
        notes.append(escape(say("note.download", language)))
        if model.licence:
            licence = escape(say("note.licence", language, licence=model.licence))
            link = f'<a href="{escape(model.page)}" target="_blank" rel="noreferrer">{licence}</a>'
            notes.append(link if model.page else licence)
    return f'<p class="note">{" ".join(notes)}</p>' if notes else ""


def bind_choosing(
    choosing: Choosing,
    views: dict[str, View],
    others: list[tuple[Block, Show]],
    manager: "PipelineManager",
    opened: gr.Button,
) -> None:
    """Lets every tab, and `others`, follow the choice; a rescan, and a page that has `opened`, renew what there is."""
    followers = [*others, *(follower for view in views.values() for follower in view.fields.followers)]
    parts = [*(part for part, _ in followers), *(view.fields.quality for view in views.values())]
    find_model = next(iter(views.values())).fields.find_model

    def show(client: gr.Request, name: Any, *loras: Any) -> list[Any]:
        model, language = find_model(name), language_of(client)
        return [look(model, language) for _, look in followers] + [
            show_quality(view, model, rows) for view, rows in with_rows(views, loras)
        ]

    def renew(client: gr.Request, name: Any, *loras: Any) -> list[Any]:
        models = list_models(manager, language_of(client))
        kept = name if name in dict(models).values() else manager.model.name
        # a choice made while this is under way must not be taken back
        box = gr.update(choices=models) if kept == name else gr.update(choices=models, value=kept)
        return [box, show_found(manager, language_of(client)), *show(client, kept, *loras)]

    def rescan(client: gr.Request, name: Any, *loras: Any) -> list[Any]:
        before = known_names(manager)
        manager.rescan()
        sentence = describe_rescan(before, known_names(manager), language_of(client))
        box, _, *rest = renew(client, name, *loras)
        return [box, show_found(manager, language_of(client), sentence), *rest]

    def take_over(client: gr.Request, name: Any, *loras: Any) -> list[Any]:
        model, language = find_model(name), language_of(client)
        pairs = with_rows(views, loras)
        return [value for view, rows in pairs for value in values_taken_over(view, model, rows, language)]

    quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
    rows = [view.fields.components["loras"] for view in views.values() if "loras" in view.fields.components]
    inputs = [choosing.model, *rows]
    renewed = [choosing.model, choosing.found, *parts]
    taken_over = [part for view in views.values() for part in parts_taken_over(view)]
    choosing.model.change(show, inputs, parts, queue=False, **quiet)
    choosing.model.input(take_over, inputs, taken_over, queue=False, **quiet)
    opened.click(renew, inputs, renewed, queue=False, **quiet)
    choosing.rescan.click(rescan, inputs, renewed, concurrency_limit=1, **quiet).then(
        None, js=AFTER_RESCAN, api_visibility="private"
    )


def with_rows(views: dict[str, View], loras: Sequence[Any]) -> list[tuple[View, Any]]:
    """Every tab with the rows of its LoRAs; `loras` holds them for those tabs alone that have any."""
    rows = iter(loras)
    return [(view, next(rows) if "loras" in view.fields.components else None) for view in views.values()]


def parts_taken_over(view: View) -> list[Component]:
    """The inputs that the choice of a model fills."""
    components = view.fields.components
    return [components[name] for name in (*TAKEN_OVER, "refiner", "width", "height", "loras") if name in components]


def values_taken_over(view: View, model: ModelEntry, loras: Any, language: str) -> list[Any]:
    """Values for `parts_taken_over`: the model's, under those of the LoRAs that stay chosen."""
    fields = view.fields
    defaults = defaults_for(fields, model, loras)
    names = [name for name in TAKEN_OVER if name in fields.components]
    values = [fields.write(name, defaults.get(name, fields.describe(name).default)) for name in names]
    side = str(model.native_size) if fields.task == "text_to_image" else ""
    refiners = list_refiners(fields, model, language)
    values += [gr.update(choices=refiners, value=refiners[0][1]), side, side]
    if "loras" in fields.components:
        kept = fitting_loras(fields, model, loras)
        values.append(gr.skip() if kept == read_loras(loras) else as_rows(kept))
    return values


def show_quality(view: View, model: ModelEntry, loras: Any) -> Any:
    """The levels of quality with the model and the LoRAs that are chosen."""
    return gr.update(choices=list_levels(view.fields, defaults_for(view.fields, model, loras)))
