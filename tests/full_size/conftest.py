"""True-size SDXL is asked for by STUDIO_FULL_SIZE=1: a kind takes minutes, 15 GB of the disk and as much memory."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

DISK_GB = 30
MEMORY_GB = 16


def free_memory_gb() -> float:
    """What Linux says can be had without swapping; elsewhere nothing, so that nothing is skipped for it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**20


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for two copies of SDXL, empty again afterwards."""
    if os.environ.get("STUDIO_FULL_SIZE") != "1":
        pytest.skip("true-size SDXL is made only with STUDIO_FULL_SIZE=1")
    if (disk := shutil.disk_usage(tmp_path).free / 2**30) < DISK_GB:
        pytest.skip(f"true-size SDXL wants {DISK_GB} GB of the disk, {disk:.0f} are free")
    if (memory := free_memory_gb()) < MEMORY_GB:
        pytest.skip(f"true-size SDXL wants {MEMORY_GB} GB of memory, {memory:.0f} are free")
    yield tmp_path
    shutil.rmtree(tmp_path)
