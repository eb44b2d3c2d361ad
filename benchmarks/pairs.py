"""Timing two ways of doing one thing in turns, so that a drifting machine slows both alike."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """CPU seconds of both ways, pair by pair."""

    name: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Ours over theirs, pair by pair, smallest first."""
        return sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    def row(self) -> str:
        """One line of the table: medians in CPU seconds, then the ratio's median and range."""
        ratios = self.ratios
        return (
            f"| {self.name} | {statistics.median(self.ours):.3f} | {statistics.median(self.theirs):.3f} "
            f"| {self.ratio:.3f} | {ratios[0]:.3f} to {ratios[-1]:.3f} |"
        )


HEADER = "| measure | studio, CPU s | stock diffusers, CPU s | ratio, median | range |\n|---|---|---|---|---|"


def compare(name: str, ours: Callable[[int], object], theirs: Callable[[int], object], pairs: int) -> Comparison:
    """Runs both ways `pairs` times in turns, after one uncounted turn each; each call gets the turn's number."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-1, pairs):
        order = ((ours, times[0]), (theirs, times[1]))
        for way, taken in order if turn % 2 else order[::-1]:
            start = time.process_time()
            way(turn)
            if turn >= 0:
                taken.append(time.process_time() - start)
    return Comparison(name, tuple(times[0]), tuple(times[1]))
