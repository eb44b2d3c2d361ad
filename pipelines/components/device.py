"""Where the studio runs, and in which precision."""

import logging
import platform
import time

import torch

from pipelines.schema.errors import ModelError
from pipelines.schema.settings import Settings

log = logging.getLogger(__name__)

LEAST_GAIN = 1.3
"""How much faster bfloat16 has to be on a CPU to be worth its rounding."""
MEASURED_SHAPES = ((2, 128, 32, 32), (128, 128, 3, 3), (2048, 256), (512, 256))
"""Latents and a convolution's kernel, hidden states and a linear layer's weight."""


def choose_device(settings: Settings) -> torch.device:
    """The device asked for, or the best there is; raises `ModelError` for one that is not there."""
    if settings.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(settings.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device must be auto or one this machine has, got {settings.device!r}") from error
    return device


def choose_dtype(settings: Settings, device: torch.device) -> torch.dtype:
    """The precision asked for; else float16 on an accelerator (what SDXL ships in), on a CPU the faster one."""
    if settings.dtype != "auto":
        return getattr(torch, settings.dtype)
    if device.type != "cpu":
        return torch.float16
    gain = bfloat16_gain()
    dtype = torch.bfloat16 if gain >= LEAST_GAIN else torch.float32
    log.info("bfloat16 is %.2f times as fast as float32 here: pictures are drawn in %s", gain, name_of_dtype(dtype))
    return dtype


@torch.inference_mode()
def bfloat16_gain() -> float:
    """How many times as fast as float32 this CPU computes in bfloat16, measured in some 50 ms.

    On a convolution and a linear layer of a UNet's sizes, each precision in turn, at its best: what else the machine is
    doing then says little. Processors without such instructions are slower in it.
    """
    dtypes = (torch.float32, torch.bfloat16)
    parts = {dtype: [torch.zeros(*shape, dtype=dtype) for shape in MEASURED_SHAPES] for dtype in dtypes}
    best = dict.fromkeys(dtypes, float("inf"))
    for _ in range(8):
        for dtype, (rows, kernel, states, weight) in parts.items():
            started = time.perf_counter()
            torch.nn.functional.conv2d(rows, kernel, padding=1)
            torch.nn.functional.linear(states, weight)
            best[dtype] = min(best[dtype], time.perf_counter() - started)
    return best[torch.float32] / best[torch.bfloat16]


def lay_out(autoencoder: torch.nn.Module, device: torch.device) -> None:
    """Puts an autoencoder's kernels channels last where it computes on a CPU, which is faster; a UNet gains nothing."""
    if device.type == "cpu":
        autoencoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def name_of_dtype(dtype: torch.dtype) -> str:
    """For example "float32"."""
    return str(dtype).removeprefix("torch.")


def name_of_device(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine() + (" CPU" if device.type == "cpu" else " GPU")
