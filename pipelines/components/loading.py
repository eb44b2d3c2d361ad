"""Reading an expert from a diffusers folder or the Hub, component by component, safetensors only."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.components.expert import Expert
from pipelines.schema.errors import ModelError
from pipelines.schema.models import ModelEntry

log = logging.getLogger(__name__)

CLASSES: dict[str, Any] = {
    "tokenizer": CLIPTokenizer,
    "tokenizer_2": CLIPTokenizer,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
}
"""The parts in the order they are loaded: small ones first, so that a foreign folder fails early."""

Report = Callable[[str, float], None]
"""Called with what is being loaded and the share that is there, 0 to 1."""


def load_expert(
    model: ModelEntry, name: str, device: torch.device, dtype: torch.dtype, shared: Mapping[str, Any], report: Report
) -> Expert:
    """Loads what the expert's model_index.json lists, taking the parts in `shared` as they are.

    Raises `ModelError` that names the part which is missing, cut short or of another kind.
    """
    source = model.source if name == "base" else model.refiner
    if source is None:
        raise ModelError(f"{model.title} has no {name}")
    index = _read_config(DiffusionPipeline, source, f"{model.title} {name}", "model_index.json")
    wanted = [part for part in CLASSES if (index.get(part) or [None])[0] is not None]
    parts: dict[str, Any] = dict.fromkeys(CLASSES)
    for position, part in enumerate(wanted):
        report(f"{name} {part}", position / len(wanted))
        parts[part] = shared.get(part) or _load_part(part, source, model, device, dtype)
    missing = [part for part in ("tokenizer_2", "text_encoder_2", "vae", "unet") if parts[part] is None]
    if missing:
        raise ModelError(f"{model.title} is no SDXL {name}: its model_index.json lists no {missing[0]}")
    _check_unet(parts["unet"].config, parts["vae"].config, f"{model.title} {name}")
    report(name, 1.0)
    return Expert(
        name=name,
        scheduler_config=_read_config(
            EulerDiscreteScheduler, source, f"{model.title} {name}", "scheduler_config.json", subfolder="scheduler"
        ),
        force_zeros_for_empty_prompt=bool(index.get("force_zeros_for_empty_prompt", name == "base")),
        requires_aesthetics_score=bool(index.get("requires_aesthetics_score", False)),
        **parts,
    )


def _read_config(reader: Any, source: str, title: str, file: str, **options: str) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], reader.load_config(source, **options))
    except (OSError, ValueError) as error:
        hint = "is the folder whole?" if Path(source).is_dir() else "is there a network, and is the model's name right?"
        raise ModelError(f"{title}: {file} could not be read; {hint}") from error


def _check_unet(unet: Any, vae: Any, title: str) -> None:
    if unet.addition_embed_type != "text_time":
        raise ModelError(f"{title} is no SDXL model: its UNet does not take sizes and pooled text")
    if unet.in_channels != vae.latent_channels:
        rule = f"its UNet must take the VAE's {vae.latent_channels} channels, not {unet.in_channels}"
        raise ModelError(f"{title} cannot be used for every task: {rule}")


def _load_part(part: str, source: str, model: ModelEntry, device: torch.device, dtype: torch.dtype) -> Any:
    weights = {"dtype": dtype, "variant": model.variant, "use_safetensors": True}
    try:
        options = {} if part.startswith("tokenizer") else weights
        loaded = CLASSES[part].from_pretrained(source, subfolder=part, **options)
    except Exception as error:  # each format of a broken file raises a type of its own
        log.warning("%s of %s could not be loaded", part, source, exc_info=error)
        raise ModelError(f"{model.title}: {part} could not be loaded; its files are missing or damaged") from error
    if not isinstance(loaded, torch.nn.Module):
        return loaded
    if part == "vae" and dtype == torch.float16 and loaded.config.force_upcast:  # pyright: ignore
        # SDXL's own VAE overflows in float16: it would decode to NaN, a black picture.
        loaded = loaded.to(torch.float32)
    return loaded.to(device).eval().requires_grad_(False)
