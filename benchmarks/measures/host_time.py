"""What the host does in a step beside calling the UNet: guidance, the scheduler, events, whose turn it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from benchmarks.figures import Figure, Promise
from benchmarks.pairs import Spread, Taken
from benchmarks.scene import Scene, base_of, make_request, new_prompt
from pipelines.manager import PipelineManager

MOST_MS = 0.4
STEPS = 20
NOTHING = Taken(0.0, 0.0)
Times = tuple[float, float]
"""Of the clock on the wall, and of the thread's CPU time, in seconds."""


@dataclass
class StepClock:
    """Time between the end of one UNet call and the start of the next, in the thread that makes them."""

    gaps: list[Taken] = field(default_factory=list)
    _left: Times | None = None
    _waited: Taken = NOTHING

    def enter(self, *_: Any) -> None:
        """Before a call."""
        now = _now()  # first of all, as it comes last when a call is left: the clock's own work is no step's
        if self._left is not None:
            self.gaps.append(_between(self._left, now) - self._waited)
        self._left, self._waited = None, NOTHING

    def leave(self, *_: Any) -> None:
        """After it."""
        self._left = _now()

    def forget(self) -> None:
        """What lies between two runs is no step's."""
        self._left = None

    def wait(self, keep: Callable[[], None]) -> Callable[[], None]:
        """`keep` as it is, and what it waits for the device is not counted."""

        def kept() -> None:
            before = _now()
            keep()
            self._waited = _between(before, _now())

        return kept


def measure(scene: Scene) -> list[Figure]:
    """For one run of the embedded model, on one thread."""
    with scene.studio("tiny", threads=1) as manager, watch_steps(manager) as clock:
        for turn in range(scene.pairs + 1):
            if turn == 1:
                clock.gaps.clear()  # of the warm-up
            job = manager.submit(make_request(new_prompt(turn), STEPS))
            for _ in job.events():
                pass  # heard as the page hears them: whoever is woken takes time from the device's thread
            job.result(600)
            clock.forget()
    promise = Promise("at most", MOST_MS)
    cpu, wall = ([1000 * getattr(gap, kind) for gap in clock.gaps] for kind in ("cpu", "wall"))
    return [
        Figure("a step outside the UNet, CPU time", Spread.of(cpu), "ms", promise, samples={"ms": cpu}),
        Figure("a step outside the UNet, wall time", Spread.of(wall), "ms", samples={"ms": wall}),
        Figure("the same with its share of previews", Spread.of([sum(cpu) / len(cpu)]), "ms"),
    ]


@contextmanager
def watch_steps(manager: PipelineManager) -> Iterator[StepClock]:
    """The clock of what `manager` draws alone, on one thread."""
    clock, unet, pace = StepClock(), base_of(manager).unet, manager._engine.rounds.pace
    hooks = [unet.register_forward_pre_hook(clock.enter), unet.register_forward_hook(clock.leave)]
    waits = patch.object(pace, "keep", clock.wait(pace.keep)) if pace.device.type == "cuda" else nullcontext()
    try:
        with waits:
            yield clock
    finally:
        for hook in hooks:
            hook.remove()


def _now() -> Times:
    return time.perf_counter(), time.thread_time()


def _between(before: Times, after: Times) -> Taken:
    return Taken(after[0] - before[0], after[1] - before[1])
