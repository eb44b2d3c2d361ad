"""The picture of a run: how far each promised figure is on the good side of its bound."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Figure, Promise

LEAST_SHARE = 0.05
"""The left end of the axis; what is worse is drawn there."""
MOST_SHARE = 20.0
"""The right end."""
TICKS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20)


def draw_plot(figures: Mapping[str, Sequence[Figure]], title: str, path: Path) -> None:
    """A bar for each promise that has a size: right of 1 it is kept, and n times better than promised at n."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a developer's: nobody else needs it installed
    from matplotlib.figure import Figure as Canvas

    shown = [(figure, figure.promise) for some in figures.values() for figure in some if _has_size(figure)]
    canvas = Canvas(figsize=(10, 1.2 + 0.32 * len(shown)), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots()
    for place, (figure, promise) in enumerate(shown):
        if figure.spread is None or promise is None:
            continue
        low, middle, high = sorted(share_of(promise, v) for v in (figure.spread.low, *_values(figure)))
        colour = "#3a7d44" if figure.is_kept else "#b3261e"
        axes.barh(place, middle - 1, left=1, color=colour, height=0.6)
        axes.plot([low, high], [place, place], color="black", linewidth=1.2)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.set_yticks(range(len(shown)), [figure.name for figure, _ in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("times better than promised, with quartiles")
    axes.set_title(title, fontsize=10)
    canvas.savefig(path, dpi=110)


def share_of(promise: Promise, value: float) -> float:
    """How many times better than promised a value is; 1 is as promised, below 1 it is broken."""
    share = value / promise.bound if promise.kind == "at least" else promise.bound / max(value, 1e-9)
    return min(max(share, LEAST_SHARE), MOST_SHARE)


def _has_size(figure: Figure) -> bool:
    promise = figure.promise
    return promise is not None and promise.kind != "exactly" and promise.bound > 0 and figure.spread is not None


def _values(figure: Figure) -> tuple[float, float]:
    return (figure.spread.median, figure.spread.high) if figure.spread else (1.0, 1.0)
