"""Reading a LoRA: kohya's or diffusers' names become a model's layers, checked before any module is touched."""

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from diffusers.utils.state_dict_utils import StateDictType
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open
from torch import nn

from pipelines.components.expert import Expert
from pipelines.components.kinds import BARE_UNET, other_method
from pipelines.schema.errors import ModelError

log = logging.getLogger(__name__)

ADAPTED = ("unet", "text_encoder", "text_encoder_2")
"""The components of an expert that a LoRA may change."""
KOHYA = re.compile(r"lora_(?:unet|te|te1|te2)_[^.]+")
FACTOR = re.compile(r"(unet|text_encoder|text_encoder_2)\.(.+?)\.(lora_A\.weight|lora_B\.weight)")
ALPHA = re.compile(r"(unet|text_encoder|text_encoder_2)\.(.+?)(?:\.lora_A\.weight)?\.alpha")
OLD_PROCESSOR = re.compile(r"\.processor(?=\.to_(q|k|v|out)_lora\.)")
"""Where older versions of diffusers kept a LoRA of attention."""
ADAPTER_NAME = re.compile(r"(?<=\.lora_[AB])\.default(?=\.weight$)")
"""What peft calls an adapter that nobody gave a name."""
MAX_ALPHA = 1e6
"""Trainers use the rank or less; beyond this a picture is noise at any weight."""


@dataclass(frozen=True)
class LoraLayer:
    """What a LoRA adds to one layer's weight: up @ down * alpha / rank (arXiv:2106.09685, section 4.1).

    `down`: (rank, in) or (rank, in, height, width). `up`: (out, rank) or (out, rank, 1, 1).
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Columns of `up`, rows of `down`."""
        return self.down.shape[0]


LoraLayers = dict[str, dict[str, LoraLayer]]
"""Component -> path of a layer in it -> what is added there."""


def read_lora(path: Path, expert: Expert) -> LoraLayers:
    """The file's layers by the expert's own names, on the CPU, in the expert's precision, in memory of their own.

    Raises `ModelError` for a file that is no LoRA, is damaged, or was made for another model.
    """
    tensors, metadata = _read(path)
    if method := other_method(tensors):
        raise ModelError(f"{path.name} is {method}, which cannot be used here; only plain LoRAs can")
    factors, alphas = _name_as_modules(tensors, expert, path.name)
    settings = _settings_of(metadata)
    own_layers = {name: dict(layers_of(module)) for name, module in expert.modules.items() if name in ADAPTED}
    layers: LoraLayers = {name: {} for name in own_layers}
    strangers = 0
    for (component, given), pair in factors.items():
        if component not in own_layers:
            continue  # the refiner has no first text encoder
        name = _find(given, own_layers[component])
        if name is None or set(pair) != {"down", "up"}:
            strangers += 1
            continue
        rank = pair["down"].shape[0] if pair["down"].dim() else 0
        alpha = alphas.get((component, given), _alpha_of_settings(settings, component, given, rank))
        layer = LoraLayer(pair["down"], pair["up"], float(rank if alpha is None else alpha))
        _check_shapes(layer, own_layers[component][name], f"{component}.{name}", path.name)
        if not 0 < abs(layer.alpha) <= MAX_ALPHA:
            rule = f"must be a number up to {MAX_ALPHA:g} and not 0, got {layer.alpha:g}"
            raise ModelError(f"{path.name}: the alpha of {component}.{name} {rule}")
        layers[component][name] = _cast(layer, expert.dtype, f"{component}.{name}", path.name)
    if not any(layers.values()):
        raise ModelError(f"{path.name} holds nothing for an SDXL {expert.name}: it was made for another kind of model")
    if strangers:
        log.warning("%s: %d layers have no place in the %s and were left out", path.name, strangers, expert.name)
    return layers


