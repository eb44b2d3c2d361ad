"""What the engine promises to several visitors at once: turns, stops, isolation, and one copy of everything."""

import errno
import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import rounds
from pipelines.components.expert import Expert
from pipelines.components.use import Use
from pipelines.diffusion.conditioner import Conditioner
from pipelines.job import Job
from pipelines.manager import PipelineManager
from pipelines.schema.errors import Cancelled, InvalidRequest, QueueFull, RunError
from pipelines.schema.events import Done, Failed, Queued, Saving, Step, Stopped
from pipelines.schema.models import Selection
from pipelines.schema.requests import (
    REQUESTS,
    ImageToImageRequest,
    InpaintRequest,
    RefineRequest,
    TextToImageRequest,
    make_request,
)
from pipelines.schema.settings import Settings
from pipelines.tasks import TASKS

PROMPT = "a fox on a blue background"


def submit(manager: PipelineManager, owner: str = "", **values: Any) -> Job:
    return manager.submit(make_request(TextToImageRequest, {"prompt": PROMPT, "seed": 1, **values}), owner)


def wait_for_step(job: Job) -> Step:
    return next(event for event in job.events() if isinstance(event, Step))


def live_tensors() -> list[torch.Tensor]:
    """Every tensor that Python still holds; by type, because isinstance() wakes lazy modules."""
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]


@pytest.fixture
def small_manager(tmp_path: Path) -> Iterator[PipelineManager]:
    """Two jobs on the device, two that may wait."""
    settings = Settings(
        model="demo", device="cpu", dtype="float32", output_dir=tmp_path, max_queue=2, max_running=2, preload=True
    )
    manager = PipelineManager(settings)
    yield manager
    manager.close()


def test_a_job_tells_its_whole_life_in_order(manager: PipelineManager) -> None:
    events = list(submit(manager, num_inference_steps=30).events())
    kinds = [type(event) for event in events]
    steps = [event for event in events if isinstance(event, Step)]
    assert kinds.index(Queued) < kinds.index(Step) < kinds.index(Saving) < kinds.index(Done)
    assert kinds[-1] is Done
    assert [step.index for step in steps] == sorted({step.index for step in steps})
    assert steps[-1].index == steps[-1].total == 30
    assert all(step.steps_per_second > 0 for step in steps)
    assert steps[-1].seconds_left == 0
    assert any(step.preview and step.preview.startswith(b"\xff\xd8") for step in steps)


def test_a_short_job_behind_a_long_one_is_done_first(manager: PipelineManager) -> None:
    long, done = submit(manager, num_inference_steps=50), []
    wait_for_step(long)
    short = submit(manager, num_inference_steps=4)
    listeners = [
        threading.Thread(target=lambda job=job, name=name: (job.result(60), done.append(name)))
        for job, name in ((long, "long"), (short, "short"))
    ]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    assert done == ["short", "long"]


def test_a_running_job_stops_within_one_step_and_the_next_is_unaffected(manager: PipelineManager) -> None:
    alone = submit(manager, num_inference_steps=6).result(60)
    job = submit(manager, num_inference_steps=150)
    taken = wait_for_step(job).index
    job.cancel()
    events = list(job.events())
    assert isinstance(events[-1], Stopped)
    assert max([event.index for event in events if isinstance(event, Step)], default=taken) <= taken + 2
    with pytest.raises(Cancelled):
        job.result()
    after = submit(manager, num_inference_steps=6).result(60)
    assert np.array_equal(np.asarray(Image.open(alone.files[0])), np.asarray(Image.open(after.files[0])))


def test_a_stopped_run_lets_go_of_its_latents(manager: PipelineManager) -> None:
    job = submit(manager, num_inference_steps=150, width=512, height=512, num_images_per_prompt=2)
    wait_for_step(job)
    job.cancel()
    list(job.events())
    submit(manager, num_inference_steps=1).result(60)
    assert not [tensor for tensor in live_tensors() if tensor.shape == (2, 4, 64, 64)]


def test_a_waiting_job_leaves_the_queue_when_it_is_stopped(small_manager: PipelineManager) -> None:
    running = [submit(small_manager, num_inference_steps=100) for _ in range(2)]
    waiting = submit(small_manager, num_inference_steps=100)
    waiting.cancel()
    kinds = [type(event) for event in waiting.events()]
    assert kinds[-1] is Stopped
    assert Step not in kinds
    for job in running:
        job.cancel()


