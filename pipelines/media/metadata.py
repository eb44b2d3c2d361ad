"""A picture carries its own request: as our JSON, read back into a request, and as the text that other tools read.

The JSON stands in the PNG chunk `sdxl_studio`; `parameters` holds the infotext of A1111's web UI, which galleries and
model sites understand. A path of the server never goes in: uploads are named by the SHA-256 of their file.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from PIL import PngImagePlugin

from pipelines.media.decode import UNREADABLE, open_picture
from pipelines.schema.errors import InvalidRequest, PictureError
from pipelines.schema.requests import REQUESTS, GenerationRequest, make_request
from pipelines.schema.schedulers import SCHEDULE_TITLES, SCHEDULER_TITLES, upgrade_sampling

VERSION = "0.1.0"
"""The studio's version, as in pyproject.toml."""
KEY = "sdxl_studio"
SCHEMA = 1
"""Counts changes of the JSON's shape that an older reader would misunderstand."""
MAX_CHARACTERS = 1_000_000
"""Far more than two prompts of the longest kind take, each character escaped."""


def make_text_chunks(
    request: GenerationRequest, *, seed: int, model: str, hashes: dict[str, str] | None = None
) -> PngImagePlugin.PngInfo:
    """The two text chunks of the picture drawn with `seed`, so that it can be made again alone.

    `hashes` are the uploads' as `hash_pictures` gives them; left out, they are made from the request's files.
    """
    if hashes is None:
        hashes = hash_pictures(request)
    values = request.model_dump(mode="json") | {"seed": seed, "num_images_per_prompt": 1} | hashes
    settings = {"schema": SCHEMA, "version": VERSION, "model": model, "task": request.task, "request": values}
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(KEY, json.dumps(settings, ensure_ascii=False))
    chunks.add_text("parameters", make_infotext(request, seed=seed, model=model))
    return chunks


def make_infotext(request: GenerationRequest, *, seed: int, model: str) -> str:
    """The request in A1111's words: prompt, negative prompt, and one line of settings."""
    settings: dict[str, Any] = {
        "Steps": request.num_inference_steps,
        "Sampler": SCHEDULER_TITLES[request.scheduler],
        "CFG scale": f"{request.guidance_scale:g}",
        "Seed": seed,
    }
    if request.width is not None:
        settings["Size"] = f"{request.width}x{request.height}"
    settings["Model"] = model
    settings |= _choices_in_words(request)
    settings["Version"] = f"sdxl-studio {VERSION}"
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in settings.items()))
    return "\n".join(lines).replace("\0", "").strip()  # a zero byte would end the chunk for other readers


def _choices_in_words(request: GenerationRequest) -> dict[str, str]:
    """What A1111 has a word for beside the usual, where it is not left at its default."""
    strength, share = getattr(request, "strength", None), getattr(request, "denoising_end", 1.0)
    words = {
        "Schedule type": SCHEDULE_TITLES.get(request.timesteps) or SCHEDULE_TITLES.get(request.sigmas, ""),
        "VAE": request.vae,
        "Denoising strength": f"{strength:g}" if strength is not None else "",
        "Clip skip": str(request.clip_skip + 2)
        if request.clip_skip
        else "",  # SDXL always skips one; A1111 counts from 1
        "CFG Rescale": f"{request.guidance_rescale:g}" if request.guidance_rescale else "",
        "Refiner": request.refiner or "own" if share < 1 else "",
        "Refiner switch at": f"{share:g}" if share < 1 else "",
        "Loras": ", ".join(f"{lora.name}: {lora.weight:g}" for lora in request.loras),
    }
    return {key: value for key, value in words.items() if value}


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
        if settings["schema"] != SCHEMA or not all(value.startswith("sha256:") for value in hashes.values()):
            raise ValueError("written by nobody, or by a later studio")
    except (*UNREADABLE, RecursionError, InvalidRequest) as error:
        raise PictureError(field, rule, path.name) from error
    return {
        "schema": SCHEMA,
        "version": str(settings.get("version", "")),
        "model": str(settings.get("model", "")),
        "task": checked.task,
        "request": checked.model_dump(mode="json") | hashes,
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


def _hash(path: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:  # an upload swept away while the picture was drawn must not cost the picture
        return "sha256:unknown"


def _quote(value: Any) -> str:
    """Commas, colons and line ends would split the line for its readers."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
