"""What the host does in a step beside calling the UNet: guidance, the scheduler, events, whose turn it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from benchmarks.figures import Figure, Promise
from benchmarks.pairs import Spread, Taken
from benchmarks.scene import Scene, base_of, make_request, new_prompt
from pipelines.manager import PipelineManager

MOST_MS = 0.4
STEPS = 20


@dataclass
class StepClock:
    """Time between the end of one UNet call and the start of the next, in the thread that makes them."""

    gaps: list[Taken] = field(default_factory=list)
    _left: Taken | None = None
    _waited: Taken | None = None

    def enter(self, *_: Any) -> None:
        """Before a call."""
        if self._left is not None:
            gap = _now() - self._left
            self.gaps.append(gap if self._waited is None else gap - self._waited)
        self._left = self._waited = None

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
            self._waited = _now() - before

        return kept


def measure(scene: Scene) -> list[Figure]:
    """For one run of the embedded model, on one thread."""
    with scene.studio("tiny", threads=1) as manager, watch_steps(manager) as clock:
        for turn in range(scene.pairs + 1):
            if turn == 1:
                clock.gaps.clear()  # of the warm-up
            manager.submit(make_request(new_prompt(turn), STEPS)).result(600)
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
    try:
        with patch.object(pace, "keep", clock.wait(pace.keep)):
            yield clock
    finally:
        for hook in hooks:
            hook.remove()


def _now() -> Taken:
    return Taken(time.perf_counter(), time.thread_time())
