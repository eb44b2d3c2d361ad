"""Ways of doing one thing, timed in turns, so that a drifting machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch

T = TypeVar("T")
ClockName = Literal["wall", "cpu"]


@dataclass(frozen=True)
class Taken:
    """Seconds by the clock on the wall, and CPU seconds of the whole process."""

    wall: float
    cpu: float

    def __sub__(self, other: "Taken") -> "Taken":
        return Taken(self.wall - other.wall, self.cpu - other.cpu)


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


class Clock:
    """Times what is done on a device, until it is done there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def time(self, action: Callable[[], object]) -> Taken:
        """What `action` takes."""
        before = self._now()
        action()
        return self._now() - before

    def timed(self, action: Callable[[int], object]) -> Callable[[int], Taken]:
        """`action` of a turn as a way for `take_turns`."""
        return lambda turn: self.time(lambda: action(turn))

    def _now(self) -> Taken:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return Taken(time.perf_counter(), time.process_time())


def take_turns(ways: Mapping[str, Callable[[int], T]], pairs: int) -> dict[str, list[T]]:
    """What each way gives in each turn, after one uncounted turn; every other turn goes backwards.

    Each call gets the turn's number, from 0, and -1 for the uncounted one.
    """
    given: dict[str, list[T]] = {name: [] for name in ways}
    for turn in range(-1, pairs):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            result = ways[name](turn)
            if turn >= 0:
                given[name].append(result)
    return given


def ratios(of: Sequence[Taken], to: Sequence[Taken], clock: ClockName) -> list[float]:
    """What `of` took of what `to` took, pair by pair."""
    return [getattr(a, clock) / getattr(b, clock) for a, b in zip(of, to, strict=True)]
