"""Parts of a checkpoint in one file, in the layout of Stability AI's `generative-models`, read with no network at all.

The configs and the tokenizer that such a file lacks are data of the project: `presets/sdxl/`.
"""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    create_diffusers_clip_model_from_ldm,
)
from safetensors import safe_open
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.components.finite import check_finite
from pipelines.components.header import read_header
from pipelines.components.kinds import KindName, expect_kind
from pipelines.components.memory import is_out_of_memory
from pipelines.components.unet.model import KeepingUNet
from pipelines.schema.errors import ModelError
from pipelines.schema.paths import PRESETS

log = logging.getLogger(__name__)

Weights = dict[str, torch.Tensor]

CONFIGS = PRESETS / "sdxl"
"""A folder for each kind of checkpoint, in diffusers' layout but without weights, and one tokenizer for all."""
CHECKPOINTS: tuple[KindName, ...] = ("base", "refiner", "inpainting")

PREFIXES = {
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
    "vae": "first_stage_model.",
    "unet": "model.diffusion_model.",
}
REFINER_TEXT_ENCODER_2 = "conditioner.embedders.0.model."
"""The refiner has no first text encoder, and its second is the first embedder of the file."""
PAD_TOKENS = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}
"""All in which SDXL's two tokenizers differ: OpenCLIP pads with 0."""
TOKENS = 77

VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
OLD_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""What diffusers called a VAE's attention before 0.18, and what it is called since."""


def index_of(path: Path, configs: Path = CONFIGS) -> dict[str, Any]:
    """What the model_index.json of a diffusers folder with this checkpoint would say; raises `ModelError`."""
    return _read_json(configs / expect_kind(path, *CHECKPOINTS).name / "model_index.json")


def scheduler_config_of(path: Path, configs: Path = CONFIGS) -> dict[str, Any]:
    """How the checkpoint was trained to be sampled; raises `ModelError`.

    Those trained to predict v say so by an empty tensor called v_pred, or in their metadata by
    https://github.com/Stability-AI/ModelSpec; those trained down to pure noise (arXiv:2305.08891) by one called ztsnr.
    """
    config = _read_json(configs / expect_kind(path, *CHECKPOINTS).name / "scheduler" / "scheduler_config.json")
    header = read_header(path)
    if "v_pred" in header.tensors or header.metadata.get("modelspec.prediction_type") in ("v", "v_prediction"):
        config["prediction_type"] = "v_prediction"
    if "ztsnr" in header.tensors:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return config


def load_single_file_part(part: str, path: Path, dtype: torch.dtype, configs: Path = CONFIGS) -> Any:
    """One part of a checkpoint, by its name in a diffusers folder; only its own tensors are read.

    Raises `ModelError` naming the file and the part that is missing, damaged, not SDXL's, NaN or infinite.
    """
    kind = expect_kind(path, *CHECKPOINTS).name
    index = _read_json(configs / kind / "model_index.json")
    if (index.get(part) or [None])[0] is None:
        raise ModelError(f"{path.name} is a {kind} checkpoint, which has no {part}")
    if part in PAD_TOKENS:
        return CLIPTokenizer.from_pretrained(
            str(configs / "tokenizer"), local_files_only=True, pad_token=PAD_TOKENS[part], model_max_length=TOKENS
        )
    prefix = REFINER_TEXT_ENCODER_2 if (kind, part) == ("refiner", "text_encoder_2") else PREFIXES[part]
    return _make(part, path, prefix, dtype, configs / kind)


def load_single_file_vae(path: Path, dtype: torch.dtype, configs: Path = CONFIGS) -> AutoencoderKL:
    """A VAE from a file of its own, in the original layout or in diffusers'; raises `ModelError`."""
    expect_kind(path, "vae")
    return _make("vae", path, "", dtype, configs / "base")


def _read(path: Path, prefix: str) -> Weights:
    """Every tensor of one part by its whole name, without the tables that newer libraries make themselves."""
    with safe_open(path, framework="pt") as file:
        wanted = [key for key in file.keys() if key.startswith(prefix) and not key.endswith("position_ids")]  # noqa: SIM118
        return {key: file.get_tensor(key) for key in wanted}


def _make(part: str, path: Path, prefix: str, dtype: torch.dtype, configs: Path) -> Any:
    """The part with its weights in it, checked to be whole and finite."""
    title = f"{path.name}: {part}"
    try:
        module = _MAKERS[part](_read(path, prefix), dtype, str(configs))
    except Exception as error:  # each way of not fitting raises a type of its own
        if is_out_of_memory(error):
            raise
        log.warning("%s could not be loaded", title, exc_info=error)
        raise ModelError(f"{title} could not be loaded; its tensors are damaged or not those of SDXL") from error
    missing = [name for name, weight in module.state_dict().items() if weight.is_meta]
    if missing:
        raise ModelError(f"{title} is not whole: {len(missing)} of its tensors are missing, such as {missing[0]}")
    check_finite(module, title)
    return module.eval().requires_grad_(False)


def _make_unet(tensors: Weights, dtype: torch.dtype, configs: str) -> Any:
    config = KeepingUNet.load_config(configs, subfolder="unet")
    weights = convert_ldm_unet_checkpoint(tensors, config)
    if len(weights) < len(tensors):  # the converter leaves blocks that it does not expect where they are
        raise ValueError("SDXL's UNet has fewer tensors")
    return _fill(KeepingUNet, config, weights, dtype)


def _make_vae(tensors: Weights, dtype: torch.dtype, configs: str) -> Any:
    config = AutoencoderKL.load_config(configs, subfolder="vae")
    bare = {key.removeprefix("first_stage_model.").removeprefix("vae."): tensor for key, tensor in tensors.items()}
    weights = {_new_name(key): tensor for key, tensor in bare.items() if key.startswith(VAE_PARTS)}
    is_original = not any(key.startswith("decoder.mid_block.") for key in weights)
    return _fill(AutoencoderKL, config, convert_ldm_vae_checkpoint(weights, config) if is_original else weights, dtype)


def _fill(model_class: Any, config: Any, weights: Weights, dtype: torch.dtype) -> torch.nn.Module:
    """A model that holds these weights; those it lacks stay on the meta device."""
    with init_empty_weights():
        module: torch.nn.Module = model_class.from_config(config)
    cast = {name: weight.to(dtype) for name, weight in weights.items()}
    if unknown := module.load_state_dict(cast, strict=False, assign=True).unexpected_keys:
        raise ValueError(f"SDXL has no {unknown[0]}")  # it would be left out in silence
    return module


def _new_name(key: str) -> str:
    if ".mid_block.attentions." in key:
        for old, new in OLD_ATTENTION.items():
            key = key.replace(old, new)
    return key


def _make_text_encoder(part: str, model_class: Any, tensors: Weights, dtype: torch.dtype, configs: str) -> Any:
    return create_diffusers_clip_model_from_ldm(
        model_class, tensors, subfolder=part, config=configs, torch_dtype=dtype, local_files_only=True
    )


_MAKERS = {
    "text_encoder": partial(_make_text_encoder, "text_encoder", CLIPTextModel),
    "text_encoder_2": partial(_make_text_encoder, "text_encoder_2", CLIPTextModelWithProjection),
    "vae": _make_vae,
    "unet": _make_unet,
}


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
