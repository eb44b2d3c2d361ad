"""A call's rows side by side on the cores of a CPU.

Threads inside one small operator wait for each other more than they work: the halves of the rows, each on cores of its
own, do not wait at all. For a single row of a small model it is measured whether one core is faster than all.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise

import torch

Tensors = tuple[torch.Tensor, ...]
Part = Callable[[int, int], Tensors]
"""Computes the rows from the first number up to the second: one tensor or more, each (rows, ...)."""

TRIALS = 3
"""Calls of a kind that are timed with all cores, and with one, before the faster is kept."""
SHORT_SECONDS = 0.1
"""Longer calls have large operators, which gain by all cores: nothing is tried."""
HOPELESS = 1.5
"""After a trial that took so much longer there is no other."""
KEPT_SECONDS = 300.0
KEPT_KINDS = 64


class Trials:
    """How long a kind's calls took with all cores, and with one."""

    def __init__(self) -> None:
        self.with_all: list[float] = []
        self.with_one: list[float] = []
        self.begun = time.monotonic()

    def wants_one(self) -> bool:
        """Whether the next call had better be made, or tried, with one core."""
        if not self.with_all or min(self.with_all) > SHORT_SECONDS:
            return False
        if len(self.with_one) < TRIALS and len(self.with_one) < len(self.with_all):
            return not self.with_one or min(self.with_one) < HOPELESS * min(self.with_all)
        is_decided = len(self.with_all) >= TRIALS
        return is_decided and bool(self.with_one) and min(self.with_one) < min(self.with_all)

    def note(self, with_one: bool, seconds: float) -> None:
        """Takes in a call's time."""
        times = self.with_one if with_one else self.with_all
        if len(times) < TRIALS:
            times.append(seconds)


class Lanes:
    """Cuts rows into as many parts as there are cores, or as there are rows. Its threads wait without spinning."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="lane")
        self._trials: dict[Hashable, Trials] = {}
        self._is_closed = False
        self._is_divided = True
        """Whether a lane has had fewer than all cores since they were last all asked for."""

    def run(self, part: Part, rows: int, kind: Hashable = None) -> Tensors:
        """The parts' results one after the other, when all have ended; calls of one `kind` take equally long."""
        lanes = min(self.cores, rows)
        if lanes == 1:
            return self._run_alone(part, rows, kind)
        bounds = [rows * lane // lanes for lane in range(lanes + 1)]
        waiting = [self._submit(part, start, end, self.cores // lanes) for start, end in pairwise(bounds)]
        wait(waiting)  # where one failed, too: what comes then must not meet a call that is still under way
        return tuple(torch.cat(parts) for parts in zip(*(one.result() for one in waiting), strict=True))

    def close(self) -> None:
        """Ends the threads; those that are started later have all cores again."""
        if not self._is_closed:
            self._is_closed = True
            self._threads.submit(torch.set_num_threads, self.cores)
            self._threads.shutdown()

    def _run_alone(self, part: Part, rows: int, kind: Hashable) -> Tensors:
        trials = self._trials.get(kind)
        if trials is None or time.monotonic() - trials.begun > KEPT_SECONDS:
            trials = self._trials[kind] = Trials()
            if len(self._trials) > KEPT_KINDS:
                self._trials.pop(next(iter(self._trials)))
        with_one = self.cores > 1 and trials.wants_one()
        started = time.perf_counter()
        if with_one:
            result = self._submit(part, 0, rows, 1).result()
        else:
            if self._is_divided:  # some libraries count threads for the whole process
                torch.set_num_threads(self.cores)
                self._is_divided = False
            result = part(0, rows)
        trials.note(with_one, time.perf_counter() - started)
        return result

    def _submit(self, part: Part, start: int, end: int, threads: int) -> Future[Tensors]:
        self._is_divided = True
        without_gradients = torch.is_inference_mode_enabled()

        def run() -> Tensors:
            torch.set_num_threads(threads)  # of this thread, and of those that are started later
            with torch.inference_mode(without_gradients):
                return part(start, end)

        return self._threads.submit(run)
