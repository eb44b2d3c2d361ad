"""What is checked of every call before Gradio touches its values, whoever sends it."""

from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.utils import get_upload_folder, is_in_or_equal

from pipelines.schema.errors import PictureError
from pipelines.schema.requests import REQUESTS
from ui.endpoints import parameter_names
from ui.generate import as_gradio_error


class StudioBlocks(gr.Blocks):
    """A Gradio app that takes files only from its own upload folder.

    Gradio by itself would fetch a link, and would answer a path of the server with its place on the disk.
    """

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        """Raises `gr.Error` with a sentence for a foreign file or a wrong number of values."""
        names = parameter_names(REQUESTS[block_fn.api_name]) if block_fn.api_name in REQUESTS else ()
        if names and len(inputs) != len(names):
            raise gr.Error(f"data must hold the {len(names)} values of {', '.join(names)}, got {len(inputs)}")
        for index, value in enumerate(inputs):
            try:
                refuse_foreign_files(names[index] if names else "file", value)
            except PictureError as error:
                raise as_gradio_error(error) from error
        super().validate_inputs(block_fn, inputs)


def refuse_foreign_files(name: str, value: Any) -> None:
    """Raises `PictureError` for every "path" in `value` that does not lie in the upload folder."""
    for path in _paths_in(value):
        if not isinstance(path, str) or not is_in_or_equal(path, get_upload_folder()):
            raise PictureError(name, "must be an uploaded file", path)


def _paths_in(value: Any) -> list[Any]:
    """Every "path" in nested JSON, whatever its type."""
    if isinstance(value, list):
        return [path for item in value for path in _paths_in(item)]
    if isinstance(value, dict):
        own = [value["path"]] if value.get("path") is not None else []
        return own + [path for item in value.values() for path in _paths_in(item)]
    return []
