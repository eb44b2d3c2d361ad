"""A picture carries its own request: as our JSON, read back into a request, and as the text that other tools read.

The JSON stands in the PNG chunk `sdxl_studio`; `parameters` holds the infotext of A1111's web UI, which galleries and
model sites understand. A path of the server never goes in: uploads are named by the SHA-256 of their file.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import PngImagePlugin
from pydantic import TypeAdapter, ValidationError

from pipelines.media.decode import UNREADABLE, open_picture
from pipelines.media.infotext import VERSION, Texts, make_infotext
from pipelines.schema.errors import InvalidRequest, PictureError
from pipelines.schema.partial import check_values
from pipelines.schema.requests import PROMPT_FIELDS, REQUESTS, GenerationRequest, make_request
from pipelines.schema.schedulers import upgrade_sampling
from pipelines.schema.types import Name

KEY = "sdxl_studio"
SCHEMA = 1
"""Counts changes of the JSON's shape that an older reader would misunderstand."""
MAX_CHARACTERS = 2_000_000
"""More than every prompt and its template take at their longest, each character escaped."""
_HASH = re.compile(r"sha256:(?:[0-9a-f]{64}|unknown)")
_NAME = TypeAdapter(Name)


def make_text_chunks(  # noqa: PLR0913 (what is told of a picture)
    request: GenerationRequest,
    *,
    seed: int,
    model: str,
    hashes: dict[str, str] | None = None,
    texts: Texts | None = None,
    template: Mapping[str, str] | None = None,
    dtype: str = "",
) -> PngImagePlugin.PngInfo:
    """The two text chunks of the picture drawn with `seed`, so that it can be made again alone.

    `hashes` are the uploads' as `hash_pictures` gives them; left out, they are made from the request's files. `texts`:
    the prompts with their styles; left out, as in the request. `template`: the prompts that held wildcards or variants,
    as they were typed; the request holds what was drawn from them. `dtype`: the precision it was drawn in, a note:
    no setting, and not read back.
    """
    if hashes is None:
        hashes = hash_pictures(request)
    values = request.model_dump(mode="json") | {"seed": seed, "num_images_per_prompt": 1} | hashes
    settings = {"schema": SCHEMA, "version": VERSION, "model": model, "task": request.task, "request": values}
    if template:
        settings["template"] = dict(template)
    if dtype:
        settings["dtype"] = dtype
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(KEY, json.dumps(settings, ensure_ascii=False))
    chunks.add_text("parameters", make_infotext(request, seed=seed, model=model, texts=texts, template=template))
    return chunks


def hash_pictures(request: GenerationRequest) -> dict[str, str]:
    """The uploads of a request by field: "sha256:" and the hex digest of the file."""
    return {name: _hash(getattr(request, name)) for name in picture_fields(type(request))}


def picture_fields(request_class: type[GenerationRequest]) -> tuple[str, ...]:
    """The fields of a request that hold an uploaded file."""
    return tuple(name for name, field in request_class.model_fields.items() if field.annotation is Path)


def read_settings(path: Path, field: str = "image") -> dict[str, Any]:
    """What a PNG of the studio says of itself: schema, version, model, task and request.

    The request's values are checked and complete; its picture fields are hashes. Raises `PictureError` when the file
    is no PNG, holds no settings, or settings that no studio of this version wrote.
    """
    with open_picture(path, field) as image:  # the chunks stand before the pixels, which are not decoded
        text = image.info.get(KEY) if image.format == "PNG" else None
    if not isinstance(text, str):
        raise PictureError(field, "must be a PNG that this studio saved, with its settings inside", path.name)
    rule = "must hold settings that this studio can read"
    if len(text) > MAX_CHARACTERS:
        raise PictureError(field, rule, path.name)
    try:
        settings = json.loads(text)
        request_class = REQUESTS[settings["task"]]
        values: dict[str, Any] = upgrade_sampling(dict(settings["request"]))
        hashes = {name: str(values[name]) for name in picture_fields(request_class)}
        checked = make_request(request_class, values | {name: Path(name) for name in hashes})
        if settings["schema"] != SCHEMA or not all(map(_HASH.fullmatch, hashes.values())):
            raise ValueError("written by nobody, or by a later studio")
    except (*UNREADABLE, RecursionError, InvalidRequest) as error:
        raise PictureError(field, rule, path.name) from error
    return {
        "schema": SCHEMA,
        "version": _read_name(settings.get("version")),
        "model": _read_name(settings.get("model")),
        "task": checked.task,
        "request": checked.model_dump(mode="json") | hashes,
        "template": _read_template(request_class, settings.get("template")),
    }


def read_request(path: Path, **pictures: Path) -> GenerationRequest:
    """The request that drew a picture, with the uploads given anew: `read_request(path, image=..., mask_image=...)`.

    Raises `PictureError` as `read_settings` does, and `InvalidRequest` that names an upload which is missing.
    """
    settings = read_settings(path)
    request_class = REQUESTS[settings["task"]]
    # A path is never taken from the file: it would let a stranger's PNG name a file of the server.
    values = {name: value for name, value in settings["request"].items() if name not in picture_fields(request_class)}
    return make_request(request_class, values | pictures)


def _read_name(name: Any) -> str:
    """The name of a model or a version; empty for what else a file may hold there."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        return ""


def _read_template(request_class: type[GenerationRequest], template: Any) -> dict[str, str]:
    """The prompts of a template by field; what else a file may hold there is left out."""
    pairs = template.items() if isinstance(template, dict) else ()
    return check_values(request_class, {name: text for name, text in pairs if name in PROMPT_FIELDS}).values


def _hash(path: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:  # an upload swept away while the picture was drawn must not cost the picture
        return "sha256:unknown"
