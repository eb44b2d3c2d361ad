"""The settings in a picture or a text, whichever of the programs that we know wrote them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from pipelines.media.decode import UNREADABLE, open_picture
from pipelines.media.metadata import KEY, picture_fields, read_settings
from pipelines.media.readers import a1111, comfyui, fooocus
from pipelines.media.readers.graph import is_graph
from pipelines.media.readers.infotext import MAX_CHARACTERS, split_infotext
from pipelines.media.readers.restored import Restored
from pipelines.schema.errors import InvalidRequest, PictureError
from pipelines.schema.requests import REQUESTS

USER_COMMENT, MAKER_NOTE = ExifTags.Base.UserComment, ExifTags.Base.MakerNote
ENCODINGS = {b"UNICODE\0": "", b"ASCII\0\0\0": "utf-8", b"\0\0\0\0\0\0\0\0": "utf-8"}
"""EXIF's names before a comment; of its "UNICODE" the order of bytes is not told."""
OTHERS = {
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "dream": "InvokeAI",
    "sui_image_params": "SwarmUI",
    "NovelAI": "NovelAI",
}
"""Programs that we can name but not read, by a key or a value of theirs."""
KNOWN = "must hold settings of this studio, AUTOMATIC1111, Forge, Fooocus or ComfyUI"


def read_picture_settings(path: Path, field: str = "file") -> Restored:
    """What a PNG, JPEG or WebP says of how it was drawn; raises `PictureError` where it says nothing that we can read.

    Only the header is read. Nothing that a file names is opened.
    """
    with open_picture(path, field) as image:
        texts = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
        is_ours = KEY in texts and image.format == "PNG"
        if image.format != "PNG":  # which Pillow would have to decode in search of EXIF
            texts = _read_exif(image) | texts
    if is_ours:
        return _read_ours(path, field)
    try:
        restored = _read_chunks(texts)
    except RecursionError:
        restored = None
    if restored is None:
        raise PictureError(field, _rule_for(texts), path.name)
    return restored


def read_text_settings(text: str, field: str = "text") -> Restored:
    """What a pasted text says: an infotext, or the JSON of Fooocus or of ComfyUI's API; raises `InvalidRequest`."""
    try:
        restored = _read_parameters(text) or _read_graph(text)
    except RecursionError:
        restored = None
    if restored is None:
        rule = 'must be an infotext, which has a line such as "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"'
        raise InvalidRequest(field, rule, text)
    return restored


def _read_ours(path: Path, field: str) -> Restored:
    settings = read_settings(path, field)
    pictures = picture_fields(REQUESTS[settings["task"]])
    values = {name: value for name, value in settings["request"].items() if name not in pictures}
    values |= {"model": values["model"] or settings["model"]}
    return Restored(a1111.STUDIO, settings["task"], values, template=settings["template"])


def _read_chunks(texts: Mapping[str, str]) -> Restored | None:
    parameters = texts.get("parameters", "")
    if "fooocus_scheme" in texts and (parts := split_infotext(parameters)):
        return fooocus.read_infotext(parts)
    return _read_parameters(parameters) or _read_graph(texts.get("prompt", ""))


def _read_parameters(text: str) -> Restored | None:
    """An infotext, or Fooocus' JSON in its place."""
    data = _decode(text)
    if fooocus.is_fooocus(data):
        return fooocus.read_json(data)
    parts = split_infotext(text) if data is None else None
    if parts is None:
        return None
    restored = a1111.read_infotext(parts)
    return fooocus.read_infotext(parts) if restored.source == fooocus.SOURCE else restored


def _read_graph(text: str) -> Restored | None:
    data = _decode(text)
    return comfyui.read_graph(data) if is_graph(data) else None


def _decode(text: str) -> Any:
    """Decoded JSON where the text is an object of it, else `None`."""
    if len(text) > MAX_CHARACTERS or text.lstrip()[:1] != "{":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rule_for(texts: Mapping[str, str]) -> str:
    """What is wrong with a picture that could not be read, as far as its texts tell."""
    if "workflow" in texts and "prompt" not in texts:
        return "must hold the graph that ComfyUI ran; in this one there is only the editor's drawing of it"
    heads = [value[:1000] for value in texts.values()]
    other = next((name for mark, name in OTHERS.items() if mark in texts or any(mark in head for head in heads)), None)
    return f"{KNOWN}, not of {other}" if other else KNOWN


def _read_exif(image: Image.Image) -> dict[str, str]:
    """The comment of EXIF as if it were PNG's `parameters`; Fooocus puts it in another place and names its scheme."""
    try:
        exif = image.getexif()
        comment = exif.get_ifd(ExifTags.IFD.Exif).get(USER_COMMENT) or exif.get(USER_COMMENT)
        scheme = exif.get(MAKER_NOTE)
    except UNREADABLE:
        return {}
    texts = {"parameters": _decode_comment(comment)}
    return texts | ({"fooocus_scheme": "yes"} if scheme in ("a1111", "fooocus", b"a1111", b"fooocus") else {})


def _decode_comment(comment: Any) -> str:
    """EXIF's comment as text, empty where it is none."""
    if isinstance(comment, str):
        return comment
    if not isinstance(comment, bytes) or len(comment) > 4 * MAX_CHARACTERS:
        return ""
    encoding = ENCODINGS.get(comment[:8])
    body = comment if encoding is None else comment[8:]
    if encoding == "":
        encoding = "utf-16-le" if body[1::2].count(0) > body[::2].count(0) else "utf-16-be"
    return body.decode(encoding or "utf-8", "ignore").strip("\0")
