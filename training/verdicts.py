"""What the model must do, and whether the figures say that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Figures = dict[str, Any]
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """An aim, what was found, the rule, and whether it is met."""

    aim: str
    found: str
    rule: str
    met: bool


@dataclass(frozen=True)
class Aim:
    """An aim with its rule: `check` reads the figures and says what was found and whether that is enough."""

    text: str
    rule: str
    check: Callable[[Figures], tuple[str, bool]]


def at_least(text: str, key: str, limit: float, unit: str = " %") -> Aim:
    """Ask for a figure of at least `limit`."""
    return Aim(text, f"at least {limit:g}{unit}", lambda figures: (show(figures, key, unit), figures[key] >= limit))


def at_most(text: str, key: str, limit: float, unit: str) -> Aim:
    """Ask for a figure of at most `limit`."""
    return Aim(text, f"at most {limit:g}{unit}", lambda figures: (show(figures, key, unit), figures[key] <= limit))


def surely_over(text: str, key: str, limit: float, unit: str) -> Aim:
    """Ask for a mean whose whole confidence interval is over `limit`."""
    rule = f"interval over {limit:g}{unit}"
    return Aim(text, rule, lambda figures: (show(figures, key, unit), figures[f"{key}_interval"][0] > limit))


def surely_under(text: str, key: str, limit: float, unit: str) -> Aim:
    """Ask for a mean whose whole confidence interval is under `limit`."""
    rule = f"interval under {limit:g}{unit}"
    return Aim(text, rule, lambda figures: (show(figures, key, unit), figures[f"{key}_interval"][1] < limit))


def monotone(text: str, key: str, tolerance: float, rising: bool = True) -> Aim:
    """Ask for a series that rises (or falls) from end to end, and takes no step back of more than `tolerance`."""
    rule = f"{'rises' if rising else 'falls'}, no step back over {tolerance:g}"
    return Aim(text, rule, lambda figures: (show(figures, key), is_monotone(figures[key], tolerance, rising)))


def is_monotone(values: list[float], tolerance: float, rising: bool = True) -> bool:
    """Say whether values rise (or fall) by more than `tolerance` altogether and never turn back by more than it."""
    signed = values if rising else [-value for value in values]
    return signed[-1] - signed[0] > tolerance and all(b - a >= -tolerance for a, b in pairwise(signed))


def show(figures: Figures, key: str, unit: str = "") -> str:
    """Write a figure with its interval, if it has one; `not measured` if it is missing."""
    if key not in figures:
        return NOT_MEASURED
    if isinstance(figures[key], list):
        return ", ".join(str(value) for value in figures[key])
    interval = figures.get(f"{key}_interval")
    return f"{figures[key]}{unit}" + (f" ({interval[0]} to {interval[1]})" if interval else "")


AIMS: tuple[Aim, ...] = (
    at_least("background", "background_percent", 98),
    at_least("subject", "subject_percent", 95),
    at_least("both of two subjects", "both_percent", 80),
    at_least("of two subjects, left and right as asked", "order_percent", 80),
    at_least("one subject on the left or right", "side_percent", 80),
    at_least("words of size", "size_percent", 90),
    at_least("colour of the subject", "colour_percent", 80),
    at_least("word of style", "style_percent", 80),
    surely_over("guidance 1 to 5 raises the share of right subjects", "guidance_gain", 0, " points"),
    surely_over("a background's colour as negative prompt: fewer keep it", "negative_kept_drop", 0, " points"),
    surely_over("the same: share of the pixels that it loses", "negative_share_drop", 0, " points"),
    monotone('extent of the subject by the weight of "large"', "extent_by_weight_of_large", 0.01),
    monotone('extent of the subject by the weight of "small"', "extent_by_weight_of_small", 0.01, rising=False),
    monotone("distance from the source by strength", "distance_by_strength", 0.5),
    at_least('half a picture, its middle, inpainted with "a cat"', "inpainted_middle_percent", 80),
    at_least('its right half, with "a cat on the right on a ... background"', "inpainted_side_percent", 80),
    surely_under("sharpness at original size 64 over that at 1024", "small_original_sharpness_share", 0.9, ""),
    surely_under("crop of 64 at the left moves the subject to the left", "crop_left_moves", -0.05, ""),
    surely_under("crop of 64 at the top moves the subject up", "crop_top_moves", -0.05, ""),
    surely_over("pictures sharper with the refiner", "sharper_with_refiner_percent", 50, " %"),
    surely_over("closer to clean pictures with the refiner", "psnr_gain_of_refiner", 0, " dB"),
    at_most("seconds of a picture", "picture_seconds", 1.5, " s"),
    at_most("size of the folder", "megabytes", 40, " MB"),
    at_most("fp32 against bf16", "bf16_difference", 2, " grey levels"),
    at_least("of 64 held-out pictures, named by eye", "named_by_eye", 60, ""),
)


def judge_aims(figures: Figures) -> list[Verdict]:
    """Compare every aim with the figures; what was not measured is not met."""
    verdicts = []
    for aim in AIMS:
        try:
            found, met = aim.check(figures)
        except KeyError:
            found, met = NOT_MEASURED, False
        verdicts.append(Verdict(aim.text, found, aim.rule, bool(met)))
    return verdicts
