"""Twenty switches between two checkpoints of true size leave resident memory where it was after the first."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.components.cache import ComponentCache
from pipelines.components.library import Library
from pipelines.components.memory import Memory
from pipelines.components.use import Use
from pipelines.schema.models import Selection, load_catalogue
from tests.full_size.make import make_full_size


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.full_size
def test_after_twenty_switches_resident_memory_is_where_it_was_after_the_first(space: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read as Linux tells it")
    checkpoints = space / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    first = make_full_size(checkpoints, "base", "diffusers")
    second = Path(shutil.copytree(first, checkpoints / "second"))
    file = second / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor * 0.5 for name, tensor in tensors.items()}, file, {"format": "pt"})
    del tensors
    library = Library(space / "models", load_catalogue())
    cache = ComponentCache(torch.device("cpu"), torch.bfloat16, Memory(torch.device("cpu"), "full", fp8=False))

    def switch(name: str) -> int:
        expert = cache.expert(Use(Selection(library.checkpoints[name]), torch.bfloat16), "base", lambda event: None)
        assert all(weight.isfinite().all() for weight in expert.unet.parameters())  # every page is touched
        return resident_bytes()

    switch("base-diffusers")
    after_first = switch("second")
    for turn in range(20):
        last = switch(("base-diffusers", "second")[turn % 2])
    assert abs(last - after_first) <= 0.02 * after_first, (after_first, last)
