"""Settings from a picture: a PNG that the studio saved fills the inputs again."""

from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.media.metadata import picture_fields, read_settings
from pipelines.schema.errors import PictureError
from pipelines.schema.requests import GenerationRequest
from ui.fields import Fields, section
from ui.generate import as_gradio_error
from ui.i18n import word
from ui.pictures import read_picture

SHARED = tuple(GenerationRequest.model_fields)
"""What goes from task to task. A task's own fields stay: a strength that inpaints would undo a refinement."""


def build_restoring(fields: Fields) -> None:
    """An upload, folded, that fills every input of the tab but its pictures."""
    names = [name for name in fields.components if name not in picture_fields(fields.request_class)]
    with section("restore"):
        label: Any = word("button.restore")
        button = gr.UploadButton(label, file_types=[".png"], size="sm")

    def restore(upload: Any) -> list[Any]:
        try:
            settings = read_settings(Path(read_picture(upload) or ""), "file")
        except PictureError as error:
            raise as_gradio_error(error) from error
        request, is_own = settings["request"], settings["task"] == fields.task
        return [as_input(request[name]) if name in SHARED or is_own else gr.skip() for name in names]

    button.upload(
        restore,
        button,
        [fields.components[name] for name in names],
        preprocess=False,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def as_input(value: Any) -> Any:
    """A request's value as an input shows it: a pair as text, nothing as an empty box."""
    if value is None:
        return ""
    return ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else value
