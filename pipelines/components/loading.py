"""Reading an expert from a diffusers folder or the Hub, component by component, safetensors only."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.components.expert import Expert
from pipelines.schema.errors import ModelError
from pipelines.schema.models import ModelEntry

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
    index = _read_index(source)
    wanted = [part for part in CLASSES if index.get(part, (None, None))[0] is not None]
    parts: dict[str, Any] = dict.fromkeys(CLASSES)
    for position, part in enumerate(wanted):
        report(f"{name} {part}", position / len(wanted))
        parts[part] = shared.get(part) or _load_part(part, source, model.variant, device, dtype)
    missing = [part for part in ("tokenizer_2", "text_encoder_2", "vae", "unet") if parts[part] is None]
    if missing:
        raise ModelError(f"{source} is no SDXL model: its model_index.json lists no {missing[0]}")
    if parts["unet"].config.addition_embed_type != "text_time":
        raise ModelError(f"{source} is no SDXL model: its UNet does not take sizes and pooled text")
    report(name, 1.0)
    return Expert(
        name=name,
        scheduler_config=_read_scheduler_config(source),
        force_zeros_for_empty_prompt=bool(index.get("force_zeros_for_empty_prompt", name == "base")),
        requires_aesthetics_score=bool(index.get("requires_aesthetics_score", False)),
        **parts,
    )


def _read_index(source: str) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], DiffusionPipeline.load_config(source))
    except (OSError, ValueError) as error:
        raise ModelError(f"{source} could not be read: no model_index.json in that folder or repository") from error


def _read_scheduler_config(source: str) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], EulerDiscreteScheduler.load_config(source, subfolder="scheduler"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{source} has no readable scheduler/scheduler_config.json") from error


def _load_part(part: str, source: str, variant: str | None, device: torch.device, dtype: torch.dtype) -> Any:
    if part.startswith("tokenizer"):
        return _read(part, source, {})
    module = _read(part, source, {"dtype": dtype, "variant": variant, "use_safetensors": True})
    if part == "vae" and dtype == torch.float16 and module.config.force_upcast:
        # SDXL's own VAE overflows in float16: it would decode to NaN, a black picture.
        module = module.to(torch.float32)
    return module.to(device).eval().requires_grad_(False)


def _read(part: str, source: str, options: dict[str, Any]) -> Any:
    try:
        return CLASSES[part].from_pretrained(source, subfolder=part, **options)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(f"{source}/{part} could not be loaded: {reason}") from error
