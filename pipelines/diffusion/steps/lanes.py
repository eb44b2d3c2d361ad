"""A call's rows side by side on the cores of a CPU.

Threads inside one small operator wait for each other more than they work: the halves of the rows, each on cores of its
own, do not wait at all. For a single row it is measured whether one core is faster than all.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import torch

Tensors = tuple[torch.Tensor, ...]
Part = Callable[[int, int], Tensors]
"""Computes the rows from the first number up to the second: one tensor or more, each (rows, ...)."""

TRIALS = 3
"""Calls of a kind that are timed with one core, and with all, before the faster is kept."""
KEPT_KINDS = 64


class Lanes:
    """Cuts rows into as many parts as there are cores, or as there are rows. Its threads wait without spinning."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="lane")
        self._seconds: dict[Hashable, dict[int, list[float]]] = {}

    def run(self, part: Part, rows: int, kind: Hashable = None) -> Tensors:
        """The parts' results one after the other; calls of one `kind` take equally long."""
        lanes = min(self.cores, rows)
        if lanes == 1:
            return self._run_alone(part, rows, kind)
        bounds = [rows * lane // lanes for lane in range(lanes + 1)]
        waiting = [self._submit(part, start, end, self.cores // lanes) for start, end in pairwise(bounds)]
        return tuple(torch.cat(parts) for parts in zip(*(one.result() for one in waiting), strict=True))

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()

    def _run_alone(self, part: Part, rows: int, kind: Hashable) -> Tensors:
        seconds = self._seconds.setdefault(kind, {1: [], self.cores: []})
        if len(self._seconds) > KEPT_KINDS:
            self._seconds.pop(next(iter(self._seconds)))
        threads = min(seconds, key=lambda cores: (len(seconds[cores]) >= TRIALS, min(seconds[cores], default=0.0)))
        started = time.perf_counter()
        result = self._submit(part, 0, rows, threads).result()
        if len(seconds[threads]) < TRIALS:
            seconds[threads].append(time.perf_counter() - started)
        return result

    def _submit(self, part: Part, start: int, end: int, threads: int) -> Future[Tensors]:
        without_gradients = torch.is_inference_mode_enabled()

        def run() -> Tensors:
            torch.set_num_threads(threads)  # of this thread, and of those that are started later
            with torch.inference_mode(without_gradients):
                return part(start, end)

        return self._threads.submit(run)
