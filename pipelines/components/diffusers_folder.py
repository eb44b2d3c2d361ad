"""What a checkpoint in diffusers' layout is, told from its configs and the headers of its UNet."""

import json
import re
from pathlib import Path
from typing import Any

from pipelines.components.header import read_header
from pipelines.components.kinds import INPAINTING_CHANNELS
from pipelines.schema.errors import ModelError
from pipelines.schema.models import CheckpointKind

MAX_CONFIG_BYTES = 1_000_000


def known_of_folder(folder: Path) -> dict[str, Any]:
    """kind, native_size and variant of the folder's entry; raises `ModelError` naming what is no SDXL model."""
    index = _read_json(folder, "model_index.json")
    unet = _read_json(folder, "unet/config.json")
    try:
        native_size = int(unet["sample_size"]) * 8
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{folder.name}/unet/config.json must name the UNet's sample_size") from error
    if not 64 <= native_size <= 2048:
        raise ModelError(f"{folder.name}/unet/config.json: sample_size must be from 8 to 256, got {native_size // 8}")
    if unet.get("addition_embed_type") != "text_time":
        raise ModelError(f"{folder.name} is no SDXL model: its UNet does not take sizes and pooled text")
    weights = sorted((folder / "unet").glob("diffusion_pytorch_model*.safetensors"))
    if not weights:
        raise ModelError(f"{folder.name}/unet must hold diffusion_pytorch_model.safetensors")
    for file in weights:
        read_header(file)
    return {"kind": _kind_of_folder(index, unet), "native_size": native_size, "variant": _variant(weights)}


def _kind_of_folder(index: dict[str, Any], unet: dict[str, Any]) -> CheckpointKind:
    if unet.get("in_channels") == INPAINTING_CHANNELS:
        return "inpainting"
    encoder = index.get("text_encoder")
    has_first_encoder = isinstance(encoder, list) and encoder[:1] not in ([], [None])
    return "base" if has_first_encoder and not index.get("requires_aesthetics_score") else "refiner"


def _variant(weights: list[Path]) -> str | None:
    """None where weights of the plain name are there, else for example "fp16" for those of `….fp16.safetensors`."""
    names = [re.sub(r"-\d+-of-\d+", "", path.name) for path in weights]
    variants = {name.split(".")[1] if name.count(".") == 2 else None for name in names}
    return None if None in variants else min(variant for variant in variants if variant)


def _read_json(folder: Path, file: str) -> dict[str, Any]:
    """A JSON object of a diffusers folder; raises `ModelError` naming the file."""
    path = folder / file
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"{folder.name}/{file} must be at most {MAX_CONFIG_BYTES} bytes long")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{folder.name}/{file} must be a JSON object that can be read") from error
    if not isinstance(content, dict):
        raise ModelError(f"{folder.name}/{file} must be a JSON object that can be read")
    return content
