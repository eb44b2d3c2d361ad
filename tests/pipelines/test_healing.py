"""It heals itself: whatever fails for want of memory or precision is done again, and leaves no trace."""

import errno
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines import rounds
from pipelines.components import cache
from pipelines.components.memory import Memory
from pipelines.components.use import Use
from pipelines.diffusion import latents
from pipelines.job import Job
from pipelines.manager import PipelineManager
from pipelines.media.metadata import KEY
from pipelines.prompts.encoding import PromptEncoder
from pipelines.schema.errors import MemoryShort, ModelError, NumericalError, RunError
from pipelines.schema.events import Noticed, Result, Step
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.settings import Settings

STEPS = 4
LADDER = ("vae_tiled", "text_encoders_off", "model_offload", "sequential_offload")


def submit(manager: PipelineManager, **values: Any) -> Job:
    small = {"prompt": "a fox", "seed": 1, "num_inference_steps": STEPS, "width": 64, "height": 64}
    return manager.submit(make_request(TextToImageRequest, {**small, **values}))


def noted_dtype(result: Result) -> str:
    """What the picture says it was drawn in."""
    with Image.open(result.files[0]) as image:
        return json.loads(image.info[KEY])["dtype"]


def pixels(result: Result) -> np.ndarray:
    return np.asarray(Image.open(result.files[0]))


class Plant:
    """A function whose calls from number `first` on, `times` of them, go wrong."""

    def __init__(self, call: Callable[..., Any], first: int, times: int, fault: Callable[[Any], Any]) -> None:
        self.calls = 0
        self._call, self._first, self._times, self._fault = call, first, times, fault

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        if self._first <= self.calls < self._first + self._times:
            return self._fault(lambda: self._call(*args, **options))
        return self._call(*args, **options)


Planting = Callable[..., Plant]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Planting:
    """Plants a fault in what the engine calls for a step, a decode or a load; pulled out by `monkeypatch.undo()`."""
    places = {
        "read": (cache, "load_part"),
        "load": (Memory, "place"),
        "encode": (PromptEncoder, "encode_pair"),
        "step": (rounds, "predict"),
        "decode": (latents, "decode_pixels"),
    }

    def plant_it(where: str, first: int, times: int, fault: Callable[[Any], Any]) -> Plant:
        owner, name = places[where]
        planted = Plant(getattr(owner, name), first, times, fault)
        monkeypatch.setattr(owner, name, lambda *args, **options: planted(*args, **options))
        return planted

    return plant_it


def run_out(_call: Any) -> Any:
    raise torch.OutOfMemoryError("planted: CUDA out of memory")


def to_nan(call: Callable[[], Any]) -> Any:
    return change(call(), lambda tensor: tensor * float("nan"))


def to_infinity(call: Callable[[], Any]) -> Any:
    return change(call(), lambda tensor: tensor + float("inf"))


def change(result: Any, how: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    return [how(tensor) for tensor in result] if isinstance(result, list) else how(result)


@pytest.fixture(scope="module")
def healer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineManager]:
    """A studio of this file's own: what is planted here must not reach other tests."""
    outputs = tmp_path_factory.mktemp("outputs")
    manager = PipelineManager(Settings(model="demo", device="cpu", dtype="float32", output_dir=outputs, preload=True))
    yield manager
    manager.close()


@pytest.fixture(scope="module")
def healthy(healer: PipelineManager) -> np.ndarray:
    return pixels(submit(healer).result(60))


