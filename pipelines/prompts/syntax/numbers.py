"""Numbers as people type them into prompts."""

import math
import re

PATTERN = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
"""Without a sign."""
NUMBER = re.compile(rf"[+-]?{PATTERN}")


def read_number(words: str) -> float | None:
    """The number that the words are, or `None` for anything else and for what is not finite."""
    return float(words) if NUMBER.fullmatch(words) and math.isfinite(float(words)) else None