def test_a_full_queue_refuses_with_a_sentence_and_works_again_later(small_manager: PipelineManager) -> None:
    jobs = [submit(small_manager, num_inference_steps=100) for _ in range(2)]
    for job in jobs:
        wait_for_step(job)
    jobs += [submit(small_manager, num_inference_steps=100) for _ in range(2)]
    with pytest.raises(QueueFull, match="4 jobs are at work or waiting"):
        submit(small_manager)
    for job in jobs:
        job.cancel()
        assert isinstance(list(job.events())[-1], Stopped)
    assert submit(small_manager, num_inference_steps=2).result(60).files


def test_a_visitor_with_many_jobs_does_not_hold_up_another(small_manager: PipelineManager) -> None:
    greedy = [submit(small_manager, owner="greedy", num_inference_steps=50) for _ in range(3)]
    wait_for_step(greedy[0])
    other = submit(small_manager, owner="other", num_inference_steps=2)
    other.result(60)
    assert not any(job.is_finished for job in greedy)
    for job in greedy:
        job.cancel()


def test_the_queue_is_asked_before_an_upload_is_read(small_manager: PipelineManager, tmp_path: Path) -> None:
    jobs = [submit(small_manager, num_inference_steps=100) for _ in range(4)]
    with pytest.raises(QueueFull):
        small_manager.submit(make_request(ImageToImageRequest, {"image": tmp_path / "there is no such file"}))
    for job in jobs:
        job.cancel()


def test_a_refused_upload_leaves_its_place_to_others(small_manager: PipelineManager, tmp_path: Path) -> None:
    for _ in range(10):
        with pytest.raises(InvalidRequest):
            small_manager.submit(make_request(ImageToImageRequest, {"image": tmp_path / "there is no such file"}))
    assert submit(small_manager, num_inference_steps=1).result(60).files


def test_more_pixels_than_the_model_is_made_for_are_refused(manager: PipelineManager) -> None:
    with pytest.raises(InvalidRequest, match="width times height must be at most 262144 pixels for Studio demo"):
        submit(manager, width=1024, height=1024)
    with pytest.raises(InvalidRequest, match="num_images_per_prompt must be at most 2 at 512x512"):
        submit(manager, width=512, height=512, num_images_per_prompt=3)


