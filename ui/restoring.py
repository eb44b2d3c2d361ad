"""Settings from a picture: a PNG that the studio saved fills the inputs again."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.media.metadata import picture_fields, read_settings
from pipelines.schema.errors import PictureError
from pipelines.schema.requests import GenerationRequest
from ui.fields import Fields, section
from ui.i18n import language_of, say, word
from ui.pictures import read_picture

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

SHARED = tuple(GenerationRequest.model_fields)
"""What goes from task to task. A task's own fields stay: a strength that inpaints would undo a refinement."""
NAMES = ("model", "refiner", "vae")
"""The fields that hold the name of a file, beside the LoRAs."""


def build_restoring(fields: Fields) -> None:
    """An upload, folded, that fills every input of the tab but its pictures."""
    names = [name for name in fields.components if name not in picture_fields(fields.request_class)]
    with section("restore"):
        label: Any = word("button.restore")
        button = gr.UploadButton(label, file_types=[".png"], size="sm")
        note = gr.HTML(elem_classes=["hint"])

    def restore(client: gr.Request, upload: Any) -> list[Any]:
        try:
            settings = read_settings(Path(read_picture(upload) or ""), "file")
        except PictureError as error:
            return [f'<p class="wrong" role="alert">{escape(str(error))}</p>', *(gr.skip() for _ in names)]
        request = settings["request"] | {"model": settings["request"]["model"] or settings["model"]}
        if "loras" not in fields.components:
            request["loras"] = []
        kept, missing = keep_known(fields.manager, request)
        sentence = say("info.missing", language_of(client), names=", ".join(missing)) if missing else ""
        told = f'<p class="wrong" role="alert">{escape(sentence)}</p>' if missing else ""
        return [told, *fill(fields, names, kept, is_own=settings["task"] == fields.task)]

    button.upload(
        restore,
        button,
        [note, *(fields.components[name] for name in names)],
        preprocess=False,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def fill(fields: Fields, names: list[str], request: dict[str, Any], *, is_own: bool) -> list[Any]:
    """What the inputs of `names` show of a request's values; what is not there, or is another task's own, stays."""
    return [
        fields.write(name, request[name]) if name in request and (name in SHARED or is_own) else gr.skip()
        for name in names
    ]


def keep_known(manager: "PipelineManager", request: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The request's values without the files that this studio does not have, and the names of those."""
    known = {kind: {entry.name for entry in manager.choices(kind)} for kind in (*NAMES, "lora")}
    known["model"].add(manager.model.name)
    kept, missing = dict(request), []
    for name in NAMES:
        if request[name] and request[name] not in known[name]:
            missing.append(kept.pop(name))
    kept["loras"] = [lora for lora in request["loras"] if lora["name"] in known["lora"]]
    missing += [lora["name"] for lora in request["loras"] if lora not in kept["loras"]]
    return kept, missing
