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

    Where all answers agree a bootstrap would claim certainty; Wilson's interval of the prompts stands in.
    """
    by_prompt = np.asarray(answers, np.float64).mean(0)
    share = float(by_prompt.mean()) if len(by_prompt) else 0.0
    if share in (0.0, 1.0):
        return wilson(share, len(by_prompt))
    return mean_interval(by_prompt.tolist())


def estimate(name: str, values: Sequence[float], digits: int = 1, scale: float = 1.0) -> dict[str, float | list[float]]:
    """Return the mean of values, one for each prompt, as figure `name`, and its interval as `name_interval`.

    Where all are 0 or all are 1 they are taken for answers that agree, see `share_interval`.
    """
    mean = float(np.mean(values))
    agreed = mean in (0.0, 1.0) and len(set(values)) == 1
    low, high = wilson(mean, len(values)) if agreed else mean_interval(values)
    return {
        name: round(mean * scale, digits),
        f"{name}_interval": [round(low * scale, digits), round(high * scale, digits)],
    }
