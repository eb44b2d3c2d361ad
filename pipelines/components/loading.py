"""Reading one component from a diffusers folder or an original single file; safetensors only, nothing is unpickled."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, EulerDiscreteScheduler
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.components.diffusers_folder import check_folder
from pipelines.components.finite import check_finite
from pipelines.components.memory import is_out_of_memory
from pipelines.components.single_file import (
    CONFIGS,
    index_of,
    load_single_file_part,
    load_single_file_vae,
    scheduler_config_of,
)
from pipelines.components.unet.model import KeepingUNet
from pipelines.schema.errors import ModelError
from pipelines.schema.events import Loading
from pipelines.schema.models import AddOn, Entry, ModelEntry

log = logging.getLogger(__name__)

CLASSES: dict[str, Any] = {
    "tokenizer": CLIPTokenizer,
    "tokenizer_2": CLIPTokenizer,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "vae": AutoencoderKL,
    "unet": KeepingUNet,
}
"""The parts in the order they are loaded: small ones first, so that a foreign folder fails early."""

Report = Callable[[Loading], None]
"""Called with what is being downloaded or read; may raise to end it."""


@dataclass(frozen=True)
class Index:
    """What a checkpoint says of itself in model_index.json."""

    parts: frozenset[str]
    scheduler_config: dict[str, Any]
    force_zeros_for_empty_prompt: bool
    requires_aesthetics_score: bool


def read_index(entry: ModelEntry, path: Path, configs: Path = CONFIGS) -> Index:
    """The checkpoint's own description; for a single file that of `configs`. Raises `ModelError`."""
    if path.is_file():
        index = index_of(path, configs)
    else:
        index = _read_config(DiffusionPipeline, path, entry, "model_index.json")
    is_refiner = entry.kind == "refiner"
    return Index(
        parts=frozenset(part for part in CLASSES if (index.get(part) or [None])[0] is not None),
        scheduler_config=read_scheduler_config(entry, path, configs),
        force_zeros_for_empty_prompt=bool(index.get("force_zeros_for_empty_prompt", not is_refiner)),
        requires_aesthetics_score=bool(index.get("requires_aesthetics_score", False)),
    )


def read_scheduler_config(entry: ModelEntry, path: Path, configs: Path = CONFIGS) -> dict[str, Any]:
    """How the checkpoint was trained to be sampled; raises `ModelError`."""
    if path.is_file():
        return scheduler_config_of(path, configs)
    return _read_config(EulerDiscreteScheduler, path, entry, "scheduler_config.json", subfolder="scheduler")


def load_part(part: str, entry: Entry, path: Path, dtype: torch.dtype, configs: Path = CONFIGS) -> Any:
    """One component on the CPU, ready to compute; raises `ModelError` naming what is missing, damaged or not finite."""
    title = f"{entry.title}: {part}"
    try:
        if path.is_dir():
            check_folder(path)
        if part == "vae" and dtype == torch.float16 and _overflows(entry, path, configs):
            dtype = torch.float32
        loaded = _read(part, entry, path, dtype, configs)
    except ModelError:
        raise
    except Exception as error:  # each format of a broken file raises a type of its own
        if is_out_of_memory(error):
            raise
        log.warning("%s of %s could not be loaded", part, path, exc_info=error)
        raise ModelError(f"{title} could not be loaded; its files are missing or damaged") from error
    if not isinstance(loaded, torch.nn.Module):
        return loaded
    if path.is_dir():
        check_finite(loaded, title)
    return loaded.eval().requires_grad_(False)


def check_fit(unet: Any, vae: Any, entry: ModelEntry) -> None:
    """Raises `ModelError` where UNet and VAE do not make an SDXL model of the entry's kind."""
    if unet.config.addition_embed_type != "text_time":
        raise ModelError(f"{entry.title} is no SDXL model: its UNet does not take sizes and pooled text")
    channels = vae.config.latent_channels
    expected = 2 * channels + 1 if entry.kind == "inpainting" else channels
    if unet.config.in_channels != expected:
        rule = f"its UNet must take {expected} channels, not {unet.config.in_channels}"
        raise ModelError(f"{entry.title} cannot be used as {entry.kind} checkpoint: {rule}")


def _read(part: str, entry: Entry, path: Path, dtype: torch.dtype, configs: Path) -> Any:
    if path.is_file():
        if isinstance(entry, AddOn):
            return load_single_file_vae(path, dtype, configs)
        return load_single_file_part(part, path, dtype, configs)
    weights = {"dtype": dtype, "variant": _variant(part, entry, path), "use_safetensors": True}
    options = {} if part.startswith("tokenizer") else weights
    return CLASSES[part].from_pretrained(path, local_files_only=True, **_place(part, entry, path), **options)


def _place(part: str, entry: Entry, path: Path) -> dict[str, str]:
    """Where in the folder a part stands: a VAE by itself is at the top of its own."""
    return {} if isinstance(entry, AddOn) and not (path / part).is_dir() else {"subfolder": part}


def _overflows(entry: Entry, path: Path, configs: Path) -> bool:
    """Whether this VAE would decode to NaN in float16, a black picture, as SDXL's own does; its config knows."""
    if path.is_file():
        config = AutoencoderKL.load_config(configs / "base", subfolder="vae")
    else:
        place: dict[str, Any] = _place("vae", entry, path)
        config = AutoencoderKL.load_config(path, local_files_only=True, **place)
    return bool(cast(dict[str, Any], config).get("force_upcast", True))


def _variant(part: str, entry: Entry, path: Path) -> str | None:
    """The entry's variant where this part has files of it."""
    has_it = entry.variant is not None and any((path / part).glob(f"*.{entry.variant}*.safetensors"))
    return entry.variant if has_it else None


def _read_config(reader: Any, path: Path, entry: Entry, file: str, **options: str) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], reader.load_config(path, local_files_only=True, **options))
    except (OSError, ValueError) as error:
        raise ModelError(f"{entry.title}: {file} could not be read; is the folder whole?") from error
