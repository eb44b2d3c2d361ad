"""How one module's weights are kept between its calls, and the hooks that bring them to the device in time.

Whatever the keeping, `unet(...)`, `text_encoder(...)`, `vae.encode(...)` and `vae.decode(...)` just work.
"""

from typing import Any, Literal

import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from accelerate.utils import send_to_device
from diffusers import AutoencoderKL
from diffusers.hooks import HookRegistry, apply_group_offloading, apply_layerwise_casting
from diffusers.hooks.group_offloading import (
    _GROUP_OFFLOADING,
    _LAYER_EXECUTION_TRACKER,
    _LAZY_PREFETCH_GROUP_OFFLOADING,
)
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN, _is_layerwise_casting_active
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

Keeping = Literal["resident", "alone", "blocks", "leaves"]
"""On the device; on it alone while it is the last that was called; block by block; layer by layer."""

CPU = torch.device("cpu")
GROUP_HOOKS = (_GROUP_OFFLOADING, _LAYER_EXECUTION_TRACKER, _LAZY_PREFETCH_GROUP_OFFLOADING)

FP8_STORAGE = torch.float8_e4m3fn
KEPT_PRECISE = (*DEFAULT_SKIP_MODULES_PATTERN, "^conv_in$", "^conv_out$", "^time_embedding", "^add_embedding", "lora_")
"""Layers of a UNet that 8 bits would hurt and that are small: norms, first and last, embeddings, adapters."""

TILE_SIDE = 512
"""Pixels of a tile's side: a quarter of SDXL's native square."""


class Stage:
    """The device when it holds one module at a time: whichever is called comes on, and the one before goes off."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._on: nn.Module | None = None

    def enter(self, module: nn.Module) -> None:
        """Brings the module to the device; one that does not fit is taken off again before the error goes on."""
        if self._on is module:
            return
        self.clear()
        try:
            module.to(self.device)
        except BaseException:
            module.to(CPU)
            raise
        self._on = module

    def leave(self, module: nn.Module) -> None:
        """Forgets the module, without moving it."""
        if self._on is module:
            self._on = None

    def clear(self) -> None:
        """Sends off whoever is on."""
        last, self._on = self._on, None
        if last is not None:
            last.to(CPU)


class EnterStage(ModelHook):
    """Lets a module enter the stage before its forward; diffusers calls it before a VAE's encode and decode, too."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """The arguments, on the module's device by now."""
        self.stage.enter(module)
        return send_to_device(args, self.stage.device), send_to_device(kwargs, self.stage.device)


def arrange(module: nn.Module, keeping: Keeping, stage: Stage) -> None:
    """Keeps the module this way from now on, in whatever state it was before."""
    unhook(module, stage)
    if keeping == "resident":
        module.to(stage.device)
    elif keeping == "alone":
        module.to(CPU)
        add_hook_to_module(module, EnterStage(stage))
    else:
        _offload_groups(module, keeping, stage.device)


def unhook(module: nn.Module, stage: Stage) -> None:
    """Takes off the hooks of `arrange`; the weights stay wherever the last call left them."""
    if stage.device.type == "cuda":
        torch.cuda.synchronize(stage.device)  # a block may still be on its way
    stage.leave(module)
    if isinstance(getattr(module, "_hf_hook", None), EnterStage):
        remove_hook_from_module(module)
    for part in module.modules():
        registry = getattr(part, "_diffusers_hook", None)
        if isinstance(registry, HookRegistry):
            for name in GROUP_HOOKS:
                registry.remove_hook(name, recurse=False)


def store_in_fp8(module: nn.Module, dtype: torch.dtype) -> None:
    """Keeps the weights in 8 bits (E4M3, arXiv:2209.05433) and computes in `dtype`, layer by layer; never undone."""
    if not _is_layerwise_casting_active(module):
        apply_layerwise_casting(module, FP8_STORAGE, dtype, skip_modules_pattern=KEPT_PRECISE)


def tile(vae: AutoencoderKL) -> None:
    """Lets the VAE work in overlapping tiles and picture by picture: less memory, and seams hardly to be seen.

    diffusers' own tiles are as large as the pictures the VAE was trained on, and would save nothing there.
    """
    native, latent = _native_tile(vae)
    side = TILE_SIDE if native >= TILE_SIDE else native // 2
    vae.tile_sample_min_size, vae.tile_latent_min_size = side, latent * side // native
    vae.enable_tiling()
    vae.enable_slicing()


def untile(vae: AutoencoderKL) -> None:
    """Undoes `tile`."""
    vae.tile_sample_min_size, vae.tile_latent_min_size = _native_tile(vae)
    vae.disable_tiling()
    vae.disable_slicing()


def _native_tile(vae: AutoencoderKL) -> tuple[int, int]:
    """The side of diffusers' tile, in pixels and in latents."""
    size = vae.config["sample_size"]
    side = size[0] if isinstance(size, list | tuple) else size
    return side, side // 2 ** (len(vae.config["block_out_channels"]) - 1)


def _offload_groups(module: nn.Module, keeping: Keeping, device: torch.device) -> None:
    """A UNet's groups are its transformer blocks, 85 % of SDXL's; what is around them stays on the device.

    Its next group is copied while one computes, from pinned memory. A text encoder is one group; a VAE has those
    that diffusers gives it. Both run once a picture, and a VAE's tiles would upset the order of copying ahead.
    """
    transformers: list[Any] = [part for part in module.modules() if isinstance(part, Transformer2DModel)]
    ahead = bool(transformers) and device.type == "cuda"
    if keeping == "leaves":
        module.to(CPU)
        apply_group_offloading(module, device, CPU, "leaf_level", use_stream=ahead)
        return
    for part in transformers or [module]:
        part.to(CPU)
        apply_group_offloading(part, device, CPU, "block_level", num_blocks_per_group=1, use_stream=ahead)
    if transformers:
        inside = {id(layer) for part in transformers for layer in part.modules()}
        for layer in module.modules():
            if id(layer) not in inside:
                for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
                    tensor.data = tensor.data.to(device)
