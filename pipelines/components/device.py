"""Where the studio runs, in which precision, and so which model it starts with."""

import platform

import torch

from pipelines.components.library import Library
from pipelines.schema.errors import ModelError
from pipelines.schema.models import ModelEntry
from pipelines.schema.settings import Settings


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
    """The precision asked for; else float16 on an accelerator (what SDXL ships in), float32 on a CPU."""
    if settings.dtype != "auto":
        return getattr(torch, settings.dtype)
    return torch.float32 if device.type == "cpu" else torch.float16


def choose_model(settings: Settings, device: torch.device, library: Library) -> tuple[ModelEntry, str]:
    """The model asked for, or full SDXL where an accelerator is found; and why, in a few words.

    Raises `ModelError` for one that is not known, or cannot draw by itself.
    """
    if settings.model is not None:
        model = library.find_model(settings.model)
        if model.kind == "refiner":
            raise ModelError(f"model must be a checkpoint that draws by itself, which {model.title} does not")
        return model, "chosen by --model"
    if device.type == "cpu":
        return library.find_model("demo"), "no accelerator found; --model sdxl asks for full SDXL anyway"
    return library.find_model("sdxl"), f"an accelerator was found ({name_of_device(device)})"


def name_of_device(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine() + (" CPU" if device.type == "cpu" else " GPU")
