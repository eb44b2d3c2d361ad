"""Settings of a picture or a text over the API, as the page reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.data_classes import FileData

from pipelines.media.readers.picture import read_picture_settings, read_text_settings
from pipelines.media.readers.restored import Restored
from pipelines.schema.errors import InvalidRequest, PictureError
from ui.endpoints import ASKED_AT_ONCE, describe_parameters
from ui.generate import as_gradio_error
from ui.i18n import ENGLISH, say
from ui.known import find_names
from ui.reporting import tell_missed

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

NAME = "read_settings"
PARAMETERS = {
    "file": "A PNG, JPEG or WebP of this studio, AUTOMATIC1111, Forge, Fooocus or ComfyUI.",
    "text": "In its place: an infotext, or the JSON of Fooocus or of ComfyUI's API.",
}


def bind_reading_api(manager: "PipelineManager", app: gr.Blocks) -> None:
    """Adds `/read_settings` to the app being built; it waits for no picture."""
    gr.api(make_reader(manager), api_name=NAME, concurrency_limit=ASKED_AT_ONCE)
    function = next(function for function in app.fns.values() if function.api_name == NAME)
    describe_parameters(function, PARAMETERS, ("settings",))


def make_reader(manager: "PipelineManager") -> Callable[..., dict[str, Any]]:
    """The function behind `/read_settings`."""

    def read_settings(file: FileData | None = None, text: str = "") -> dict[str, Any]:
        """What a picture or a text says of how it was drawn.

        `source` is the program that wrote it, `task` the endpoint that its `values` can be given to, files and styles
        by the names they have here; `unmapped` lists what has no counterpart, or is not on this studio's disk: tags
        of such LoRAs are taken out of the prompts.
        """
        try:
            restored = _read(file, text)
        except InvalidRequest as error:
            raise as_gradio_error(error) from error
        except Exception as error:
            raise gr.Error(say("status.unexpected", ENGLISH)) from error  # its own words may name a folder
        values, missed = find_names(manager, restored.values, manager.model)
        told = [*restored.unmapped, *(tell_missed(miss, ENGLISH) for miss in missed)]
        return {"source": restored.source, "task": restored.task, "values": values, "unmapped": told}

    return read_settings


def _read(file: Any, text: Any) -> Restored:
    if file is None:
        if not isinstance(text, str):
            raise InvalidRequest("text", "must be text", text)
        if not text:
            raise InvalidRequest("file", "or text is required", None)
        return read_text_settings(text, "text")
    if not isinstance(file, dict) or not isinstance(file.get("path"), str):
        raise PictureError("file", "must be an uploaded file", file)
    return read_picture_settings(Path(file["path"]), "file")
