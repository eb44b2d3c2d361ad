"""Which steps are taken together, and what calls were measured to cost."""

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from pipelines.diffusion.steps.company import AVOIDED_SECONDS, TRIAL_SECONDS, Companies, Seat
from pipelines.diffusion.steps.costs import KEPT_CALLS, KEPT_KINDS, KEPT_SECONDS, Costs

MUCH = 10**9


@pytest.fixture
def costs() -> Costs:
    return Costs(torch.device("cpu"))


def learn(costs: Costs, seconds: Callable[[int], float], *counts: int, kind: str = "a") -> None:
    """What a studio knows after some rounds, of these numbers of rows."""
    for rows in counts or range(1, 33):
        for _ in range(2):
            costs.note(kind, rows, seconds(rows))


def seats(*names: str, kind: str = "a", rows: int = 2) -> list[Seat]:
    return [Seat(name, name.rstrip("0123456789"), kind, rows, 16) for name in names]


def form(costs: Costs, turns: list[Seat], guests: list[Seat] | None = None, most_area: int = MUCH) -> list[list[str]]:
    companies = Companies(costs).form(turns, guests or [], most_area)
    return [[seat.key for seat in company] for company in companies]


def test_steps_go_together_where_that_is_faster(costs: Costs) -> None:
    learn(costs, lambda rows: 1 + rows / 10)
    assert form(costs, seats("ann", "bob", "cy")) == [["ann", "bob", "cy"]]


def test_and_apart_where_it_is_slower(costs: Costs) -> None:
    learn(costs, lambda rows: rows**1.5)
    assert form(costs, seats("ann", "bob", "cy")) == [["ann"], ["bob"], ["cy"]]


def test_a_company_grows_only_as_far_as_it_gains(costs: Costs) -> None:
    learn(costs, lambda rows: rows if rows <= 4 else rows * 2)
    assert form(costs, seats("ann", "bob", "cy", "di")) == [["ann", "bob"], ["cy", "di"]]


def test_what_was_never_measured_is_tried(costs: Costs) -> None:
    assert form(costs, seats("ann", "bob")) == [["ann", "bob"]]
    learn(costs, lambda rows: rows, 2)
    assert form(costs, seats("ann", "bob")) == [["ann", "bob"]]


def test_a_company_that_cannot_be_judged_is_taken_apart_once(costs: Costs) -> None:
    learn(costs, lambda rows: rows, 4)
    assert form(costs, seats("ann", "bob")) == [["ann"], ["bob"]], "nobody knows what they cost alone"
    learn(costs, lambda rows: rows, 2)
    assert form(costs, seats("ann", "bob")) == [["ann", "bob"]]


def test_a_company_that_loses_is_left_again(costs: Costs) -> None:
    rounds = []
    for _ in range(12):
        formed = form(costs, seats("ann", "bob"))
        rounds.append(len(formed))
        for company in formed:
            costs.note("a", 2 * len(company), {1: 1.0, 2: 4.0}[len(company)])
    assert rounds[0] == 1
    assert set(rounds[4:]) == {2}


def test_other_kinds_have_calls_of_their_own(costs: Costs) -> None:
    turns = [*seats("ann"), *seats("bob", kind="b"), *seats("cy")]
    assert form(costs, turns) == [["ann", "cy"], ["bob"]]


def test_a_call_has_at_most_so_many_positions(costs: Costs) -> None:
    assert form(costs, seats("ann", "bob", "cy"), most_area=4 * 16) == [["ann", "bob"], ["cy"]]


def test_a_visitors_other_jobs_join_where_nobody_else_waits(costs: Costs) -> None:
    learn(costs, lambda rows: 1 + rows / 10)
    assert form(costs, seats("ann1"), seats("ann2", "ann3")) == [["ann1", "ann2", "ann3"]]


def test_and_where_others_hardly_notice(costs: Costs) -> None:
    learn(costs, lambda rows: 1 + rows / 100, 2, 4)
    turns, guests = seats("ann1", "bob"), seats("ann2", "ann3")
    assert form(costs, turns, guests) == [["ann1", "bob", "ann2"]], "tried, to be measured"
    learn(costs, lambda rows: 1 + rows / 100, 6)
    assert form(costs, turns, guests) == [["ann1", "bob", "ann2", "ann3"]], "the next one is tried"
    learn(costs, lambda rows: 1 + rows / 100, 8)
    assert form(costs, turns, guests) == [["ann1", "bob", "ann2", "ann3"]]


def test_but_not_where_others_would_wait_for_them(costs: Costs) -> None:
    learn(costs, lambda rows: rows, 2, 4, 6, 8)
    assert form(costs, seats("ann1", "bob"), seats("ann2", "ann3")) == [["ann1", "bob"]]


def test_one_guest_is_tried_at_a_time_where_others_wait(costs: Costs) -> None:
    learn(costs, lambda rows: 1 + rows / 10, 2, 4)
    turns, guests = seats("ann1", "bob"), seats("ann2", "ann3", "ann4")
    assert form(costs, turns, guests)[0] == ["ann1", "bob", "ann2"]
    learn(costs, lambda rows: rows, 6)
    assert form(costs, turns, guests)[0] == ["ann1", "bob"]