def test_a_stop_while_pictures_are_decoded_is_obeyed(
    manager: PipelineManager, base: Expert, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(manager, num_inference_steps=2, num_images_per_prompt=4)
    decode, decoded = base.vae.decode, []

    def cancel_after_the_first(latents: torch.Tensor, **options: Any) -> Any:
        decoded.append(1)
        job.cancel()
        return decode(latents, **options)

    monkeypatch.setattr(base.vae, "decode", cancel_after_the_first)
    assert isinstance(list(job.events())[-1], Stopped)
    assert len(decoded) == 1


def test_a_full_disk_ends_one_job_with_a_sentence(
    manager: PipelineManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, "planted")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.media.save.os.replace", fail)
        with pytest.raises(RunError, match="the disk is full: make room"):
            submit(manager, num_inference_steps=1).result(60)
    assert submit(manager, num_inference_steps=1).result(60).files


def test_a_failed_job_keeps_no_tensors(manager: PipelineManager, base: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = type(base.vae).decode
    with monkeypatch.context() as patch:
        patch.setattr(type(base.vae), "decode", lambda *args, **options: (decode(*args, **options)[0] * float("nan"),))
        job = submit(manager, num_inference_steps=1, width=192, height=320)
        *_, failed = job.events()
    assert isinstance(failed, Failed)
    assert failed.error.__traceback__ is None
    assert not [tensor for tensor in live_tensors() if tensor.shape[-2:] == (40, 24)]


def test_picture_k_of_a_batch_equals_the_same_seed_alone(manager: PipelineManager) -> None:
    values = {"num_inference_steps": 6, "scheduler": "euler_ancestral"}
    batch = submit(manager, num_images_per_prompt=3, seed=10, **values).result(60)
    assert batch.seeds == (10, 11, 12)
    for file, seed in zip(batch.files, batch.seeds, strict=True):
        alone = submit(manager, seed=seed, **values).result(60)
        difference = np.asarray(Image.open(file), float) - np.asarray(Image.open(alone.files[0]), float)
        assert np.abs(difference).max() <= 1  # one of 255 levels: 1e-3 in float may round to the next


def test_float_pixels_of_a_batch_equal_those_of_single_runs_to_a_thousandth(
    manager: PipelineManager, base: Expert, own: Selection
) -> None:
    conditioner = Conditioner(manager.components, {})

    def draw(**values: Any) -> torch.Tensor:
        size = {"width": 256, "height": 256, "num_inference_steps": 6}
        request = make_request(TextToImageRequest, {"prompt": PROMPT, **size, **values})
        run = TASKS["text_to_image"].prepare(
            request, None, lambda name: conditioner.condition(request, Use(own, torch.float32), name, print)
        )
        while not run.is_done:
            run.advance()
        return base.vae.decode(run.finish() / base.vae.config["scaling_factor"], return_dict=False)[0]

    with torch.inference_mode():
        batch = draw(seed=5, num_images_per_prompt=3)
        for k in range(3):
            assert (batch[k] - draw(seed=5 + k)[0]).abs().max() < 1e-3


def test_a_drawn_seed_is_reported_and_draws_the_same_picture_again(manager: PipelineManager) -> None:
    first = submit(manager, seed=-1, num_inference_steps=3).result(60)
    again = submit(manager, seed=first.seeds[0], num_inference_steps=3).result(60)
    other = submit(manager, seed=-1, num_inference_steps=3).result(60)
    assert first.request.seed == first.seeds[0] >= 0
    assert first.seeds != other.seeds
    assert np.array_equal(np.asarray(Image.open(first.files[0])), np.asarray(Image.open(again.files[0])))


def test_two_experts_report_the_steps_that_each_ran(manager: PipelineManager) -> None:
    job = submit(manager, num_inference_steps=10, denoising_end=0.8)
    experts = [event.expert for event in job.events() if isinstance(event, Step)]
    assert job.result().steps == {"base": 8, "refiner": 2}
    assert experts.count("refiner") >= 1
    assert experts == sorted(experts)


def test_a_failure_on_the_device_ends_one_job_with_a_sentence_and_no_other(
    manager: PipelineManager, base: Expert, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = submit(manager, num_inference_steps=4).result(60)

    def fail(*_args: Any, **_options: Any) -> None:
        raise RuntimeError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(base.unet, "forward", fail)
        with pytest.raises(RunError, match="the device failed while drawing"):
            submit(manager, num_inference_steps=4).result(60)
    after = submit(manager, num_inference_steps=4).result(60)
    assert np.array_equal(np.asarray(Image.open(good.files[0])), np.asarray(Image.open(after.files[0])))
    assert "planted" in caplog.text


def test_a_prompt_that_takes_too_long_to_encode_is_refused_by_name(manager: PipelineManager) -> None:
    with pytest.raises(InvalidRequest, match=r"^negative_prompt must have at most \d+ tokens, not 5000"):
        submit(manager, negative_prompt="fox " * 5000, num_inference_steps=2).result(60)


def test_all_tasks_and_both_experts_share_the_same_objects(
    manager: PipelineManager, base: Expert, refiner: Expert, own: Selection, picture: Path, mask: Path
) -> None:
    before = {name: id(module) for name, module in base.modules.items()}
    draw_each_task(manager, picture, mask)
    again = manager.components.expert(Use(own, torch.float32), "base", lambda event: None)
    assert again is base
    assert {name: id(module) for name, module in again.modules.items()} == before
    assert refiner.vae is base.vae
    assert refiner.text_encoder_2 is base.text_encoder_2
    assert refiner.tokenizer_2 is base.tokenizer_2
    names = [(part.source, part.name) for part in manager.status().components]
    own_parts = [("Studio demo", part) for part in ("text_encoder", "text_encoder_2", "unet", "vae")]
    assert sorted(names) == [*own_parts, ("Studio demo refiner", "unet")]


def draw_each_task(manager: PipelineManager, picture: Path, mask: Path, seed: int = 1) -> None:
    values = {"prompt": f"{PROMPT}, number {seed % 2}", "num_inference_steps": 2, "seed": seed}
    with_picture = {**values, "image": picture}
    for request in (
        make_request(TextToImageRequest, values),
        make_request(TextToImageRequest, {**values, "denoising_end": 0.6, "num_inference_steps": 4}),
        make_request(ImageToImageRequest, with_picture),
        make_request(InpaintRequest, {**with_picture, "mask_image": mask}),
        make_request(RefineRequest, {**with_picture, "strength": 0.6}),
    ):
        manager.submit(request).result(60)


def test_memory_does_not_grow_over_fifty_mixed_requests(manager: PipelineManager, picture: Path, mask: Path) -> None:
    def live_tensor_bytes() -> int:
        storages = [tensor.untyped_storage() for tensor in live_tensors()]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    for seed in range(2):  # both prompts' embeddings are meant to stay
        draw_each_task(manager, picture, mask, seed)
    before = live_tensor_bytes()
    for seed in range(10):
        draw_each_task(manager, picture, mask, seed)
    time.sleep(0.1)
    assert live_tensor_bytes() <= before * 1.01


def test_no_tensor_is_left_of_forty_mixed_jobs_of_several_visitors(
    manager: PipelineManager, picture: Path, mask: Path
) -> None:
    def live() -> tuple[int, int]:
        tensors = live_tensors()
        storages = [tensor.untyped_storage() for tensor in tensors]
        return len(tensors), sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    first = draw_mixed_jobs(manager, picture, mask, range(10))
    count, size = live()
    rest = draw_mixed_jobs(manager, picture, mask, range(10, 40))
    count_after, size_after = live()
    assert (count_after <= count, size_after <= size) == (True, True), (count_after - count, size_after - size)
    assert (first, rest) == (2, 6), "so many were stopped on their way"


def draw_mixed_jobs(manager: PipelineManager, picture: Path, mask: Path, numbers: range) -> int:
    """Small jobs of every task, five visitors' at a time, until the device is idle; how many were stopped halfway."""
    stopped = 0
    for first in numbers[::5]:
        jobs = [
            manager.submit(mixed_request(number, picture, mask), f"visitor {number % 5}")
            for number in range(first, first + 5)
        ]
        wait_for_step(jobs[0])
        jobs[0].cancel()
        ends = [list(job.events())[-1] for job in jobs]
        assert [type(end) for end in ends[1:]] == [Done] * 4
        stopped += isinstance(ends[0], Stopped)
    while manager._line.running():
        time.sleep(0.01)
    return stopped


def mixed_request(number: int, picture: Path, mask: Path) -> Any:
    """Every fifth is long enough to be stopped; texts come again, so that nothing new has to be remembered of them."""
    task = sorted(REQUESTS)[number % 4]
    size = ((64, 64), (96, 64), (64, 128))[number % 3]
    steps = 150 if number % 5 == 0 else 2 + number % 4
    values = {"width": size[0], "height": size[1], "num_inference_steps": steps, "seed": number}
    values |= {"prompt": f"{PROMPT}, number {number % 2}", "guidance_scale": (5, 1, 7)[number % 3]}
    values |= {"num_images_per_prompt": 1 + number % 2, "deep_cache_interval": 1 + number % 2}
    given = {"image": picture, "mask_image": mask}
    fields = REQUESTS[task].model_fields
    return make_request(REQUESTS[task], values | {name: path for name, path in given.items() if name in fields})


@pytest.mark.parametrize("when", ["formed", "drawn"])
def test_closing_while_a_company_is_formed_or_drawn_ends_every_job_as_stopped(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", output_dir=tmp_path, max_running=3, preload=True))
    engine = manager._engine
    owner, name = (engine.rounds.companies, "form") if when == "formed" else (rounds, "predict")
    real, reached, released = getattr(owner, name), threading.Event(), threading.Event()

    def wait(several: list[Any], *rest: Any) -> Any:
        if len(several) > 1:
            reached.set()
            assert released.wait(60)
        return real(several, *rest)

    monkeypatch.setattr(owner, name, wait)
    monkeypatch.setattr(engine.rounds.costs, "of", lambda kind, rows: 1.0)
    jobs = [submit(manager, f"visitor {k}", num_inference_steps=100, width=64, height=64) for k in range(3)]
    jobs += [submit(manager, "visitor 0", num_inference_steps=100, width=64, height=64) for _ in range(2)]
    assert reached.wait(60)
    closing = threading.Thread(target=manager.close)
    closing.start()
    released.set()
    closing.join(60)
    assert not closing.is_alive()
    assert engine.rounds.lanes is not None
    assert not any(thread.is_alive() for thread in (engine._thread, *engine.rounds.lanes._threads._threads))
    assert [type(list(job.events())[-1]) for job in jobs] == [Stopped] * 5


def test_closing_ends_waiting_and_running_jobs_as_stopped(tmp_path: Path) -> None:
    settings = Settings(model="demo", device="cpu", output_dir=tmp_path, max_running=1, preload=True)
    manager = PipelineManager(settings)
    jobs = [submit(manager, num_inference_steps=100) for _ in range(3)]
    wait_for_step(jobs[0])
    manager.close()
    for job in jobs:
        with pytest.raises(Cancelled):
            job.result(1)
    with pytest.raises(RunError, match="the studio is closing"):
        submit(manager)
