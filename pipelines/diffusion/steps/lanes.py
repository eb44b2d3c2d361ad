"""A call's rows side by side on the cores of a CPU.

Two threads inside one small operator wait for each other more than they work; two halves of the rows, each on a core
of its own, do not wait at all.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

Tensors = tuple[torch.Tensor, ...]
Part = Callable[[int, int], Tensors]
"""Computes the rows from the first number up to the second: one tensor or more, each (rows, ...)."""


class Lanes:
    """Cuts rows into as many parts as there are cores, or as there are rows. Its threads wait without spinning."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="lane")

    def run(self, part: Part, rows: int) -> Tensors:
        """The parts' results one after the other."""
        lanes = min(self.cores, rows)
        if lanes == 1:
            return part(0, rows)
        threads, without_gradients = self.cores // lanes, torch.is_inference_mode_enabled()

        def run(start: int, end: int) -> Tensors:
            torch.set_num_threads(threads)  # of this thread alone
            with torch.inference_mode(without_gradients):
                return part(start, end)

        bounds = [rows * lane // lanes for lane in range(lanes + 1)]
        results = self._threads.map(run, bounds[:-1], bounds[1:])
        return tuple(torch.cat(parts) for parts in zip(*results, strict=True))

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()
