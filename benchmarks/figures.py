"""A measured figure, what was promised of it, and how far it is from that."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.pairs import ClockName, Spread, Taken, ratios

Bound = Literal["at least", "at most", "exactly"]
DECIMALS = {"x": 2, "%": 2, "s": 2, "ms": 3, "MB": 1, "GB": 3, "dB": 1, "": 0, "LPIPS": 3}
"""Units, and what is shown of their figures."""


@dataclass(frozen=True)
class Promise:
    """What a figure may be."""

    kind: Bound
    bound: float

    def is_kept(self, value: float) -> bool:
        """Whether `value` is as promised."""
        return {"at least": value >= self.bound, "at most": value <= self.bound}.get(self.kind, value == self.bound)

    def margin(self, value: float) -> float:
        """How far the figure is on the good side of its bound, as a share of the bound; below 0 it is broken."""
        if self.kind == "exactly" or self.bound == 0:
            return 0.0 if self.is_kept(value) else -abs(value - self.bound) / (abs(self.bound) or 1.0)
        share = value / self.bound - 1
        return share if self.kind == "at least" else -share


@dataclass(frozen=True)
class Figure:
    """One line of a table."""

    name: str
    spread: Spread | None
    """`None` where it was not measured; `note` says why."""
    unit: str = "x"
    promise: Promise | None = None
    note: str = ""
    samples: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What it was computed from, for the JSON."""

    @property
    def is_kept(self) -> bool:
        """Whether its promise is kept, if it has one."""
        return self.promise is None or (self.spread is not None and self.promise.is_kept(self.spread.median))

    def row(self) -> str:
        """The line: figure, quartiles, promise, how far from it, verdict."""
        if self.spread is None:
            return f"| {self.name} | not measured here: {self.note} | | | | |"
        shown = show(self.spread.median, self.unit)
        if self.note:
            shown += f" ({self.note})"
        is_spread = self.spread.low != self.spread.high
        between = f"{show(self.spread.low, self.unit)} to {show(self.spread.high, self.unit)}" if is_spread else ""
        if self.promise is None:
            return f"| {self.name} | {shown} | {between} | | | |"
        promised = f"{self.promise.kind} {show(self.promise.bound, self.unit)}"
        verdict = "kept" if self.is_kept else "BROKEN"
        margin = f"{self.promise.margin(self.spread.median):+.0%}"
        return f"| {self.name} | {shown} | {between} | {promised} | {margin} | {verdict} |"

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        value = None if self.spread is None else self.spread.median
        promise = self.promise
        return {
            "name": self.name,
            "unit": self.unit,
            **({"median": None} if self.spread is None else asdict(self.spread)),
            "note": self.note,
            "promise": None if promise is None else f"{promise.kind} {promise.bound}",
            "margin": None if promise is None or value is None else promise.margin(value),
            "kept": self.is_kept,
            "samples": dict(self.samples),
        }


HEADER = "| {title} | figure | quartiles | promised | to spare | |\n|---|---|---|---|---|---|"


def ratio_figure(
    name: str,
    of: Sequence[Taken],
    to: Sequence[Taken],
    clock: ClockName,
    promise: Promise | None = None,
) -> Figure:
    """The median of `of` over `to`, pair by pair."""
    samples = {"of": [asdict(taken) for taken in of], "to": [asdict(taken) for taken in to], "clock": clock}
    return Figure(name, Spread.of(ratios(of, to, clock)), "x", promise, samples=samples)


def counted(name: str, count: float, unit: str = "", promise: Promise | None = None, note: str = "") -> Figure:
    """A figure that has no spread."""
    return Figure(name, Spread(count, count, count), unit, promise, note)


def show(value: float, unit: str) -> str:
    """A figure for the table."""
    return f"{value:,.{DECIMALS[unit]}f} {unit}".strip()