def layers_of(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Path and base layer of everything that a LoRA can change, seen through the adapters that are there already."""
    for name, child in module.named_children():
        base = child.get_base_layer() if isinstance(child, BaseTunerLayer) else child
        if isinstance(base, nn.Linear) or (isinstance(base, nn.Conv2d) and base.groups == 1):
            yield prefix + name, base
        else:
            yield from layers_of(child, f"{prefix}{name}.")


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} could not be read: it is no whole safetensors file") from error
    for key, tensor in tensors.items():
        values = tensor.float()
        if values.isnan().any():
            raise ModelError(f"{path.name}: tensor {key} holds NaN")
        if values.isinf().any():
            raise ModelError(f"{path.name}: tensor {key} holds infinity")
    return tensors, metadata


def _name_as_modules(
    tensors: Mapping[str, torch.Tensor], expert: Expert, file: str
) -> tuple[dict[tuple[str, str], dict[str, torch.Tensor]], dict[tuple[str, str], float]]:
    """Factors "down" and "up", and alphas, by (component, layer). Other keys are passed over."""
    is_kohya = any(map(KOHYA.match, tensors))
    named = _from_kohya(tensors, expert, file) if is_kohya else {_plain_name(key): tensors[key] for key in tensors}
    factors: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    alphas: dict[tuple[str, str], float] = {}
    for key, tensor in _as_peft(named).items():
        if match := FACTOR.fullmatch(key):
            side = "down" if match[3] == "lora_A.weight" else "up"
            factors.setdefault((match[1], match[2]), {})[side] = tensor
        elif (match := ALPHA.fullmatch(key)) and tensor.numel() == 1:
            alphas[match[1], match[2]] = tensor.item()
    return factors, alphas


def _plain_name(key: str) -> str:
    """As diffusers writes it, what peft alone or an older diffusers saved."""
    return ADAPTER_NAME.sub("", OLD_PROCESSOR.sub("", BARE_UNET.sub("unet.", key)))


def _from_kohya(tensors: Mapping[str, torch.Tensor], expert: Expert, file: str) -> dict[str, torch.Tensor]:
    """diffusers' renaming of whole pairs; it stumbles over whatever else a file may hold."""
    pairs: dict[str, torch.Tensor] = {}
    for stem in dict.fromkeys(key.split(".")[0] for key in tensors if KOHYA.match(key)):
        names = [f"{stem}.lora_down.weight", f"{stem}.lora_up.weight"]
        if all(name in tensors for name in names):
            pairs |= {name: tensors[name] for name in names}
            alpha = tensors.get(f"{stem}.alpha")
            if alpha is not None and alpha.numel() == 1:
                pairs[f"{stem}.alpha"] = alpha
    try:
        named, alphas = cast(
            tuple[dict[str, torch.Tensor], dict[str, float] | None],
            StableDiffusionXLPipeline.lora_state_dict(pairs, unet_config=expert.unet.config),
        )
    except (ValueError, KeyError, IndexError) as error:
        raise ModelError(f"{file} names layers as no SDXL model does: it was made for another kind") from error
    return named | {key: torch.tensor(alpha) for key, alpha in (alphas or {}).items()}


def _as_peft(named: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """diffusers' older and newer names as peft's: `layer.lora_A.weight`, `layer.lora_B.weight`."""
    text = {key: tensor for key, tensor in named.items() if not key.startswith("unet.")}
    for older in (StateDictType.DIFFUSERS_OLD, StateDictType.DIFFUSERS):
        text = convert_state_dict_to_peft(text, original_type=older)
    unet = convert_unet_state_dict_to_peft({key: tensor for key, tensor in named.items() if key.startswith("unet.")})
    return cast(dict[str, torch.Tensor], unet | text)


def _find(name: str, layers: Mapping[str, Any]) -> str | None:
    """The model's own path of a layer; transformers' versions differ in whether `text_model.` stands before it."""
    spellings = (name, name.removeprefix("text_model."), f"text_model.{name}")
    return next((spelling for spelling in spellings if spelling in layers), None)


def _settings_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What diffusers' trainers write into the header; nothing where it cannot be read."""
    try:
        settings = json.loads(metadata[LORA_ADAPTER_METADATA_KEY])
    except (KeyError, ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _alpha_of_settings(settings: Mapping[str, Any], component: str, layer: str, rank: int) -> float | None:
    """A layer's alpha, or `None`; infinite where it is too large to be a number.

    Of the settings nothing else is taken: peft would follow some of them further than a file should lead.
    """
    try:
        patterns = settings.get(f"{component}.alpha_pattern") or {}
        own = [value for name, value in patterns.items() if f".{layer}".endswith(f".{name.lstrip('^')}")]
        alpha = float(own[0] if own else settings[f"{component}.lora_alpha"])
        return alpha * rank**0.5 if settings.get(f"{component}.use_rslora") else alpha
    except OverflowError:
        return math.inf
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _check_shapes(layer: LoraLayer, base: nn.Linear | nn.Conv2d, name: str, file: str) -> None:
    if isinstance(base, nn.Linear):
        wide, kernel, point = (base.in_features, base.out_features), (), ()
    else:
        wide, kernel, point = (base.in_channels, base.out_channels), tuple(base.kernel_size), (1, 1)
    rank = layer.down.shape[0] if layer.down.dim() else 0
    fits = rank > 0 and layer.down.shape == (rank, wide[0], *kernel) and layer.up.shape == (wide[1], rank, *point)
    if not fits:
        shapes = f"{tuple(layer.up.shape)} and {tuple(layer.down.shape)}"
        rule = f"its tensors for {name} have the shapes {shapes}, the layer takes {wide[0]} and gives {wide[1]}"
        raise ModelError(f"{file} was made for another model: {rule}")


def _cast(layer: LoraLayer, dtype: torch.dtype, name: str, file: str) -> LoraLayer:
    """Copies, because tensors of a file stay a view on it for as long as they live."""
    down, up = (tensor.to(dtype, copy=True) for tensor in (layer.down, layer.up))
    if not (down.isfinite().all() and up.isfinite().all()):
        raise ModelError(f"{file}: the values for {name} are too large for {str(dtype).removeprefix('torch.')}")
    return LoraLayer(down, up, layer.alpha)
