"""Seconds that UNet calls take, measured as they are made.

Nothing is assumed of the device: on a large GPU ten runs may cost little more than one, on a CPU ten times as much.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

KEPT_KINDS = 64
NEW_SHARE = 0.25
"""What the newest measure counts for."""
KEPT_SECONDS = 60.0
KEPT_CALLS = 50
"""A measure is taken again after a minute, or after as long as so many calls take: what was slow may be fast by now."""


@dataclass(frozen=True)
class Measure:
    """Of one kind and number of rows. The first one is a warm-up, and is forgotten with the second."""

    seconds: float
    count: int
    noted: float

    @property
    def holds(self) -> bool:
        """Whether it says what such a call costs now."""
        age = time.monotonic() - self.noted
        return self.count > 1 and age < max(KEPT_SECONDS, KEPT_CALLS * self.seconds)


class Costs:
    """Seconds by the kind of a call and its number of rows."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._measures: OrderedDict[Hashable, dict[int, Measure]] = OrderedDict()
        self._pending: deque[tuple[Hashable, int, Any, Any]] = deque()

    def of(self, kind: Hashable, rows: int) -> float | None:
        """Seconds of a call; `None` where that was not measured, or too long ago."""
        self._collect()
        measure = self._measures.get(kind, {}).get(rows)
        return measure.seconds if measure is not None and measure.holds else None

    def expect(self, kind: Hashable, rows: int) -> float | None:
        """Seconds of a call that was not measured, in line with the two largest smaller ones; `None` without two.

        It is no more than a larger one was measured to take.
        """
        self._collect()
        known = {count: one.seconds for count, one in sorted(self._measures.get(kind, {}).items()) if one.holds}
        fewer = [count for count in known if count < rows]
        if len(fewer) < 2:
            return None
        first, second = fewer[-2:]
        slope = (known[second] - known[first]) / (second - first)
        return min([known[second] + slope * (rows - second), *(known[count] for count in known if count > rows)])

    def note(self, kind: Hashable, rows: int, seconds: float) -> None:
        """Takes in a measure."""
        known = self._measures.setdefault(kind, {})
        self._measures.move_to_end(kind)
        if len(self._measures) > KEPT_KINDS:
            self._measures.popitem(last=False)
        before = known.get(rows)
        if before is not None and before.holds:
            seconds = before.seconds + NEW_SHARE * (seconds - before.seconds)
        known[rows] = Measure(seconds, before.count + 1 if before else 1, time.monotonic())

    @contextmanager
    def measure(self, kind: Hashable, rows: int) -> Iterator[None]:
        """Times what happens inside; on an accelerator without waiting for it."""
        if self.device.type == "cpu":
            started = time.perf_counter()
            yield
            self.note(kind, rows, time.perf_counter() - started)
            return
        start = self._mark()
        yield
        self._pending.append((kind, rows, start, self._mark()))
        self._collect()

    def _mark(self) -> Any:
        """An event that is recorded where the device's work is queued."""
        if self.device.type == "mps":
            event: Any = torch.mps.Event(enable_timing=True)
            event.record()
            return event
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _collect(self) -> None:
        while self._pending and self._pending[0][3].query():
            kind, rows, start, end = self._pending.popleft()
            self.note(kind, rows, start.elapsed_time(end) / 1000)
