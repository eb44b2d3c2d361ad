"""A short job of one visitor while a long one of another is under way."""

import time

from benchmarks.figures import Figure, Promise, counted, ratio_figure
from benchmarks.models import SIZES
from benchmarks.pairs import Taken, take_turns
from benchmarks.scene import Scene, make_request, new_prompt
from pipelines.job import Job
from pipelines.manager import PipelineManager
from pipelines.schema.events import Step

MOST_RATIO = 2.0
MOST_STEPS = 2
LONG_STEPS = 50
SHORT_STEPS = 4


def measure(scene: Scene) -> list[Figure]:
    """Its time from request to result against its time alone, and the step of its first preview."""
    return [figure for size in SIZES for figure in measure_size(scene, size)]


def measure_size(scene: Scene, size: str) -> list[Figure]:
    """In turns: alone, and behind the long job."""
    first_previews: list[int] = []
    with scene.studio(size) as manager:

        def alone(turn: int) -> Taken:
            return draw_short(manager, turn, [])

        def behind(turn: int) -> Taken:
            long = manager.submit(make_request(new_prompt(turn), LONG_STEPS), "first visitor")
            next(event for event in long.events() if isinstance(event, Step))
            taken = draw_short(manager, turn, first_previews)
            if long.is_finished:
                raise RuntimeError("the long job was done before the short one")
            end(long)
            return taken

        times = take_turns({"alone": alone, "behind": behind}, scene.pairs)
    name = f"{size}, {SHORT_STEPS} steps behind {LONG_STEPS}"
    promise = Promise("at most", MOST_RATIO)
    return [
        ratio_figure(f"{name}, of their time alone", times["behind"], times["alone"], "wall", promise),
        counted(f"{name}, first preview at step", max(first_previews), promise=Promise("at most", MOST_STEPS)),
    ]


def draw_short(manager: PipelineManager, turn: int, first_previews: list[int]) -> Taken:
    """What it takes; the step of its first preview goes to `first_previews`."""
    before = Taken(time.perf_counter(), time.process_time())
    job = manager.submit(make_request(new_prompt(turn, job=1), SHORT_STEPS), "second visitor")
    shown = [event.index for event in job.events() if isinstance(event, Step) and event.preview]
    job.result(600)
    first_previews.append(shown[0] if shown else SHORT_STEPS)
    return Taken(time.perf_counter(), time.process_time()) - before


def end(job: Job) -> None:
    """Stops a job and waits until it is off the device."""
    job.cancel()
    for _ in job.events():
        pass
