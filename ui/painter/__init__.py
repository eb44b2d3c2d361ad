"""A picture to paint a mask on: drawn in the browser at the picture's own size, sent when a stroke ends.

Gradio's ImageEditor would send the whole picture back, several times for each stroke.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache, save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from pipelines.media.decode import MAX_FILE_BYTES, MAX_PIXELS, load_mask
from pipelines.schema.errors import PictureError, Plain
from ui.headers import read_size
from ui.i18n import ENGLISH, say, word

FOLDER = Path(__file__).parent
COLOUR = "#ff3d7f"
"""The brush's, seen on most pictures; `painter.js` has the same."""
PREFIX = "data:image/png;base64,"
NO_MEMORY = "data:,"
"""What a browser makes of a canvas that it has no memory for."""
MAX_CHARACTERS = len(PREFIX) + -(-MAX_FILE_BYTES // 3) * 4
"""The longest mask: as large a file as may be uploaded."""
CANVAS_PIXELS = 16_000_000
"""Over a larger picture the mask is painted smaller; `painter.js` has the same number."""


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
    """What was painted as a mask file, white on black; `None` where nothing was. Blocks: it writes the file."""
    data = value.get("mask") if isinstance(value, dict) else None
    if not data:
        return None
    if data == NO_MEMORY:
        rule = "must be painted on a smaller picture: this browser has no memory for one so large"
        raise PictureError("mask_image", rule, Plain("nothing"))
    if isinstance(data, str) and len(data) > MAX_CHARACTERS:
        rule = f"must be a file of at most {MAX_FILE_BYTES // 2**20} MB"
        raise PictureError("mask_image", rule, Plain(f"{len(data)} characters"))
    try:
        if not isinstance(data, str) or not data.startswith(PREFIX):
            raise ValueError
        content = base64.b64decode(data[len(PREFIX) :], validate=True)
    except (ValueError, binascii.Error) as error:
        raise PictureError("mask_image", "must be a PNG picture", data) from error
    mask = save_bytes_to_cache(content, "mask.png", get_upload_folder())
    picture = value.get("picture")
    return _enlarge(mask, picture["path"]) if isinstance(picture, dict) and picture.get("path") else mask


def _enlarge(mask: str, picture: str) -> str:
    """The mask at the size of a picture that no canvas is large enough for; any other mask as it is, for the engine."""
    width, height = read_size(Path(picture), "image")
    painted = read_size(Path(mask), "mask_image") if CANVAS_PIXELS < width * height <= MAX_PIXELS else None
    if painted is None or painted[0] * painted[1] > CANVAS_PIXELS:
        return mask
    image = load_mask(Path(mask), "mask_image", painted).resize((width, height), Image.Resampling.NEAREST)
    return save_pil_to_cache(image, get_upload_folder(), name="mask", format="png")


def _as_file(path: str | None) -> dict[str, Any] | None:
    """A file as Gradio hands it to a browser."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}} if path else None
