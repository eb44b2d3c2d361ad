"""One copy of every component: shared by content over checkpoints, freed when it is replaced, kept within a budget."""

import gc
import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.components.cache import ComponentCache
from pipelines.components.library import Library
from pipelines.components.memory import Memory
from pipelines.components.use import Use
from pipelines.schema.errors import ModelError
from pipelines.schema.events import Loading
from pipelines.schema.models import Selection, load_catalogue

CPU = torch.device("cpu")


def ignore(_event: Loading) -> None:
    """A listener that has no interest."""


def make_cache(budget_bytes: int = 0) -> ComponentCache:
    return ComponentCache(CPU, torch.float32, Memory(CPU, "full", fp8=False), budget_bytes)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The embedded model, and two checkpoints that differ from it: "other" in its UNet, "third" in UNet and VAE."""
    folder = tmp_path_factory.mktemp("models")
    demo = Path(load_catalogue().checkpoints["demo"].source)
    for name, parts in (("other", ["unet"]), ("third", ["unet", "vae"])):
        copy = Path(shutil.copytree(demo, folder / "checkpoints" / name, ignore=shutil.ignore_patterns("refiner")))
        for part in parts:
            file = next((copy / part).glob("*.safetensors"))
            tensors = load_file(file)
            key = next(key for key, tensor in tensors.items() if tensor.ndim == 1)
            save_file({**tensors, key: tensors[key] + 0.01}, file, {"format": "pt"})
    return Library(folder, load_catalogue())


def of(library: Library, name: str, dtype: torch.dtype = torch.float32) -> Use:
    model = library.checkpoints[name]
    return Use(Selection(model, library.checkpoints.get(model.refiner or "")), dtype)


def test_a_switch_of_checkpoint_loads_only_what_differs_and_frees_what_it_replaced(library: Library) -> None:
    cache = make_cache()
    first = cache.expert(of(library, "demo"), "base", ignore)
    replaced = weakref.ref(first.unet)
    shared = (first.vae, first.text_encoder, first.text_encoder_2)
    del first
    second = cache.expert(of(library, "other"), "base", ignore)
    assert (second.vae, second.text_encoder, second.text_encoder_2) == shared
    assert [part.source for part in cache.loaded() if part.name == "unet"] == ["other"]
    gc.collect()
    assert replaced() is None
    third = cache.expert(of(library, "third"), "base", ignore)
    assert third.vae is not second.vae
    assert third.text_encoder_2 is second.text_encoder_2


def test_after_twenty_switches_memory_is_where_it_was_after_the_first(library: Library) -> None:
    cache = make_cache()

    def switch(name: str) -> int:
        cache.expert(of(library, name), "base", ignore)
        gc.collect()
        return sum(part.component_bytes for part in cache.loaded())

    def live_bytes() -> int:
        tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
        storages = {storage.data_ptr(): storage.nbytes() for storage in (t.untyped_storage() for t in tensors)}
        return sum(storages.values())

    switch("demo")
    listed, live = switch("other"), live_bytes()
    for turn in range(20):
        switch(("demo", "other")[turn % 2])
    assert sum(part.component_bytes for part in cache.loaded()) == listed
    assert live_bytes() <= live * 1.02


def test_base_and_refiner_share_what_they_have_in_common(library: Library) -> None:
    cache = make_cache()
    base = cache.expert(of(library, "demo"), "base", ignore)
    refiner = cache.expert(of(library, "demo"), "refiner", ignore)
    assert (refiner.vae, refiner.text_encoder_2, refiner.tokenizer_2) == (
        base.vae,
        base.text_encoder_2,
        base.tokenizer_2,
    )
    assert cache.expert(of(library, "demo"), "base", ignore) is base


def test_a_refiner_alone_does_not_load_the_bases_unet(library: Library) -> None:
    cache = make_cache()
    cache.expert(of(library, "demo"), "refiner", ignore)
    assert sorted((part.name, part.source) for part in cache.loaded()) == [
        ("text_encoder_2", "Studio demo"),
        ("unet", "Studio demo refiner"),
        ("vae", "Studio demo"),
    ]


def test_what_a_job_on_the_device_uses_is_not_freed(library: Library) -> None:
    cache = make_cache()
    demo = cache.expert(of(library, "demo"), "base", ignore)
    cache.in_use = [of(library, "demo")]
    cache.expert(of(library, "other"), "base", ignore)
    assert cache.expert(of(library, "demo"), "base", ignore) is demo
    cache.in_use = []
    cache.expert(of(library, "third"), "base", ignore)
    assert cache.expert(of(library, "demo"), "base", ignore) is not demo


def test_with_a_budget_the_least_recently_used_goes_first(library: Library) -> None:
    sizes = {part.name: part.component_bytes for part in loaded_alone(library, "demo")}
    cache = make_cache(budget_bytes=sum(sizes.values()) + sizes["unet"] + sizes["vae"])
    demo = cache.expert(of(library, "demo"), "base", ignore)
    other = cache.expert(of(library, "other"), "base", ignore)
    assert cache.expert(of(library, "demo"), "base", ignore) is demo
    cache.expert(of(library, "third"), "base", ignore)  # together they exceed the budget: "other" was used longest ago
    assert cache.expert(of(library, "demo"), "base", ignore) is demo
    assert cache.expert(of(library, "other"), "base", ignore) is not other


def loaded_alone(library: Library, name: str) -> tuple:
    cache = make_cache()
    cache.expert(of(library, name), "base", ignore)
    return cache.loaded()


def test_a_file_that_was_replaced_is_read_anew(library: Library, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(library.checkpoints["other"].source, tmp_path / "checkpoints" / "mine"))
    own = Library(tmp_path, load_catalogue())
    cache = make_cache()
    before = cache.expert(of(own, "mine"), "base", ignore)
    file = next((copy / "unet").glob("*.safetensors"))
    tensors = load_file(file)
    key = next(key for key, tensor in tensors.items() if tensor.ndim == 1)
    save_file({**tensors, key: tensors[key] + 1}, file, {"format": "pt"})
    after = cache.expert(of(own, "mine"), "base", ignore)
    assert after.unet is not before.unet
    assert after.vae is before.vae


def test_another_precision_is_a_copy_of_its_own_and_goes_when_it_is_not_used(library: Library) -> None:
    cache = ComponentCache(CPU, torch.bfloat16, Memory(CPU, "full", fp8=False))
    usual = cache.expert(of(library, "demo", torch.bfloat16), "base", ignore)
    cache.in_use = [of(library, "demo", torch.bfloat16)]
    exact = cache.expert(of(library, "demo"), "base", ignore)
    assert (usual.dtype, usual.unet.dtype, exact.dtype, exact.unet.dtype) == (
        torch.bfloat16, torch.bfloat16, torch.float32, torch.float32,
    )  # fmt: skip
    assert {part.dtype for part in cache.loaded()} == {"bfloat16", "float32"}
    cache.trim()
    assert {part.dtype for part in cache.loaded()} == {"bfloat16"}
    assert cache.expert(of(library, "demo", torch.bfloat16), "base", ignore).unet is usual.unet


def test_damaged_weights_are_dropped_and_read_anew(library: Library) -> None:
    cache = make_cache()
    expert = cache.expert(of(library, "demo"), "base", ignore)
    assert not cache.drop_damaged()
    next(expert.vae.parameters()).data[0] = float("nan")
    assert cache.drop_damaged()
    again = cache.expert(of(library, "demo"), "base", ignore)
    assert again.vae is not expert.vae
    assert again.unet is expert.unet
    assert all(weight.isfinite().all() for weight in again.vae.parameters())


def test_a_load_that_fails_leaves_what_was_there(library: Library, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(library.checkpoints["other"].source, tmp_path / "checkpoints" / "cut"))
    file = next((copy / "unet").glob("*.safetensors"))
    broken = of(Library(tmp_path, load_catalogue()), "cut")
    file.write_bytes(file.read_bytes()[:5000])
    cache = make_cache()
    demo = cache.expert(of(library, "demo"), "base", ignore)
    cache.in_use = [of(library, "demo")]
    listed = cache.loaded()
    with pytest.raises(ModelError, match="cut: unet could not be loaded"):
        cache.expert(broken, "base", ignore)
    assert cache.loaded() == listed
    assert cache.expert(of(library, "demo"), "base", ignore) is demo


def test_what_a_job_uses_stays_when_its_files_are_replaced_and_goes_when_it_has_left(
    library: Library, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(library.checkpoints["other"].source, tmp_path / "checkpoints" / "mine"))
    own = Library(tmp_path, load_catalogue())
    cache = make_cache()
    use = of(own, "mine")
    at_work = cache.expert(use, "base", ignore)
    cache.in_use = [use]
    file = next((copy / "unet").glob("*.safetensors"))
    doubled = {name: tensor * 2 for name, tensor in load_file(file).items()}
    save_file(doubled, file.with_suffix(".new"), {"format": "pt"})
    file.with_suffix(".new").replace(file)
    new = cache.expert(of(own, "mine"), "base", ignore)
    assert cache.holds(at_work)
    assert new.unet is not at_work.unet
    old = weakref.ref(at_work.unet)
    del at_work
    cache.in_use = []
    cache.trim()
    gc.collect()
    assert old() is None
    assert cache.holds(new)


@pytest.mark.parametrize(
    ("part", "key", "value"), [("vae", "scaling_factor", 0.5), ("text_encoder_2", "hidden_act", "quick_gelu")]
)
def test_equal_weights_with_another_config_are_another_component(
    library: Library, tmp_path: Path, part: str, key: str, value: object
) -> None:
    copy = Path(shutil.copytree(library.checkpoints["other"].source, tmp_path / "checkpoints" / "mine"))
    config = copy / part / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), key: value}))
    cache = make_cache()
    other = cache.expert(of(library, "other"), "base", ignore)
    cache.in_use = [of(library, "other")]
    mine = cache.expert(of(Library(tmp_path, load_catalogue()), "mine"), "base", ignore)
    assert getattr(mine, part) is not getattr(other, part)
    assert mine.text_encoder is other.text_encoder
