"""Inputs for pictures: an upload that stays byte for byte, and a mask that is painted on it or uploaded."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from pipelines.media.decode import load_mask
from pipelines.schema.errors import PictureError
from ui.fields import Fields
from ui.generate import as_gradio_error
from ui.headers import read_size
from ui.i18n import language_of, word
from ui.painter import COLOUR, build_painter, read_mask, show

DECODED_AT_ONCE = 2
"""Uploaded masks, by all visitors together: each may take a few hundred MB for a moment."""


def read_picture(value: Any) -> str | None:
    """The uploaded file's path, unread: Gradio's own input would decode it first, however large it claims to be."""
    return value["path"] if isinstance(value, dict) else None


def build_picture(fields: Fields) -> gr.Image:
    """The picture to start from."""
    picture = gr.Image(
        label=word("label.image"), type="filepath", sources=["upload", "clipboard"], height=240,
        buttons=["fullscreen"], elem_classes=["picture-input"],
    )  # fmt: skip
    fields.add("image", picture, read=read_picture)
    return picture


def build_painted_picture(fields: Fields) -> None:
    """The picture to start from and, once it is there, the brush over it and an upload for a ready mask."""
    picture = build_picture(fields)
    with gr.Column(visible=False, elem_classes=["painting"]) as painting:
        gr.HTML(word("label.mask_image"), elem_classes=["heading"])
        painter = build_painter()
        with gr.Row(elem_classes=["tight"]):
            label: Any = word("button.upload_mask")  # Gradio translates it, though its signature says str
            upload = gr.UploadButton(label, file_types=["image"], size="sm")
            change = gr.Button(word("button.change_picture"), size="sm")
    fields.add("mask_image", painter, read=read_mask)
    quiet: dict[str, Any] = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
    picture.change(start_painting, picture, [picture, painting, painter], queue=False, **quiet)
    change.click(lambda: None, None, picture, queue=False, **quiet)
    upload.upload(show_mask, [upload, picture], painter, concurrency_limit=DECODED_AT_ONCE, **quiet)


def start_painting(client: gr.Request, upload: Any) -> tuple[Any, Any, Any]:
    """Shows the brush over a new picture, or the empty upload again."""
    picture = read_picture(upload)
    return gr.update(visible=not picture), gr.update(visible=bool(picture)), show(picture, language=language_of(client))


def show_mask(client: gr.Request, mask_upload: Any, picture_upload: Any) -> dict[str, Any]:
    """A mask file as paint over the picture, so that what is seen is what is used and can be mended."""
    mask, picture = read_picture(mask_upload), read_picture(picture_upload)
    try:
        paint = _as_paint(Path(mask or ""), Path(picture or ""))
    except PictureError as error:
        raise as_gradio_error(error) from error
    return show(picture, paint, language=language_of(client))


def _as_paint(mask_file: Path, picture: Path) -> str:
    mask = load_mask(mask_file, "mask_image", read_size(picture, "image"))
    paint = Image.new("RGBA", mask.size, COLOUR)
    paint.putalpha(mask)
    return save_pil_to_cache(paint, get_upload_folder(), name="paint", format="png")
