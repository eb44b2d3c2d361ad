"""Confidence intervals, and what becomes of figures: aims met or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.card import EXAMS, write_card
from training.intervals import estimate, mean_interval, share_interval, wilson
from training.subjects import STYLES
from training.verdicts import AIMS, NOT_MEASURED, is_monotone, judge_aims, show


def test_intervals_hold_the_share_and_narrow_with_the_count() -> None:
    low, high = wilson(0.95, 100)
    assert low < 0.95 < high
    assert wilson(0.95, 1000)[0] > low
    assert wilson(1.0, 10)[0] < 0.75
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_seeds_of_a_prompt_do_not_count_as_more_prompts() -> None:
    answers = [index % 10 > 0 for index in range(100)]
    once, thrice = share_interval([answers]), share_interval([answers] * 3)
    assert thrice == pytest.approx(once, abs=0.01)
    others = [[(index + 37 * seed) % 10 > 0 for index in range(100)] for seed in range(3)]
    low, high = share_interval(others)
    assert high - low < once[1] - once[0]


def test_an_interval_of_agreeing_answers_is_not_certain() -> None:
    assert share_interval([[True] * 20] * 3) == wilson(1.0, 20)
    assert share_interval([[False] * 20])[1] > 0.1


def test_the_mean_of_scattered_values_lies_in_its_interval() -> None:
    values = [float(index % 7) for index in range(70)]
    low, high = mean_interval(values)
    assert low < 3.0 < high
    assert high - low < 1.2
    assert estimate("gain", [0.1] * 5, scale=100) == {"gain": 10.0, "gain_interval": [10.0, 10.0]}
    assert estimate("cats", [1.0] * 40, scale=100) == {"cats": 100.0, "cats_interval": [91.2, 100.0]}


@pytest.mark.parametrize("count", [10, 40, 200])
def test_an_error_more_never_raises_the_lower_bound(count: int) -> None:
    lows = [estimate("cats", [0.0] * wrong + [1.0] * (count - wrong), 3)["cats_interval"] for wrong in range(6)]
    assert lows == sorted(lows, reverse=True)


def test_a_series_must_rise_and_may_hesitate_only_within_the_tolerance() -> None:
    assert is_monotone([1, 2, 1.95, 3], 2, 0.1)
    assert not is_monotone([1, 2, 1.8, 3], 1, 0.1)
    assert not is_monotone([1, 1.5, 1.9], 1, 0.1)
    assert is_monotone([3, 2, 1], 1, 0.1, rising=False)
    assert not is_monotone([1, 2, 3], 1, 0.1, rising=False)


def test_what_was_not_measured_is_not_met() -> None:
    verdicts = judge_aims({})
    assert len(verdicts) == len(AIMS)
    assert {verdict.found for verdict in verdicts} == {NOT_MEASURED}
    assert not any(verdict.met for verdict in verdicts)


def test_aims_are_met_on_the_right_side_of_their_rule() -> None:
    good = {
        "background_percent": 98.0,
        "guidance_both_gain": 4.0,
        "guidance_both_gain_interval": [0.5, 7.0],
        "megabytes": 39.9,
    }
    bad = {
        "background_percent": 97.9,
        "guidance_both_gain": 4.0,
        "guidance_both_gain_interval": [-0.5, 7.0],
        "megabytes": 41.0,
    }
    crop = {"crop_left_moves": -0.2, "crop_left_moves_interval": [-0.25, -0.15]}
    assert sum(verdict.met for verdict in judge_aims(good)) == 3
    assert sum(verdict.met for verdict in judge_aims(bad)) == 0
    assert sum(verdict.met for verdict in judge_aims(crop)) == 1


def test_one_style_that_is_never_drawn_is_not_hidden_by_the_others() -> None:
    figures = {f"{style.replace(' ', '_')}_percent": 100.0 for style in STYLES}
    assert [verdict.met for verdict in judge_aims(figures)].count(True) == 1
    verdict = next(one for one in judge_aims(figures | {"pixel_art_percent": 0.0}) if "least" in one.aim)
    assert not verdict.met
    assert "pixel art" in verdict.found


def test_guidance_must_gain_unless_nothing_is_left_to_gain() -> None:
    def is_met(before: float, gain: float) -> bool:
        figures = {"guidance_1_subject_percent": before, "guidance_subject_gain": gain}
        figures["guidance_subject_gain_interval"] = [gain - 1, gain + 1]
        return any(verdict.met for verdict in judge_aims(figures))

    assert is_met(90, 3)
    assert is_met(99, 0)
    assert not is_met(97, 0.5)
    assert not is_met(99, -0.5)


def test_a_card_names_every_aim_and_exam_also_before_all_is_measured(tmp_path: Path) -> None:
    figures = {"steps": 20, "guidance": 5.0, "seeds": 3, "subject_percent": 96.0, "subject_percent_interval": [94, 98]}
    write_card(tmp_path, figures, judge_aims(figures), {"UNet": 9_500_000})
    card = (tmp_path / "README.md").read_text("utf-8")
    assert all(f"| {aim.text} |" in card for aim in AIMS)
    assert all(f"| {text} |" in card for text in EXAMS.values())
    assert "| subject | 96.0 % (94 to 98) | at least 95 % | yes |" in card
    assert show(figures, "subject_percent", " %") == "96.0 % (94 to 98)"
