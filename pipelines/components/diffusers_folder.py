"""What a checkpoint in diffusers' layout is, told from its configs and the headers of its UNet."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.components.header import read_header
from pipelines.components.kinds import INPAINTING_CHANNELS, LATENT_CHANNELS
from pipelines.schema.errors import ModelError
from pipelines.schema.models import CheckpointKind

MAX_CONFIG_BYTES = 1_000_000
MAX_TRAIN_TIMESTEPS = 10_000
"""SDXL has 1000."""
ADAPTER_CONFIG = "adapter_config.json"
"""Where transformers finds it, it loads the model that is named inside, from wherever that lies."""

DDPM_SCHEDULERS = frozenset(
    f"{name}Scheduler"
    for name in (
        *("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "LMSDiscrete", "LCM", "TCD", "SASolver"),
        *("EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete"),
        *("DPMSolverMultistep", "DPMSolverSinglestep", "DPMSolverSDE", "DEISMultistep", "UniPCMultistep"),
    )
)
"""diffusers' classes for models that were trained with DDPM's schedule of betas (arXiv:2006.11239), as SDXL was."""
FOREIGN_SCHEDULES = {"EDM": "the EDM schedule", "FlowMatch": "flow matching"}
"""How a scheduler's class begins -> what its model was trained with."""
CHOICES = {
    "beta_schedule": ("scaled_linear", "linear", "squaredcos_cap_v2"),
    "prediction_type": ("epsilon", "v_prediction"),
    "timestep_spacing": ("leading", "linspace", "trailing"),
}
"""What a scheduler's config may say, where it says anything."""


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
    check_folder(folder)
    return {"kind": _kind_of_folder(index, unet), "native_size": native_size, "variant": _variant(weights)}


def check_folder(path: Path) -> None:
    """Raises `ModelError` naming a config in a folder of diffusers' layout that would lead to files elsewhere, or with
    which pictures would be wrong. What is not there is not missed, and a VAE may have a folder to itself."""
    for part in (path, *sorted(path.glob("*/"))):
        if (part / ADAPTER_CONFIG).exists():
            file = f"{path.name}/{(part / ADAPTER_CONFIG).relative_to(path).as_posix()}"
            raise ModelError(f"{file}: the folder holds an adapter, and those are no part of a checkpoint")
    is_whole_model = (path / "model_index.json").exists()
    vae = "vae/config.json" if is_whole_model or (path / "vae").exists() else "config.json"
    for file, find_problems in (("scheduler/scheduler_config.json", _scheduler_problems), (vae, _vae_problems)):
        if (path / file).exists():
            for problem in find_problems(_read_json(path, file)):
                raise ModelError(f"{path.name}/{file}: {problem}")


def _scheduler_problems(config: dict[str, Any]) -> Iterator[str]:
    """What would make another model's schedule of this one's."""
    name = str(config.get("_class_name"))
    if name not in DDPM_SCHEDULERS:
        schedules = (title for start, title in FOREIGN_SCHEDULES.items() if name.startswith(start))
        yield f"the model uses {next(schedules, f'the scheduler {name[:60]!r}')}; SDXL's is that of DDPM"
    for field, choices in CHOICES.items():
        if config.get(field, choices[0]) not in choices:
            yield f"{field} must be one of {', '.join(choices)}"
    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 1 <= steps <= MAX_TRAIN_TIMESTEPS:
        yield f"num_train_timesteps must be a whole number from 1 to {MAX_TRAIN_TIMESTEPS}"
    for field in ("beta_start", "beta_end"):
        if not _is_beta(config.get(field, 0.01)):
            yield f"{field} must be a number between 0 and 1"
    betas = config.get("trained_betas")
    if betas is not None and not (isinstance(betas, list) and len(betas) == steps and all(map(_is_beta, betas))):
        yield "trained_betas must be a number between 0 and 1 for each training step"


def _is_beta(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1


def _vae_problems(config: dict[str, Any]) -> Iterator[str]:
    """What would make other colours of a picture."""
    channels = config.get("latent_channels", LATENT_CHANNELS)
    if channels != LATENT_CHANNELS:
        yield f"the VAE must have {LATENT_CHANNELS} latent channels, not {str(channels)[:20]}"
    for field in ("latents_mean", "latents_std"):
        if config.get(field) is not None:
            yield f"the VAE sets {field}, as Playground 2.5 does; SDXL's latents are scaled by one number"
    factor = config.get("scaling_factor", 1.0)
    if type(factor) not in (int, float) or not 0 < factor < math.inf:
        yield "scaling_factor must be a positive number"


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
