"""Which memory mode is in force, and the ladder that is climbed when the device's memory ran out.

A mode says how each part of a model is kept between its calls (offload.py does it). The ladder takes a part of the
modes below for the time of one request. Only the device's thread calls in here.
"""

import ctypes
import errno
import gc
import logging
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import AutoencoderKL
from torch import nn

from pipelines.components.offload import Keeping, Stage, arrange, store_in_fp8, tile, unhook, untile
from pipelines.schema.events import Notice

log = logging.getLogger(__name__)

MemoryMode = Literal["full", "model", "group", "sequential"]
"""All parts on the device; one part at a time; a block of the UNet at a time; a layer at a time."""

LADDER: tuple[Notice, ...] = ("vae_tiled", "text_encoders_off", "model_offload", "sequential_offload")

INCLUDED: dict[MemoryMode, tuple[Notice, ...]] = {
    "full": (),
    "model": LADDER[:3],
    "group": LADDER[:3],
    "sequential": LADDER,
}
"""The rungs that a mode stands above already."""

ACTIVATION_BYTES = 3_000_000_000
"""What SDXL needs beside its weights for a picture of 1024x1024; most of it is the VAE's."""
TILED_SHARE = 0.6
"""The share of it that is left where the VAE works in tiles, so in every mode but full."""
SHORTAGES = ("out of memory", "can't allocate memory", "annot allocate memory", "ALLOC_FAILED")
"""What else an error says when memory ran out: CUDA and MPS, torch's CPU allocator, the system, cuBLAS and cuDNN."""
GROUP_SHARE = 0.25
"""The share of a UNet that is on the device in mode group: what is no transformer block, and two blocks."""


@dataclass(frozen=True)
class Placed:
    """A module that the memory keeps, and which part of a model it is."""

    part: str
    module: nn.Module


