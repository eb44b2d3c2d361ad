"""95 % confidence intervals: of shares, and of means over prompts whose pictures belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z = 1.96
RESAMPLES = 4000


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a share of `count` independent answers, 0..1."""
    if not count:
        return 0.0, 1.0
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    reach = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of the mean of independent values, one for each prompt."""
    array = np.asarray(values, np.float64)
    rows = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.percentile(array[rows].mean(1), (2.5, 97.5))
    return float(low), float(high)


def share_interval(answers: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Interval of the share of right answers, 0..1: (seeds, prompts), the seeds of a prompt being kept together.

    Near 0 and 1 a bootstrap claims too much; where every prompt agrees with itself Wilson's interval holds as well, and
    the wider end of the two is taken.
    """
    by_prompt = np.asarray(answers, np.float64).mean(0)
    if not len(by_prompt):
        return wilson(0.0, 0)
    return _bounds(by_prompt.tolist(), set(by_prompt.tolist()) <= {0.0, 1.0})


def _bounds(values: Sequence[float], are_answers: bool) -> tuple[float, float]:
    low, high = mean_interval(values)
    if not are_answers:
        return low, high
    wilson_low, wilson_high = wilson(float(np.mean(values)), len(values))
    return min(low, wilson_low), max(high, wilson_high)


def estimate(name: str, values: Sequence[float], digits: int = 1, scale: float = 1.0) -> dict[str, float | list[float]]:
    """Return the mean of values, one for each prompt, as figure `name`, and its interval as `name_interval`.

    Where all are 0 or 1 they are taken for answers, see `share_interval`.
    """
    low, high = _bounds(values, set(values) <= {0.0, 1.0})
    return {
        name: round(float(np.mean(values)) * scale, digits),
        f"{name}_interval": [round(low * scale, digits), round(high * scale, digits)],
    }
