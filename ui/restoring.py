"""Settings from a picture or a pasted text: what this or another program wrote fills the inputs of the open tab.

A picture is chosen in its section or dropped anywhere on the page; `dropping.js` brings that, and a text that was
pasted into the prompt, and shows what came of it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.media.readers.picture import read_picture_settings, read_text_settings
from pipelines.media.readers.restored import Restored
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import REQUESTS, GenerationRequest
from ui.fields import Fields, section
from ui.filling import Filled, fill, kept_names, write_values
from ui.i18n import language_of, say, word
from ui.known import Missed, find_names
from ui.pictures import read_picture
from ui.reporting import Report, tell_missed, tell_template, tell_values

SHARED = tuple(GenerationRequest.model_fields)
"""What goes from task to task. A task's own fields stay: a strength that inpaints would undo a refinement."""
FILE_TYPES = [".png", ".jpg", ".jpeg", ".webp"]
STAYING = (
    "prompt", "model", "width", "height", "num_inference_steps", "guidance_scale", "scheduler", "timestep_spacing",
    "sigmas", "timesteps", "seed", "num_images_per_prompt",
)  # fmt: skip
"""What is left as it stands where a file does not say it; of all else its program used the default."""
WORDS = {"no-picture": "info.no_picture", "one-picture": "info.one_picture", "show": "button.show_restored"}
"""What `dropping.js` says by itself, by the class of the hidden part that holds it."""