def test_out_of_memory_at_a_random_step_climbs_the_ladder_and_draws_the_same_picture(
    healer: PipelineManager, healthy: np.ndarray, plant: Planting, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = random.Random(0)
    for _ in range(100):
        times = points.choice([1] * 9 + [2, 3, 4])
        plant("step", points.randint(1, STEPS), times, run_out)
        job = submit(healer)
        noticed = [event.notice for event in job.events() if isinstance(event, Noticed)]
        monkeypatch.undo()
        assert noticed == list(LADDER[:times]) == list(job.result().notices)
        assert np.abs(pixels(job.result()).astype(float) - healthy).mean() < 2, "tiles and offloading draw the same"
        assert healer.status().memory == "full", "the next request is as if nothing had happened"
        assert np.array_equal(pixels(submit(healer).result(60)), healthy)


def test_out_of_memory_while_decoding_does_not_draw_anew(
    healer: PipelineManager, healthy: np.ndarray, plant: Planting, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = random.Random(1)
    for _ in range(80):
        times = points.choice([1] * 9 + [2, 3, 4])
        steps = plant("step", 0, 0, run_out)
        plant("decode", 1, times, run_out)
        result = submit(healer).result(60)
        monkeypatch.undo()
        assert result.notices == LADDER[:times]
        assert steps.calls == STEPS
        assert np.array_equal(pixels(submit(healer).result(60)), healthy)


def test_out_of_memory_while_loading_is_tried_again(
    healer: PipelineManager, healthy: np.ndarray, plant: Planting, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = random.Random(2)
    for _ in range(20):
        times = points.choice([1] * 5 + [2])
        healer.components.clear()
        plant("load", points.randint(1, 4), times, run_out)
        result = submit(healer).result(60)
        monkeypatch.undo()
        assert result.notices == LADDER[:times]
        assert np.array_equal(pixels(submit(healer).result(60)), healthy)
        assert healer.status().memory == "full"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
@pytest.mark.parametrize("where", ["read", "load", "encode", "step", "decode"])
def test_every_stage_knows_an_error_of_memory_whatever_its_words(
    healer: PipelineManager,
    healthy: np.ndarray,
    plant: Planting,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    error: Exception,
) -> None:
    def fail(_call: Any) -> Any:
        raise error

    if where in ("read", "load"):
        healer.components.clear()
    plant(where, 1, 1, fail)
    result = submit(healer).result(60)
    monkeypatch.undo()
    assert result.notices == ("vae_tiled",)
    assert np.array_equal(pixels(submit(healer).result(60)), healthy)


def test_a_memory_mode_that_cannot_be_put_back_costs_nobody_a_picture(
    healer: PipelineManager, healthy: np.ndarray, plant: Planting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_memory: Memory) -> None:
        raise RuntimeError("CUDA error: out of memory")

    plant("step", 2, 1, run_out)
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "relax", fail)
        assert submit(healer).result(60).notices == ("vae_tiled",)
    monkeypatch.undo()
    assert np.array_equal(pixels(submit(healer).result(60)), healthy)
    assert healer.status().memory == "full"


def test_a_preload_that_runs_out_of_memory_climbs_the_ladder(
    plant: Planting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, healthy: np.ndarray
) -> None:
    settings = Settings(model="demo", device="cpu", dtype="float32", output_dir=tmp_path, preload=True)
    plant("load", 3, 2, run_out)
    manager = PipelineManager(settings)
    monkeypatch.undo()
    assert np.array_equal(pixels(submit(manager).result(60)), healthy)
    manager.close()
    plant("load", 1, 99, run_out)
    with pytest.raises(MemoryShort):
        PipelineManager(settings)


def test_a_preload_that_fails_in_an_unknown_way_ends_with_a_sentence(
    plant: Planting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_call: Any) -> Any:
        raise RuntimeError("planted")

    plant("load", 1, 99, fail)
    with pytest.raises(RunError, match="the model could not be loaded"):
        PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path, preload=True))


def test_when_nothing_is_left_to_put_aside_a_sentence_says_what_to_do(
    healer: PipelineManager, healthy: np.ndarray, plant: Planting, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant("step", 1, 99, run_out)
    with pytest.raises(MemoryShort, match="try a smaller size or fewer pictures"):
        submit(healer).result(60)
    monkeypatch.undo()
    assert healer.status().memory == "full"
    assert np.array_equal(pixels(submit(healer).result(60)), healthy)


def test_no_picture_changes_without_a_word_when_another_job_runs_out_of_memory(
    healer: PipelineManager, plant: Planting
) -> None:
    large = {"num_inference_steps": 6, "width": 192, "height": 192}  # larger than a tile
    alone = [pixels(submit(healer, seed=seed, **large).result(60)) for seed in (5, 6)]
    plant("step", 6, 2, run_out)  # together, then alone
    results = [job.result(60) for job in [submit(healer, seed=seed, **large) for seed in (5, 6)]]
    assert any(result.notices for result in results)
    for result, expected in zip(results, alone, strict=True):
        assert result.notices in ((), ("vae_tiled",))
        assert np.array_equal(pixels(result), expected) or result.notices
        assert np.abs(pixels(result).astype(float) - expected).mean() < 4


@pytest.mark.parametrize("fault", [to_nan, to_infinity])
@pytest.mark.parametrize("where", ["step", "decode"])
def test_in_float32_numbers_that_stay_wrong_are_an_error_and_never_a_black_picture(
    healer: PipelineManager,
    healthy: np.ndarray,
    plant: Planting,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    fault: Callable[[Any], Any],
) -> None:
    plant(where, 1, 999, fault)
    with pytest.raises(NumericalError, match="NaN"):
        submit(healer).result(60)
    monkeypatch.undo()
    assert np.array_equal(pixels(submit(healer).result(60)), healthy)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "text_encoder_2"])
