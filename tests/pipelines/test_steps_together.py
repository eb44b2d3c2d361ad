"""Steps of several runs in one UNet call: the same pictures, fewer calls, nobody kept waiting."""

import gc
import random
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines import rounds
from pipelines.components.expert import Expert
from pipelines.components.unet import told as told_module
from pipelines.components.unet.model import KeepingUNet
from pipelines.components.unet.told import Rows
from pipelines.diffusion.run import Run
from pipelines.diffusion.steps.call import Call, predict
from pipelines.diffusion.steps.lanes import Lanes
from pipelines.job import Job
from pipelines.manager import PipelineManager
from pipelines.schema.errors import ModelError, NumericalError
from pipelines.schema.events import Step
from pipelines.schema.requests import REQUESTS, GenerationRequest, make_request
from pipelines.schema.settings import Settings
from tests.adapter_files import write_diffusers_lora
from tests.pipelines.demo_experts import load_demo_experts, prepare_run

SCHEDULERS = ("euler", "euler_ancestral", "ddim", "dpmpp_2m_sde", "heun")
PROMPTS = ("a fox on a blue background", "a (cat:1.3) in the snow", "a [fox|cat] on a red background", "tree " * 90)
SIDE = 64


def ask(task: str, folder: Path, **values: Any) -> GenerationRequest:
    """A request of any task, small, with a picture and a mask where it takes them."""
    picture, mask = folder / "picture.png", folder / "mask.png"
    given = {"prompt": PROMPTS[0], "seed": 1, "width": SIDE, "height": SIDE, "num_inference_steps": 4, **values}
    if task != "text_to_image":
        given |= {"image": picture, "strength": 0.75}
    if task == "inpaint":
        given["mask_image"] = mask
    if task == "refine":
        given.pop("denoising_end", None)
    return make_request(REQUESTS[task], given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uploads")
    Image.new("RGB", (SIDE, SIDE), (60, 110, 220)).save(folder / "picture.png")
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (0, 0, SIDE // 2, SIDE))
    mask.save(folder / "mask.png")
    return folder


@torch.inference_mode()
def finish_alone(run: Run) -> torch.Tensor:
    while not run.is_done:
        run.advance()
    return run.finish()


@torch.inference_mode()
def finish_together(runs: Sequence[Run], chance: random.Random, lanes: Lanes | None) -> tuple[list[torch.Tensor], int]:
    """All runs to their ends, some of them in each round, those of a kind in one call; and the largest company."""
    largest = 0
    while waiting := [run for run in runs if not run.is_done]:
        round_ = [run for run in waiting if chance.random() < 0.7] or waiting[:1]
        calls = [run.ask() for run in round_]
        for kind in dict.fromkeys(call.kind for call in calls):
            company = [(run, call) for run, call in zip(round_, calls, strict=True) if call.kind == kind]
            largest = max(largest, len(company))
            for (run, _), prediction in zip(company, predict([call for _, call in company], lanes), strict=True):
                run.take(prediction)
    return [run.finish() for run in runs], largest


REQUEST_VALUES = st.fixed_dictionaries(
    {
        "task": st.sampled_from(sorted(REQUESTS)),
        "scheduler": st.sampled_from(SCHEDULERS),
        "num_inference_steps": st.integers(6, 9),
        "guidance_scale": st.sampled_from((1.0, 5.0)),
        "guidance_end": st.sampled_from((0.5, 1.0)),
        "num_images_per_prompt": st.integers(1, 2),
        "prompt": st.sampled_from(PROMPTS),
        "denoising_end": st.sampled_from((0.8, 1.0)),
        "deep_cache_interval": st.sampled_from((1, 1, 2)),
        "seed": st.integers(0, 99),
    }
)


@settings(max_examples=8, deadline=None)
@given(st.lists(REQUEST_VALUES, min_size=2, max_size=5), st.integers(0, 2**32), st.sampled_from((0, 1, 2, 3)))
def test_a_run_in_company_ends_as_it_does_alone(
    folder: Path, wanted: list[dict[str, Any]], order: int, cores: int
) -> None:
    requests = [ask(folder=folder, **values) for values in wanted]
    alone = [finish_alone(prepare_run(request)) for request in requests]
    lanes = Lanes(cores) if cores else None
    together, _ = finish_together([prepare_run(request) for request in requests], random.Random(order), lanes)
    if lanes is not None:
        lanes.close()
    for mine, theirs in zip(together, alone, strict=True):
        assert (mine - theirs).norm() / theirs.norm() <= 1e-5
        assert (mine - theirs).abs().max() / theirs.abs().max() <= 2e-5


@pytest.mark.parametrize("task", sorted(REQUESTS))
def test_each_task_with_each_scheduler_ends_as_alone(folder: Path, task: str) -> None:
    requests = [
        ask(task, folder, scheduler=scheduler, num_inference_steps=5 + k, seed=k)
        for k, scheduler in enumerate(SCHEDULERS)
    ]
    alone = [finish_alone(prepare_run(request)) for request in requests]
    lanes = Lanes(2)
    together, largest = finish_together([prepare_run(request) for request in requests], random.Random(7), lanes)
    lanes.close()
    assert largest >= 3
    for mine, theirs in zip(together, alone, strict=True):
        assert (mine - theirs).abs().max() / theirs.abs().max() <= 1e-5


def test_all_tasks_but_refine_share_a_call_whatever_their_steps_schedulers_and_guidance(folder: Path) -> None:
    tasks = ("text_to_image", "image_to_image", "inpaint")
    requests = [
        ask(task, folder, scheduler=scheduler, num_inference_steps=steps, guidance_scale=scale)
        for task, scheduler, steps, scale in zip(tasks, SCHEDULERS, (4, 9, 6), (5.0, 1.0, 7.0), strict=False)
    ]
    runs = [prepare_run(request) for request in requests]
    assert len({run.ask().kind for run in runs}) == 1
    assert [len(run.ask().sample) for run in runs] == [2, 1, 2], "one row without guidance"


@pytest.mark.parametrize(
    "other", [{"width": 128}, {"prompt": PROMPTS[3]}, {"deep_cache_interval": 2}], ids=["size", "length", "depth"]
)
def test_what_would_change_the_result_is_not_put_together(folder: Path, other: dict[str, Any]) -> None:
    runs = [prepare_run(ask("text_to_image", folder, **values)) for values in ({}, other)]
    with torch.inference_mode():
        for run in runs:
            run.advance()
    assert len({run.ask().kind for run in runs}) == 2


# What is computed once


class Projections:
    """Counts calls of the layers that project prompts to keys and values."""

    def __init__(self, unet: KeepingUNet) -> None:
        self.layers = [getattr(attn, name) for attn in cross_attentions(unet) for name in ("to_k", "to_v")]
        self.calls = self.rows = 0
        self.hooks = [layer.register_forward_hook(self._count) for layer in self.layers]
        self.hooks.append(unet.add_embedding.register_forward_hook(self._count_added))
        self.added = 0

    def _count(self, _layer: Any, args: tuple[torch.Tensor, ...], *_: Any) -> None:
        self.calls += 1
        self.rows += len(args[0])

    def _count_added(self, *_: Any) -> None:
        self.added += 1

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()


def cross_attentions(unet: Any) -> list[Any]:
    return [module for name, module in unet.named_modules() if name.endswith(".attn2")]


@pytest.fixture
def projections() -> Iterator[Projections]:
    counted = Projections(load_demo_experts()["base"].unet)
    yield counted
    counted.close()


def test_prompts_are_projected_once_a_run(folder: Path, projections: Projections) -> None:
    finish_alone(prepare_run(ask("text_to_image", folder, num_inference_steps=5)))
    assert projections.calls == len(projections.layers) == 14
    assert projections.added == 1


def test_in_company_they_are_projected_once_for_each_run(folder: Path, projections: Projections) -> None:
    runs = [prepare_run(ask("text_to_image", folder, num_inference_steps=steps)) for steps in (3, 5, 7)]
    finish_together(runs, random.Random(1), None)
    assert projections.calls == 3 * len(projections.layers)


def test_on_several_cores_each_row_is_projected_once_too(folder: Path, projections: Projections) -> None:
    runs = [prepare_run(ask("text_to_image", folder, num_inference_steps=steps)) for steps in (3, 5, 7)]
    lanes = Lanes(2)
    finish_together(runs, random.Random(1), lanes)
    lanes.close()
    assert projections.rows == 3 * 2 * len(projections.layers)


def test_guidance_that_begins_late_projects_the_negative_row_alone(folder: Path, projections: Projections) -> None:
    finish_alone(prepare_run(ask("text_to_image", folder, num_inference_steps=4, guidance_start=0.5)))
    assert projections.rows == 2 * len(projections.layers)


def test_what_would_take_too_much_memory_is_made_each_time(
    folder: Path, projections: Projections, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = finish_alone(prepare_run(ask("text_to_image", folder, num_inference_steps=3)))
    monkeypatch.setattr(told_module, "MOST_BYTES", 0)
    projections.calls = 0
    assert torch.equal(finish_alone(prepare_run(ask("text_to_image", folder, num_inference_steps=3))), expected)
    assert projections.calls == 3 * len(projections.layers)


def test_a_changing_prompt_is_projected_once_for_each_of_its_words(folder: Path, projections: Projections) -> None:
    finish_alone(prepare_run(ask("text_to_image", folder, prompt=PROMPTS[2], num_inference_steps=6)))
    assert projections.calls == 2 * len(projections.layers)


def test_sdxl_has_140_such_projections(true_size_unet: Any) -> None:
    assert 2 * len(cross_attentions(true_size_unet)) == 140


@pytest.fixture(scope="module")
def true_size_unet() -> Any:
    from pipelines.components.single_file import CONFIGS

    with torch.device("meta"):
        return cast(Any, KeepingUNet).from_config(KeepingUNet.load_config(CONFIGS / "base", subfolder="unet"))


@pytest.mark.parametrize(("pictures", "tolerance"), [(1, 0.0), (3, 5e-6)])
def test_kept_projections_change_no_bit_of_a_picture(folder: Path, pictures: int, tolerance: float) -> None:
    """Of several pictures one is kept: the same rows at other places of a product may differ in the last bit."""
    call = prepare_run(ask("text_to_image", folder, num_images_per_prompt=pictures)).ask()
    with torch.inference_mode():
        first, second = predict([call])[0], predict([call])[0]
        plain = call.unet(call.sample, call.timestep, **rows_of(call).arguments, return_dict=False)[0]
    assert torch.equal(first, plain)
    assert (second - plain).abs().max() <= tolerance


def test_what_a_run_keeps_goes_with_its_segment(folder: Path) -> None:
    run = prepare_run(ask("text_to_image", folder, denoising_end=0.5, num_inference_steps=6, deep_cache_interval=2))
    told = weakref.ref(run.ask().share.told)
    with torch.inference_mode():
        while run.advance() == "base":
            pass
    gc.collect()
    assert told() is None
    assert run.segments[0].deep_cache is not None
    assert run.segments[0].deep_cache.features is None


# Deep features from step to step


def test_deep_blocks_are_computed_in_every_nth_step_alone(folder: Path) -> None:
    unet = load_demo_experts()["base"].unet
    computed: list[Any] = []
    hook = unet.mid_block.register_forward_hook(lambda *_: computed.append(1))
    finish_alone(prepare_run(ask("text_to_image", folder, num_inference_steps=7, deep_cache_interval=3)))
    hook.remove()
    assert len(computed) == 3, "steps 1, 4 and 7"


def test_fresh_deep_features_change_no_bit(folder: Path) -> None:
    call = prepare_run(ask("text_to_image", folder)).ask()
    with torch.inference_mode():
        prediction, deep = call.unet(call.sample, call.timestep, rows=rows_of(call), gives_deep=True)
        again = call.unet(call.sample, call.timestep, rows=rows_of(call), deep=deep)
    assert torch.equal(prediction, again)


def test_words_that_come_on_the_way_are_read_at_once(folder: Path) -> None:
    values = {"prompt": "a [fox|cat]", "num_inference_steps": 4, "deep_cache_interval": 2}
    run = prepare_run(ask("text_to_image", folder, **values))
    is_shallow = []
    with torch.inference_mode():
        while not run.is_done:
            is_shallow.append(run.ask().is_shallow)
            run.advance()
    assert not any(is_shallow), "each step says something else than the one before"


def test_unguided_steps_go_on_with_the_positive_features(folder: Path) -> None:
    values = {"num_inference_steps": 4, "guidance_end": 0.5, "deep_cache_interval": 4}
    run = prepare_run(ask("text_to_image", folder, **values))
    with torch.inference_mode():
        run.advance()
        run.advance()
        call = run.ask()
    assert (len(call.sample), call.is_shallow) == (1, True)
    assert len(finish_alone(run)) == 1


def rows_of(call: Call) -> Rows:
    return Rows([call.share])


# The engine


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of runs in each UNet call that the engine makes."""
    made: list[int] = []
    real = rounds.predict

    def note(calls: Sequence[Call], *options: Any) -> list[torch.Tensor]:
        made.append(len(calls))
        return real(calls, *options)

    monkeypatch.setattr(rounds, "predict", note)
    return made


@pytest.fixture
def together(manager: PipelineManager, monkeypatch: pytest.MonkeyPatch) -> PipelineManager:
    """The studio as if every company gained, whatever the machine is busy with."""
    monkeypatch.setattr(manager._engine.rounds.costs, "of", lambda kind, rows: 1.0)
    return manager


def submit_all(manager: PipelineManager, folder: Path, *wanted: dict[str, Any]) -> list[Job]:
    jobs = []
    for k, values in enumerate(wanted):
        rest = {"task": "text_to_image", "owner": f"visitor {k}", **values}
        owner, task = rest.pop("owner"), rest.pop("task")
        jobs.append(manager.submit(ask(task, folder, **rest), owner))
    return jobs


def pixels(job: Job) -> np.ndarray:
    return np.asarray(Image.open(job.result(60).files[0])).astype(int)


def test_visitors_share_calls_and_get_the_pictures_they_get_alone(
    together: PipelineManager, folder: Path, calls: list[int]
) -> None:
    wanted = [
        {"num_inference_steps": 12},
        {"num_inference_steps": 9, "scheduler": "euler_ancestral", "prompt": PROMPTS[1], "seed": 2},
        {"num_inference_steps": 6, "task": "inpaint", "seed": 3},
        {"num_inference_steps": 10, "guidance_scale": 1, "seed": 4},
    ]
    alone = [pixels(submit_all(together, folder, values)[0]) for values in wanted]
    steps, calls[:] = len(calls), []
    for mine, theirs in zip(submit_all(together, folder, *wanted), alone, strict=True):
        assert np.abs(pixels(mine) - theirs).max() <= 1
    assert sum(calls) == steps
    assert max(calls) >= 3
    assert len(calls) < 0.7 * steps


def test_the_jobs_of_a_lone_visitor_share_calls_too(together: PipelineManager, folder: Path, calls: list[int]) -> None:
    wanted = [{"num_inference_steps": 12, "seed": seed, "owner": "the same"} for seed in (1, 2, 3)]
    for job in submit_all(together, folder, *wanted):
        job.result(60)
    assert max(calls) >= 2


def test_a_short_job_waits_for_one_step_of_a_long_one_a_round(
    together: PipelineManager, folder: Path, calls: list[int]
) -> None:
    long = submit_all(together, folder, {"num_inference_steps": 100})[0]
    next(event for event in long.events() if isinstance(event, Step))
    before = len(calls)
    short = submit_all(together, folder, {"num_inference_steps": 4, "owner": "another"})[0]
    short.result(60)
    assert len(calls) - before <= 12, "4 together, and those beside preparing, decoding and saving"
    long.cancel()


def test_a_preview_is_there_after_the_first_step(together: PipelineManager, folder: Path) -> None:
    long = submit_all(together, folder, {"num_inference_steps": 60})[0]
    next(event for event in long.events() if isinstance(event, Step))
    short = submit_all(together, folder, {"num_inference_steps": 4, "owner": "another"})[0]
    first = next(event for event in short.events() if isinstance(event, Step) and event.preview)
    assert first.index <= 2
    long.cancel()
    short.result(60)


def test_a_company_too_large_for_the_memory_goes_on_one_by_one(
    together: PipelineManager, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = rounds.predict, []

    def run_out(calls: Sequence[Call], *options: Any) -> list[torch.Tensor]:
        if len(calls) > 1:
            failed.append(len(calls))
            raise torch.OutOfMemoryError("planted: CUDA out of memory")
        return real(calls, *options)

    wanted = ({"num_inference_steps": 8}, {"num_inference_steps": 8, "seed": 2})
    alone = [pixels(submit_all(together, folder, values)[0]) for values in wanted]
    monkeypatch.setattr(rounds, "predict", run_out)
    jobs = submit_all(together, folder, *wanted)
    for job, theirs in zip(jobs, alone, strict=True):
        assert np.abs(pixels(job) - theirs).max() <= 1
        assert job.result(1).notices == ()
    assert failed == [2], "tried once, not in every round"
    together._engine.rounds.companies._failed.clear()


def test_who_cannot_ask_for_a_step_is_healed_and_the_others_go_on(
    together: PipelineManager, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Run.ask, []

    def run_out(run: Run) -> Call:
        asked.append(run)
        if len(asked) == 6:
            raise torch.OutOfMemoryError("planted: CUDA out of memory")
        return real(run)

    monkeypatch.setattr(Run, "ask", run_out)
    jobs = submit_all(together, folder, {"num_inference_steps": 8}, {"num_inference_steps": 8, "seed": 2})
    assert all(job.result(60).files for job in jobs)
    monkeypatch.undo()
    assert submit_all(together, folder, {})[0].result(60).files, "the studio goes on"


def test_whoever_breaks_a_company_ends_alone(
    together: PipelineManager, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rounds.predict

    def fail(calls: Sequence[Call], *options: Any) -> list[torch.Tensor]:
        if any(len(call.sample) == 4 for call in calls):  # the job with two pictures
            raise RuntimeError("planted")
        return real(calls, *options)

    monkeypatch.setattr(rounds, "predict", fail)
    healthy, broken = submit_all(together, folder, {"num_inference_steps": 8}, {"num_images_per_prompt": 2})
    assert healthy.result(60).files
    with pytest.raises(Exception, match="the device failed"):
        broken.result(60)


def test_loras_are_put_together_with_their_like_alone_and_leave_no_trace(
    base: Expert, folder: Path, tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loras").mkdir()
    write_diffusers_lora(tmp_path / "loras" / "ink.safetensors", base.unet, seed=1)
    host = Settings(model="demo", device="cpu", dtype="float32", models_dir=tmp_path, output_dir=tmp_path / "out")
    manager = PipelineManager(host)
    monkeypatch.setattr(manager._engine.rounds.costs, "of", lambda kind, rows: 1.0)
    ink = {"loras": [{"name": "ink", "weight": 0.8}]}
    plain, inked = (pixels(submit_all(manager, folder, values)[0]) for values in ({}, ink))
    assert not np.array_equal(plain, inked)
    calls.clear()
    wanted = [{}, ink, {}, ink, ink]
    for job, values in zip(submit_all(manager, folder, *wanted), wanted, strict=True):
        assert np.abs(pixels(job) - (inked if values else plain)).max() <= 1
    assert 1 < max(calls) <= 3
    for values, expected in ((ink, inked), ({}, plain), (ink, inked)):
        assert np.array_equal(pixels(submit_all(manager, folder, values)[0]), expected)
    manager.close()


@pytest.fixture
def with_loras(tmp_path: Path, base: Expert, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineManager]:
    """A studio as if every company gained, with the LoRA "ink" and "torn", which holds a NaN."""
    (tmp_path / "loras").mkdir()
    for name in ("ink", "torn"):
        write_diffusers_lora(tmp_path / "loras" / f"{name}.safetensors", base.unet, seed=1)
    tensors = load_file(tmp_path / "loras" / "torn.safetensors")
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, tmp_path / "loras" / "torn.safetensors")
    host = Settings(model="demo", device="cpu", dtype="float32", models_dir=tmp_path, output_dir=tmp_path / "out")
    manager = PipelineManager(host)
    monkeypatch.setattr(manager._engine.rounds.costs, "of", lambda kind, rows: 1.0)
    yield manager
    manager.close()


def test_a_lora_that_fails_to_load_ends_its_job_and_no_other_of_the_round(
    with_loras: PipelineManager, folder: Path, calls: list[int]
) -> None:
    ink, torn = ({"loras": [{"name": name}], "num_inference_steps": 8} for name in ("ink", "torn"))
    plain = {"num_inference_steps": 8}
    alone = [pixels(submit_all(with_loras, folder, values)[0]) for values in (plain, ink)]
    calls.clear()
    wanted = [plain, ink, torn, plain, ink]
    jobs = submit_all(with_loras, folder, *wanted)
    with pytest.raises(ModelError, match=r"torn\.safetensors: tensor \S+ holds NaN"):
        jobs.pop(2).result(60)
    for job, theirs in zip(jobs, (*alone, *alone), strict=True):
        assert np.abs(pixels(job) - theirs).max() <= 1
        assert job.result(1).notices == ()
    assert max(calls) == 2


def test_a_lora_that_cannot_be_read_again_ends_its_job_on_the_way(
    with_loras: PipelineManager, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When memory runs out LoRAs are let go of, and read again by those who need them."""
    theirs = pixels(submit_all(with_loras, folder, {})[0])
    inked, plain = submit_all(
        with_loras, folder, {"loras": [{"name": "ink"}], "num_inference_steps": 60}, {"num_inference_steps": 60}
    )
    next(event for event in inked.events() if isinstance(event, Step))
    (tmp_path / "loras" / "ink.safetensors").write_bytes(b"swept away")
    real, failed = rounds.predict, []

    def run_out(calls: Sequence[Call], *options: Any) -> list[torch.Tensor]:
        if not failed:
            failed.append(1)
            raise torch.OutOfMemoryError("planted: CUDA out of memory")
        return real(calls, *options)

    monkeypatch.setattr(rounds, "predict", run_out)
    with pytest.raises(ModelError, match=r"ink\.safetensors could not be read"):
        inked.result(60)
    assert plain.result(60).files
    assert np.array_equal(pixels(submit_all(with_loras, folder, {})[0]), theirs)


def test_who_is_stopped_while_a_call_is_made_takes_no_neighbours_answer(
    together: PipelineManager, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [{"seed": 2}, {"seed": 3, "prompt": PROMPTS[1]}, {"seed": 4, "guidance_scale": 1.0}]
    alone = [pixels(submit_all(together, folder, values)[0]) for values in others]
    real, jobs, stopped = rounds.predict, [], []

    def stop_the_first(calls: Sequence[Call], *options: Any) -> list[torch.Tensor]:
        answers = real(calls, *options)
        if len(calls) == 4 and not stopped:
            stopped.append(jobs[0].cancel())
        return answers

    monkeypatch.setattr(rounds, "predict", stop_the_first)
    jobs += submit_all(together, folder, {"num_inference_steps": 60}, *others)
    for mine, theirs in zip(jobs[1:], alone, strict=True):
        assert np.abs(pixels(mine) - theirs).max() <= 1
    assert stopped


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError("planted: CUDA out of memory"), NumericalError("x", "y")])
def test_deep_features_outlive_another_jobs_failure(
    together: PipelineManager, folder: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    deep = {"width": 96, "deep_cache_interval": 10, "num_inference_steps": 20, "seed": 2}
    alone = pixels(submit_all(together, folder, deep)[0])
    real, seen, failed = rounds.predict, [], []

    def fail_beside(calls: Sequence[Call], *options: Any) -> list[torch.Tensor]:
        seen.extend(call for call in calls if call.is_shallow)
        if not failed and len(seen) > 2 and calls[0].deep_cache is None:
            failed.append(1)
            raise failure
        return real(calls, *options)

    monkeypatch.setattr(rounds, "predict", fail_beside)
    long = submit_all(together, folder, {"num_inference_steps": 60})[0]
    next(event for event in long.events() if isinstance(event, Step))
    job = submit_all(together, folder, {**deep, "owner": "another"})[0]
    assert np.abs(pixels(job) - alone).max() <= 1
    assert failed
    long.cancel()


def test_a_stopped_job_leaves_its_company_at_once(together: PipelineManager, folder: Path) -> None:
    stopped, other = submit_all(together, folder, {"num_inference_steps": 150}, {"num_inference_steps": 30})
    next(event for event in stopped.events() if isinstance(event, Step))
    stopped.cancel()
    other.result(60)
    assert stopped.is_finished
