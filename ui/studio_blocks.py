"""What is checked of every call before Gradio touches its values, whoever sends it."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.utils import get_upload_folder, is_in_or_equal

from pipelines.media.decode import MAX_FILE_BYTES
from pipelines.schema.errors import InvalidRequest, PictureError, Plain
from pipelines.schema.requests import REQUESTS
from ui.endpoints import parameter_names
from ui.generate import as_gradio_error
from ui.painter import MAX_CHARACTERS

MAX_DEPTH = 16
"""Lists in lists: the interface's own values have three levels, and Gradio walks through them by recursion."""


class StudioBlocks(gr.Blocks):
    """A Gradio app that takes files only from its own upload folder.

    Gradio by itself would fetch a link, and would answer a path of the server with its place on the disk.
    """

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        """Raises `gr.Error` with a sentence for a foreign file, too large a value, or a wrong number of values."""
        names = parameter_names(REQUESTS[block_fn.api_name]) if block_fn.api_name in REQUESTS else ()
        if names and len(inputs) != len(names):
            sentence = f"data must hold the {len(names)} values of {', '.join(names)}, got {len(inputs)}"
            raise gr.Error(sentence, print_exception=False)
        for index, value in enumerate(inputs):
            try:
                check_value(names[index] if names else "file", value)
            except InvalidRequest as error:
                raise as_gradio_error(error) from error
        super().validate_inputs(block_fn, inputs)


def check_value(name: str, value: Any) -> None:
    """Raises `InvalidRequest` for a "path" outside the upload folder, a text longer than any mask, or deep nesting."""
    for depth, item in _walk(value):
        if depth > MAX_DEPTH:
            raise InvalidRequest(name, f"must be nested at most {MAX_DEPTH} levels deep", Plain("more"))
        if isinstance(item, str) and len(item) > MAX_CHARACTERS:
            rule = f"must have at most {MAX_FILE_BYTES // 2**20} MB"
            raise InvalidRequest(name, rule, Plain(f"{len(item)} characters"))
        path = item.get("path") if isinstance(item, dict) else None
        if path is not None and not (isinstance(path, str) and is_in_or_equal(path, get_upload_folder())):
            raise PictureError(name, "must be an uploaded file", path)


def _walk(value: Any) -> Iterator[tuple[int, Any]]:
    """Everything in nested JSON with its depth; without recursion, which a stranger could exhaust."""
    waiting = [(0, value)]
    while waiting:
        depth, item = waiting.pop()
        yield depth, item
        inner = item if isinstance(item, list) else item.values() if isinstance(item, dict) else ()
        waiting.extend((depth + 1, part) for part in inner)