def test_nobody_waits_for_the_trial_of_a_guest_whose_cost_can_be_told(costs: Costs) -> None:
    learn(costs, lambda rows: rows, 2, 4)
    assert form(costs, seats("ann1", "bob"), seats("ann2", "ann3")) == [["ann1", "bob"]]
    assert form(costs, seats("ann1"), seats("ann2", "ann3")) == [["ann1", "ann2", "ann3"]], "alone it is tried"


def test_but_after_a_while_it_is_tried(costs: Costs, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    companies, turns, guests = Companies(costs), seats("ann1", "bob", "cy"), seats("ann2")
    sizes = []
    for _ in range(12):  # on four cores 8 rows take as long as 6, which two smaller calls do not tell
        learn(costs, lambda rows: -(-rows // 4), 2, 4, 6)
        sizes.append(len(companies.form(turns, guests, MUCH)[0]))
        now += TRIAL_SECONDS / 8
    assert sizes == [3] * 9 + [4] * 3
    now += 2 * TRIAL_SECONDS
    learn(costs, lambda rows: -(-rows // 4), 2, 4, 6)
    assert len(companies.form(turns, guests, MUCH)[0]) == 3, "the others are not those who waited then"


def test_what_is_expected_lies_on_the_line_of_the_two_calls_before(costs: Costs) -> None:
    learn(costs, lambda rows: rows**2, 1)
    assert costs.expect("a", 6) is None
    learn(costs, lambda rows: rows**2, 2, 4)
    assert costs.expect("a", 6) == 16 + 6 * 2
    learn(costs, lambda rows: 20.0, 8)
    assert costs.expect("a", 6) == 20, "no more than a larger call takes"


def test_calls_that_end_while_costs_are_looked_up_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    costs, looks = Costs(torch.device("cuda")), 0
    learn(costs, lambda rows: rows, 2, 4)

    def query(ends: int) -> bool:
        nonlocal looks
        looks += 1
        return looks >= ends

    for ends in range(12):
        looks = 0
        event = SimpleNamespace(query=lambda ends=ends: query(ends), elapsed_time=lambda other: 10.0)
        monkeypatch.setattr(costs, "_mark", lambda event=event: event)
        with costs.measure("a", 10 + ends):
            pass
        for rows in (2, 6, 8):
            costs.of("a", rows), costs.expect("a", rows)


def test_a_lone_visitors_marks_on_an_accelerator_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    event = SimpleNamespace(query=lambda: True, elapsed_time=lambda other: 10.0)
    costs = Costs(torch.device("cuda"))
    monkeypatch.setattr(costs, "_mark", lambda: event)
    for _ in range(100):
        with costs.measure("a", 2):
            pass
    assert len(costs._pending) == 0
    assert costs.of("a", 2) == pytest.approx(0.01)


def test_what_failed_together_is_avoided_for_a_while(costs: Costs, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(costs, lambda rows: 1 + rows / 10)
    companies, turns = Companies(costs), seats("ann", "bob", "cy")
    companies.avoid(turns)
    assert [len(company) for company in companies.form(turns, [], MUCH)] == [2, 1]
    now = time.monotonic() + AVOIDED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: now)
    learn(costs, lambda rows: 1 + rows / 10)
    assert [len(company) for company in companies.form(turns, [], MUCH)] == [3]


def test_the_first_measure_is_a_warm_up(costs: Costs) -> None:
    costs.note("a", 2, 9.0)
    assert costs.of("a", 2) is None
    costs.note("a", 2, 1.0)
    assert costs.of("a", 2) == 1.0
    costs.note("a", 2, 2.0)
    assert costs.of("a", 2) == 1.25


def test_only_what_was_measured_is_known(costs: Costs) -> None:
    learn(costs, lambda rows: rows, 2, 8)
    assert [costs.of("a", rows) for rows in (1, 2, 4, 8)] == [None, 2.0, None, 8.0]


@pytest.mark.parametrize(("seconds", "holds_for"), [(0.1, KEPT_SECONDS), (30.0, KEPT_CALLS * 30.0)])
def test_old_measures_are_forgotten(
    costs: Costs, monkeypatch: pytest.MonkeyPatch, seconds: float, holds_for: float
) -> None:
    learn(costs, lambda rows: seconds, 2)
    then = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: then + holds_for - 1)
    assert costs.of("a", 2) == seconds
    monkeypatch.setattr(time, "monotonic", lambda: then + holds_for + 1)
    assert costs.of("a", 2) is None


def test_only_so_many_kinds_are_remembered(costs: Costs) -> None:
    for kind in range(3 * KEPT_KINDS):
        costs.note(kind, 2, 1.0)
    assert len(costs._measures) == KEPT_KINDS


def test_what_fails_is_not_measured(costs: Costs) -> None:
    with pytest.raises(ValueError, match="planted"), costs.measure("a", 2):
        raise ValueError("planted")
    for _ in range(2):
        with costs.measure("a", 2):
            time.sleep(0.01)
    assert costs.of("a", 2) >= 0.01  # type: ignore[operator]
