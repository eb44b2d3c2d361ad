"""What a run's figures are figures of."""

import os
import platform
import time
from pathlib import Path
from typing import Any

import diffusers
import torch

from pipelines.components.device import choose_dtype, name_of_device, name_of_dtype
from pipelines.schema.settings import Settings


def describe_machine(device: torch.device) -> dict[str, Any]:
    """The processor, how busy it is, the versions, and the precision that the studio chooses here."""
    return {
        "processor": name_of_device(device) if device.type == "cuda" else processor_name(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "dtype": name_of_dtype(choose_dtype(Settings(), device)),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
    }


def processor_name() -> str:
    """As Linux names it; elsewhere its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()