def test_weights_that_were_damaged_in_memory_are_read_anew(
    healer: PipelineManager, healthy: np.ndarray, part: str
) -> None:
    own = healer.library.select(TextToImageRequest(), healer.model)
    submit(healer, prompt="another, so that the fox is not encoded any more").result(60)
    with torch.inference_mode():
        for weight in (
            healer.components.expert(Use(own, torch.float32), "base", lambda event: None).modules[part].parameters()
        ):
            weight.fill_(float("nan"))
    result = submit(healer, prompt=f"never encoded before: {part}").result(60)
    assert result.notices == ("weights_reloaded",)
    assert np.array_equal(pixels(submit(healer).result(60)), healthy)
    assert submit(healer).result(60).notices == ()


def test_damaged_weights_are_reloaded_for_every_job_that_uses_them(
    healer: PipelineManager, healthy: np.ndarray
) -> None:
    own = healer.library.select(TextToImageRequest(), healer.model)
    jobs = [submit(healer, num_inference_steps=60) for _ in range(2)]
    for job in jobs:
        next(event for event in job.events() if isinstance(event, Step))
    with torch.inference_mode():
        unet = healer.components.expert(Use(own, torch.float32), "base", lambda event: None).unet
        next(unet.parameters()).fill_(float("nan"))
    assert [job.result(60).notices for job in jobs] == [("weights_reloaded",)] * 2
    assert np.array_equal(pixels(submit(healer).result(60)), healthy)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineManager]:
    """A studio that computes in bfloat16, which can be followed by float32."""
    outputs = tmp_path_factory.mktemp("outputs")
    manager = PipelineManager(Settings(model="demo", device="cpu", dtype="bfloat16", output_dir=outputs))
    yield manager
    manager.close()


def test_latents_that_overflowed_are_drawn_again_in_float32(
    half: PipelineManager, healthy: np.ndarray, plant: Planting, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(half).result(60)
    before = pixels(first)
    plant("step", 2, 1, to_infinity)
    result = submit(half).result(60)
    monkeypatch.undo()
    assert result.notices == ("denoised_in_float32",)
    assert (noted_dtype(first), noted_dtype(result)) == ("bfloat16", "float32")
    assert np.array_equal(pixels(result), healthy), "what a studio in float32 draws"
    assert np.array_equal(pixels(submit(half).result(60)), before)
    assert {part.dtype for part in half.status().components} == {"bfloat16"}


def test_pixels_that_overflowed_are_decoded_again_in_float32_from_the_same_latents(
    half: PipelineManager, plant: Planting, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pixels(submit(half).result(60))
    steps = plant("step", 0, 0, to_nan)
    plant("decode", 1, 1, to_nan)
    result = submit(half).result(60)
    monkeypatch.undo()
    assert result.notices == ("decoded_in_float32",)
    assert steps.calls == STEPS
    assert np.abs(pixels(result).astype(float) - before).mean() < 2
    assert np.array_equal(pixels(submit(half).result(60)), before)
    assert {part.dtype for part in half.status().components} == {"bfloat16"}


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_nan_in_a_file_is_refused_by_name_and_the_next_picture_is_the_one_before(
    healer: PipelineManager, healthy: np.ndarray, tmp_path: Path, part: str
) -> None:
    copy = Path(shutil.copytree(healer.model.source, tmp_path / f"damaged-{part}"))
    file = next((copy / part).glob("*.safetensors"))
    tensors = load_file(file)
    key = next(iter(tensors))
    save_file({**tensors, key: torch.full_like(tensors[key], float("nan"))}, file, {"format": "pt"})
    healer.library.add_path(copy)
    with pytest.raises(ModelError, match=f"{part} is damaged: .* holds NaN"):
        submit(healer, model=copy.name).result(60)
    assert np.array_equal(pixels(submit(healer).result(60)), healthy)
