"""What the model must do, and whether the figures say that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from training.subjects import STYLES

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


def monotone(text: str, key: str, least: float, tolerance: float, rising: bool = True) -> Aim:
    """Ask for a series that rises (or falls) by `least` from end to end, with no step back over `tolerance`."""
    rule = f"{'rises' if rising else 'falls'} by {least:g}, no step back over {tolerance:g}"
    return Aim(text, rule, lambda figures: (show(figures, key), is_monotone(figures[key], least, tolerance, rising)))


def is_monotone(values: list[float], least: float, tolerance: float, rising: bool = True) -> bool:
    """Say whether values rise (or fall) by `least` altogether and never turn back by more than `tolerance`."""
    signed = values if rising else [-value for value in values]
    return signed[-1] - signed[0] >= least and all(b - a >= -tolerance for a, b in pairwise(signed))


def raised_or_perfect(text: str, gain: str, before: str) -> Aim:
    """Ask for a gain whose interval is over 0, unless nothing was left to gain: under 2 points."""
    rule = "interval over 0 points, or from 98 % on without a loss"

    def check(figures: Figures) -> tuple[str, bool]:
        found = f"{show(figures, gain, ' points')}, from {figures[before]} %"
        is_perfect = figures[before] >= 98 and figures[gain] >= 0
        return found, is_perfect or figures[f"{gain}_interval"][0] > 0

    return Aim(text, rule, check)


def lowest_style(figures: Figures) -> tuple[str, bool]:
    """Find the style that is drawn least often."""
    keys = [f"{style.replace(' ', '_')}_percent" for style in STYLES]
    lowest = min(keys, key=lambda key: figures[key])
    return f"{show(figures, lowest, ' %')}, {STYLES[keys.index(lowest)]}", figures[lowest] >= 80


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
    Aim("the style that is drawn least often", "at least 80 %", lowest_style),
    raised_or_perfect("guidance 1 to 5, one subject", "guidance_subject_gain", "guidance_1_subject_percent"),
    surely_over("guidance 1 to 5, both of two subjects", "guidance_both_gain", 0, " points"),
    surely_over("pixels that a colour's background loses as negative prompt", "negative_share_drop", 0, " points"),
    surely_over("fewer keep it than with an unasked subject as negative", "negative_kept_drop", 0, " points"),
    monotone('extent of the subject by the weight of "large"', "extent_by_weight_of_large", 0.05, 0.01),
    monotone('extent of the subject by the weight of "small"', "extent_by_weight_of_small", 0.05, 0.01, rising=False),
    monotone("distance from the source by strength", "distance_by_strength", 10, 0.5),
    at_least('half a picture, its middle, inpainted with "a cat"', "inpainted_middle_percent", 80),
    at_least('its right half, with "a cat on the right on a ... background"', "inpainted_side_percent", 80),
    at_least('its right half, with "a cat" alone', "inpainted_bare_side_percent", 80),
    surely_under("sharpness at original size 64 over that at 1024", "small_original_sharpness_share", 0.9, ""),
    surely_under("crop of 64 at the left moves the subject to the left", "crop_left_moves", -0.1, ""),
    surely_under("crop of 64 at the top moves the subject up", "crop_top_moves", -0.1, ""),
    surely_over("pictures sharper with the refiner", "sharper_with_refiner_percent", 50, " %"),
    surely_over("closer to clean pictures with the refiner", "psnr_gain_of_refiner", 0, " dB"),
    at_most("seconds of a picture, two CPU cores", "picture_seconds", 1.5, " s"),
    at_most("size of the folder", "megabytes", 40, " MB"),
    at_most("fp32 against bf16 on a CPU", "bf16_difference", 2, " grey levels"),
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
