"""A picture to paint a mask on: drawn in the browser at the picture's own size, sent when a stroke ends.

Gradio's ImageEditor would send the whole picture back, several times for each stroke.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from pipelines.schema.errors import PictureError
from ui.i18n import ENGLISH, say, word

FOLDER = Path(__file__).parent
COLOUR = "#ff3d7f"
"""The brush's, seen on most pictures; `painter.js` has the same."""
PREFIX = "data:image/png;base64,"


def build_painter() -> gr.HTML:
    """The painter; its value is what `show` makes and `read_mask` reads."""
    return gr.HTML(
        value=show(None, language=ENGLISH),
        html_template=(FOLDER / "painter.html").read_text(encoding="utf-8"),
        js_on_load=(FOLDER / "painter.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_classes=["mask-editor"],
        label=word("label.mask_image"),
    )


def show(picture: str | None, paint: str | None = None, *, language: str) -> dict[str, Any]:
    """The painter's value for a picture, with a mask already painted where `paint` is a file of it.

    `paint` is of `COLOUR`, as opaque as the mask is white.
    """
    titles = {tool: say(f"paint.{tool}", language) for tool in ("brush", "eraser", "width", "undo", "clear")}
    return {"picture": _as_file(picture), "paint": _as_file(paint), "mask": None, "titles": titles}


def read_mask(value: Any) -> str | None:
    """What was painted as a mask file, white on black, unread; `None` where nothing was."""
    data = value.get("mask") if isinstance(value, dict) else None
    if not data:
        return None
    try:
        if not isinstance(data, str) or not data.startswith(PREFIX):
            raise ValueError
        content = base64.b64decode(data[len(PREFIX) :], validate=True)
    except (ValueError, binascii.Error) as error:
        raise PictureError("mask_image", "must be a PNG picture", data) from error
    return save_bytes_to_cache(content, "mask.png", get_upload_folder())


def _as_file(path: str | None) -> dict[str, Any] | None:
    """A file as Gradio hands it to a browser."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}} if path else None