def build_restoring(fields: Fields) -> None:
    """An upload, folded, with a list of what was not taken over; out of sight what `dropping.js` fills and presses."""
    label: Any = word("button.restore")
    with section("restore"):
        gr.HTML(word("info.restore"), elem_classes=["hint", "always"])
        button = gr.UploadButton(label, file_types=FILE_TYPES, size="sm")
        with gr.Column(visible=False, elem_classes=["restored"]) as panel:
            note = gr.HTML(elem_classes=["restored-note"])
            undo = gr.Button(word("button.undo_restored"), size="sm", elem_classes=["restored-undo"])
    with gr.Row(elem_classes=["restore-inbox"]):
        dropped = gr.UploadButton(label, file_types=FILE_TYPES, elem_classes=["restore-file"])
        text, answer = gr.Textbox(visible=False), gr.JSON(visible=False)
        pasted = gr.Button(elem_classes=["restore-text"])
        back = gr.Button(elem_id=f"restore-undo-{fields.task}")
        for name, key in WORDS.items():
            gr.HTML(word(key), elem_classes=[f"restore-{name}"])
    gr.HTML(word("info.drop"), elem_classes=["drop-overlay"])
    before = gr.State(None)
    names = kept_names(fields)
    parts = [fields.components[name] for name in names]

    def restore_picture(client: gr.Request, upload: Any, *shown: Any) -> list[Any]:
        current, language = dict(zip(names, shown, strict=True)), language_of(client)
        try:
            restored = read_picture_settings(Path(read_picture(upload) or ""), "file")
        except InvalidRequest as error:
            return [gr.skip(), gr.skip(), gr.skip(), {"task": fields.task, "wrong": str(error)}, *keep_all()]
        return show(restored, current, language)

    def restore_text(client: gr.Request, given: Any, *shown: Any) -> list[Any]:
        current, language = dict(zip(names, shown, strict=True)), language_of(client)
        try:
            restored = read_text_settings(str(given), "prompt")
        except InvalidRequest as error:
            quality, *updates = keep_all()
            updates[names.index("prompt")] = str(given)  # as if it had been pasted
            told = {"task": fields.task, "wrong": str(error), "undo": True}
            return [gr.update(visible=False), "", {"prompt": current["prompt"]}, told, quality, *updates]
        return show(restored, current, language)

    def show(restored: Restored, current: dict[str, Any], language: str) -> list[Any]:
        found, missed = find_names(fields.manager, restored.values, fields.find_model(current.get("model")))
        found_here = replace(restored, values=found)
        filled = fill(fields, write_values(fields, complete(fields, found_here)), current, language)
        report = describe(fields, found_here, missed, filled, current, language)
        kept = {name: current[name] for name in filled.updates}
        told = {"task": fields.task, "sentence": report.as_message(language), "undo": True, "more": bool(report.missed)}
        updates = [filled.updates.get(name, gr.skip()) for name in names]
        return [gr.update(visible=True), report.as_note(language), kept, told, filled.quality, *updates]

    def keep_all() -> list[Any]:
        return [gr.skip()] * (1 + len(names))

    def put_back(client: gr.Request, kept: dict[str, Any] | None, *shown: Any) -> list[Any]:
        current, language = dict(zip(names, shown, strict=True)), language_of(client)
        filled = fill(fields, kept or {}, current, language)
        updates = [filled.updates.get(name, gr.skip()) for name in names]
        told = {"task": fields.task, "sentence": say("info.restored_undone", language)}
        return [gr.update(visible=False), "", None, told, filled.quality, *updates]

    quiet: dict[str, Any] = {
        "preprocess": False, "queue": False, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    outputs = [panel, note, before, answer, fields.quality, *parts]
    take = "(_, ...shown) => [window.studio.takePasted(), ...shown]"
    events = [
        upload.upload(restore_picture, [upload, *parts], outputs, trigger_mode="multiple", **quiet)
        for upload in (button, dropped)
    ]
    events.append(pasted.click(restore_text, [text, *parts], outputs, js=take, trigger_mode="multiple", **quiet))
    events.append(gr.on([undo.click, back.click], put_back, [before, *parts], outputs, **quiet))
    for event in events:
        event.then(None, answer, js="(answer) => window.studio.showRestored(answer)", api_visibility="private")


def complete(fields: Fields, restored: Restored) -> dict[str, Any]:
    """The values that go into a tab: its own task's or what all tasks share, and defaults for what was left unsaid."""
    is_own = restored.task == fields.task
    names = [name for name in kept_names(fields) if name in SHARED or is_own]
    unsaid = [name for name in names if name not in STAYING and (name in SHARED or name == "denoising_end")]
    usual = {name: fields.describe(name).default for name in unsaid}
    return {**usual, **{name: restored.values[name] for name in names if name in restored.values}}


def find_left_out(fields: Fields, restored: Restored) -> dict[str, Any]:
    """What another task alone knows of the values, where it is not at its default there."""
    if restored.task == fields.task:
        return {}
    usual = {name: field.default for name, field in REQUESTS[restored.task].model_fields.items()}
    own = {name: value for name, value in restored.values.items() if name not in SHARED}
    return {name: value for name, value in own.items() if value != usual[name]}


def describe(
    fields: Fields, restored: Restored, missed: list[Missed], filled: Filled, current: dict[str, Any], language: str
) -> Report:  # fmt: skip
    """What was filled in from whom, and what is to be known of it; what was not taken over."""
    count = sum(name in filled.updates for name in restored.values)
    sentences = [say("info.restored", language, source=restored.source, count=count)]
    model = restored.values.get("model")
    if model is not None and "model" in filled.updates and model != current["model"]:
        sentences.append(say("info.restored_model", language, title=fields.find_model(model).title))
    left_out = find_left_out(fields, restored)
    if left_out:
        sentences.append(say("info.restored_tab", language, tab=say(f"tab.{restored.task}", language)))
    if restored.template:
        sentences.append(tell_template(restored.template, language))
    named = {miss.name for miss in missed}
    here = [miss for miss in missed if miss.field in fields.components]
    fields_of = {str(restored.values.get(name)): name for name in ("model", "refiner", "vae")}
    here += [Missed(fields_of.get(name, "loras"), name, "unfit") for name in filled.missing if name not in named]
    told = [tell_missed(miss, language) for miss in here]
    return Report(tuple(sentences), (*told, *tell_values(left_out, language), *restored.unmapped))
