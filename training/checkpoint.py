"""Checkpoints that survive a kill: written beside and renamed, read without running any code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint of tensors and plain values; a reader sees the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path, device: torch.device | None = None) -> dict[str, Any] | None:
    """Read a checkpoint, or return None if there is none yet; `weights_only` refuses anything but plain values."""
    if not path.is_file():
        return None
    return torch.load(path, map_location=device or "cpu", weights_only=True, mmap=False)
