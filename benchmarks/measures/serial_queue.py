"""Eight visitors who come one after the other: steps together, against Gradio's default queue before stock diffusers.

That queue runs one job at a time, in the order in which they came (`concurrency_limit=1`).
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.figures import Figure, Promise, ratio_figure
from benchmarks.pairs import Taken, take_turns
from benchmarks.scene import Scene, make_request, new_prompt
from pipelines.manager import PipelineManager

PROMISES = {"tiny": 2.3, "mid-size": 1.3}
"""On all cores of a CPU, against stock diffusers as it comes: in float32."""
JOBS = 8
STEPS = 20
STEPS_BETWEEN = 2
"""Stock's steps between two arrivals."""


@dataclass(frozen=True)
class Served:
    """What it took until all were served, and the mean of what each waited for theirs."""

    all: Taken
    wait_seconds: float


def measure(scene: Scene) -> list[Figure]:
    """Until all have their pictures, and the mean wait; the small model on one thread too."""
    figures = []
    for size in PROMISES:
        for threads in scene.threads(one_too=size == "tiny"):
            figures += measure_size(scene, size, threads)
    return figures


def measure_size(scene: Scene, size: str, threads: int) -> list[Figure]:
    """Ours, stock's in float32 and stock's told bfloat16, in turns, with the same arrivals."""
    jobs, steps = (3, 4) if scene.quick else (JOBS, STEPS)
    pairs = scene.pairs if size == "tiny" else scene.few
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    with scene.studio(size, threads) as manager:
        pipelines = {name: scene.stock(size, dtype) for name, dtype in dtypes.items()}
        alone = scene.clock.time(lambda: scene.draw_stock(pipelines["float32"], new_prompt(0), steps))
        between = alone.wall * STEPS_BETWEEN / steps

        def ours(turn: int) -> Served:
            return serve_together(manager, prompts_of(turn, jobs), steps, between)

        def stock(pipeline: Any) -> Callable[[int], Served]:
            return lambda turn: serve_in_order(scene, pipeline, prompts_of(turn, jobs), steps, between, threads)

        ways: dict[str, Callable[[int], Served]] = {"ours": ours}
        served = take_turns(ways | {name: stock(pipeline) for name, pipeline in pipelines.items()}, pairs)
    figures = []
    on = "one thread" if threads == 1 else f"{threads} threads"
    for name in dtypes:
        theirs, mine = ([each.all for each in served[way]] for way in (name, "ours"))
        waits = [[Taken(each.wait_seconds, 0) for each in served[way]] for way in (name, "ours")]
        is_promised = name == "float32" and threads == scene.cores
        promise = scene.on_cpu(Promise("at least", PROMISES[size])) if is_promised else None
        title = f"{size}, {jobs} jobs of {steps} steps, {on}, against a serial queue of stock {name}"
        figures.append(ratio_figure(f"{title}, until all are done", theirs, mine, "wall", promise))
        figures.append(ratio_figure(f"{title}, CPU time", theirs, mine, "cpu"))
        figures.append(ratio_figure(f"{title}, mean wait", waits[0], waits[1], "wall"))
    return figures


def prompts_of(turn: int, jobs: int) -> list[str]:
    """A text for each visitor, new in each turn."""
    return [new_prompt(turn, job) for job in range(jobs)]


def serve_together(manager: PipelineManager, prompts: list[str], steps: int, between: float) -> Served:
    """Each job submitted by a visitor of its own when it comes."""
    came: list[float] = []
    gone: list[float] = []
    before = _now()
    jobs = []
    for prompt in prompts:
        _wait_until(before.wall + len(jobs) * between)
        came.append(time.perf_counter())
        job = manager.submit(make_request(prompt, steps), f"visitor {len(jobs)}")
        job.when_finished(lambda: gone.append(time.perf_counter()))
        jobs.append(job)
    for job in jobs:
        job.result(3600)
    return Served(_now() - before, (sum(gone) - sum(came)) / len(jobs))


def serve_in_order(scene: Scene, pipeline: Any, prompts: list[str], steps: int, between: float, threads: int) -> Served:
    """Each job put into a queue when it comes; one worker takes them in their order."""
    waiting: queue.Queue[str | None] = queue.Queue()
    came: list[float] = []
    gone: list[float] = []

    def work() -> None:
        torch.set_num_threads(threads)  # of this thread
        while (prompt := waiting.get()) is not None:
            scene.draw_stock(pipeline, prompt, steps)
            gone.append(time.perf_counter())

    worker = threading.Thread(target=work)
    before = _now()
    worker.start()
    for number, prompt in enumerate(prompts):
        _wait_until(before.wall + number * between)
        came.append(time.perf_counter())
        waiting.put(prompt)
    waiting.put(None)
    worker.join()
    if len(gone) < len(prompts):
        raise RuntimeError("stock diffusers failed while drawing")
    return Served(_now() - before, (sum(gone) - sum(came)) / len(prompts))


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.perf_counter()))


def _now() -> Taken:
    return Taken(time.perf_counter(), time.process_time())
