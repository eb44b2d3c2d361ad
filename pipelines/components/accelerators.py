"""Whether this machine may have an accelerator, found out without torch, and so which model the studio starts with.

Importing torch takes seconds of a processor's time, and on most laptops all it would say is no.
"""

import platform
import sys
from pathlib import Path

from pipelines.components.library import Library
from pipelines.schema.errors import ModelError
from pipelines.schema.models import ModelEntry
from pipelines.schema.settings import Settings

DRIVERS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg", "/dev/kfd")
"""What the drivers of NVIDIA and AMD put there on Linux: NVIDIA's own, on Jetson, under Windows, and AMD's."""


def may_have_accelerator() -> bool:
    """False where no driver is there that torch could use; where this cannot be told, torch has to be asked."""
    if sys.platform == "linux":
        return any(Path(path).exists() for path in DRIVERS)
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return True


def choose_model(settings: Settings, accelerator: str, library: Library) -> tuple[ModelEntry, str]:
    """The model asked for, or full SDXL where there is an accelerator of that name; and why, in a few words.

    Raises `ModelError` for one that is not known, or cannot draw by itself.
    """
    if settings.model is not None:
        model = library.find_model(settings.model)
        if model.kind == "refiner":
            raise ModelError(f"model must be a checkpoint that draws by itself, which {model.title} does not")
        return model, "chosen by --model"
    if not accelerator:
        return library.find_model("demo"), "no accelerator found; --model sdxl asks for full SDXL anyway"
    return library.find_model("sdxl"), f"an accelerator was found ({accelerator})"