class Memory:
    """Places modules on one device as the mode says, and gives way step by step when memory runs out."""

    def __init__(self, device: torch.device, mode: Literal["auto"] | MemoryMode, fp8: bool) -> None:
        self.device = device
        self.fp8 = fp8
        self._is_auto = mode == "auto"
        self._settled: MemoryMode = "full" if mode == "auto" else mode
        self._rungs: tuple[Notice, ...] = ()
        self._stage = Stage(device)
        self._placed: dict[int, Placed] = {}

    @property
    def mode(self) -> MemoryMode:
        """The mode in force now: the one asked for or chosen, or the one that was climbed to."""
        if "sequential_offload" in self._rungs:
            return "sequential"
        return "model" if "model_offload" in self._rungs else self._settled

    @property
    def rungs(self) -> tuple[Notice, ...]:
        """The rungs climbed since the last `relax`."""
        return self._rungs

    def choose(self, part_bytes: Mapping[str, int], activation_bytes: int = ACTIVATION_BYTES) -> None:
        """Where the mode is "auto", settles on one for a model whose parts have these sizes before any fp8.

        Counts as free what other programs leave of a CUDA device. Elsewhere moving weights away would gain nothing:
        a CPU has no other memory, and Apple's devices share theirs with it.
        """
        if not self._is_auto or self.device.type != "cuda":
            return
        free = torch.cuda.mem_get_info(self.device)[0] + torch.cuda.memory_reserved(self.device)
        sizes = {part: size // 2 if self.fp8 and part.endswith("unet") else size for part, size in part_bytes.items()}
        self._settle_on(choose_mode(free, sizes, activation_bytes))
        log.info("memory mode %s: %.1f GB for %.1f GB of weights", self._settled, free / 1e9, sum(sizes.values()) / 1e9)

    def place(self, part: str, module: nn.Module, dtype: torch.dtype) -> None:
        """Takes in a freshly loaded module that computes in `dtype`; `part` is its name in a diffusers folder.

        When it does not fit, it is left without hooks on the CPU, and can be placed again after a `climb`.
        """
        if self.fp8 and part == "unet":
            store_in_fp8(module, dtype)
        placed = Placed(part, module)
        try:
            self._arrange(placed)
        except BaseException:
            unhook(module, self._stage)
            module.to("cpu")
            raise
        self._placed[id(module)] = placed

    def refresh(self, module: nn.Module) -> None:
        """Lets layers that were put into a placed module, or taken out of it, follow the others."""
        if placed := self._placed.get(id(module)):
            self._arrange(placed)

    def release(self, module: nn.Module) -> None:
        """Lets go of a module: no hooks, no references. One that was never placed is left alone."""
        if self._placed.pop(id(module), None):
            unhook(module, self._stage)

    def climb(self) -> Notice | None:
        """Takes the next rung of the ladder for everything placed; `None` when there is none left.

        To be called when the error of a call that ran out of memory has been let go, with its frames. Either way all
        parts are where they belong afterwards, also those that the call left half moved.
        """
        passed = (*self._rungs, *INCLUDED[self._settled])
        left: tuple[Notice, ...] = tuple(rung for rung in LADDER if rung not in passed)
        self._rungs += left[:1]
        self._arrange_all()
        self.free()
        return left[0] if left else None

    def relax(self) -> None:
        """Back to the mode asked for or chosen. Where that does not fit any more, all stays as it was climbed to."""
        rungs, self._rungs = self._rungs, ()
        if not rungs:
            return
        try:
            self._arrange_all()
        except Exception:  # a call that moves weights says in many ways that they do not fit
            log.exception("the memory mode stays as it is")
            self._rungs = rungs
            self._arrange_all()
            self.free()

    def where(self, module: nn.Module) -> torch.device:
        """Where most of its weights are now."""
        counted = Counter[torch.device]()
        for tensor in (*module.parameters(), *module.buffers()):
            counted[tensor.device] += tensor.numel() * tensor.element_size()
        return counted.most_common(1)[0][0] if counted else self.device

    def free(self) -> None:
        """Gives what nobody refers to back to the device and to the system."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            if hasattr(torch.accelerator, "empty_host_cache"):
                torch.accelerator.empty_host_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()
        _trim_heap()

    def _settle_on(self, mode: MemoryMode) -> None:
        if mode != self._settled:
            self._settled = mode
            self._arrange_all()

    def _arrange_all(self) -> None:
        """First what leaves the device, then what comes to it."""
        for placed in sorted(self._placed.values(), key=lambda placed: self._keeping(placed.part) == "resident"):
            self._arrange(placed)

    def _arrange(self, placed: Placed) -> None:
        arrange(placed.module, self._keeping(placed.part), self._stage)
        if isinstance(placed.module, AutoencoderKL):
            (tile if self.mode != "full" or "vae_tiled" in self._rungs else untile)(placed.module)

    def _keeping(self, part: str) -> Keeping:
        if self.mode == "full":
            is_off = part.startswith("text_encoder") and "text_encoders_off" in self._rungs
            return "blocks" if is_off else "resident"
        keepings: dict[MemoryMode, Keeping] = {"model": "alone", "group": "blocks", "sequential": "leaves"}
        return keepings[self.mode]


def choose_mode(free_bytes: int, part_bytes: Mapping[str, int], activation_bytes: int) -> MemoryMode:
    """The fastest mode that fits: `part_bytes` are weights, `activation_bytes` what a call needs beside them.

    Every name that ends in "unet" is a UNet; with a refiner there are two.
    """
    tiled = int(activation_bytes * TILED_SHARE)
    unets = [size for part, size in part_bytes.items() if part.endswith("unet")]
    others = [size for part, size in part_bytes.items() if not part.endswith("unet")]
    if free_bytes >= sum(part_bytes.values()) + activation_bytes:
        return "full"
    if free_bytes >= max(part_bytes.values(), default=0) + tiled:
        return "model"
    if free_bytes >= sum(unets) * GROUP_SHARE + max(tiled, *others, 0):
        return "group"
    return "sequential"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine ran out of memory; allocators, drivers and the system each say it their way."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, Exception) and any(words in str(error) for words in SHORTAGES)


def bytes_of(module: nn.Module) -> int:
    """Bytes of its parameters and buffers; weights that share their memory count once."""
    tensors = {
        (tensor.data_ptr() or id(tensor), tensor.device): tensor.numel() * tensor.element_size()
        for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(tensors.values())


def _trim_heap() -> None:
    """Has glibc return what was freed: a model's many tensors of a few MB would else stay in its heap."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
