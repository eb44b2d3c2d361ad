"""Seconds that UNet calls take, measured as they are made; and whether calls had better be one.

Nothing is assumed of the device: on a large GPU ten runs may cost little more than one, on a CPU ten times as much.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Hashable

import torch

KEPT_KINDS = 64
NEW_SHARE = 0.25
"""What the newest measure counts for; the first one of a kind is a warm-up and counts only until the second."""
FORGET_SECONDS = 60.0
"""After so long a measure is taken again: what was slow together may be fast by now."""


class Costs:
    """Seconds by the kind of a call and its number of rows."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds: OrderedDict[Hashable, dict[int, tuple[float, int, float]]] = OrderedDict()
        self._pending: deque[tuple[Hashable, int, torch.cuda.Event, torch.cuda.Event]] = deque()

    def note(self, kind: Hashable, rows: int, seconds: float) -> None:
        """Takes in a measure."""
        known = self._seconds.setdefault(kind, {})
        self._seconds.move_to_end(kind)
        if len(self._seconds) > KEPT_KINDS:
            self._seconds.popitem(last=False)
        before, count, _ = known.get(rows, (seconds, 0, 0.0))
        share = NEW_SHARE if count > 1 else 1.0
        known[rows] = (before + share * (seconds - before), count + 1, time.monotonic())

    def measure(self, kind: Hashable, rows: int) -> "Measure":
        """`with costs.measure(kind, rows): ...` times what is inside; on CUDA without waiting for it."""
        return Measure(self, kind, rows)

    def of(self, kind: Hashable, rows: int) -> float | None:
        """Seconds of a call; by the nearest number of rows that was measured, in proportion, where this one was not.

        `None` where nothing of the kind was measured.
        """
        self._collect()
        known = {
            number: seconds
            for number, (seconds, _, noted) in self._seconds.get(kind, {}).items()
            if time.monotonic() - noted < FORGET_SECONDS
        }
        if not known:
            return None
        nearest = min(known, key=lambda number: abs(number - rows))
        return known[nearest] * rows / nearest

    def _collect(self) -> None:
        while self._pending and self._pending[0][3].query():
            kind, rows, start, end = self._pending.popleft()
            self.note(kind, rows, start.elapsed_time(end) / 1000)


class Measure:
    """The time of what happens inside."""

    def __init__(self, costs: Costs, kind: Hashable, rows: int) -> None:
        self.costs, self.kind, self.rows = costs, kind, rows

    def __enter__(self) -> None:
        if self.costs.device.type == "cuda":
            self.start = torch.cuda.Event(enable_timing=True)
            self.start.record(torch.cuda.current_stream(self.costs.device))
        else:
            self.started = time.perf_counter()

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            return
        if self.costs.device.type == "cuda":
            end = torch.cuda.Event(enable_timing=True)
            end.record(torch.cuda.current_stream(self.costs.device))
            self.costs._pending.append((self.kind, self.rows, self.start, end))
        else:
            self.costs.note(self.kind, self.rows, time.perf_counter() - self.started)
