"""Which steps are taken together, and what calls were measured to cost."""

import time
from collections.abc import Callable

import pytest
import torch

from pipelines.diffusion.steps.company import Companies, Seat
from pipelines.diffusion.steps.costs import FORGET_SECONDS, Costs

MUCH = 10**9


@pytest.fixture
def costs() -> Costs:
    return Costs(torch.device("cpu"))


def learn(costs: Costs, seconds: Callable[[int], float], kind: str = "a", most: int = 32) -> None:
    for rows in range(1, most + 1):
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
    costs.note("a", 2, 1.0)
    assert form(costs, seats("ann", "bob")) == [["ann", "bob"]], "in proportion until it is known"


def test_other_kinds_have_calls_of_their_own(costs: Costs) -> None:
    turns = [*seats("ann"), *seats("bob", kind="b"), *seats("cy")]
    assert form(costs, turns) == [["ann", "cy"], ["bob"]]


def test_a_call_has_at_most_so_many_positions(costs: Costs) -> None:
    assert form(costs, seats("ann", "bob", "cy"), most_area=4 * 16) == [["ann", "bob"], ["cy"]]


def test_a_visitors_other_jobs_join_where_nobody_else_waits(costs: Costs) -> None:
    learn(costs, lambda rows: 1 + rows / 10)
    assert form(costs, seats("ann1"), seats("ann2", "ann3")) == [["ann1", "ann2", "ann3"]]


def test_and_where_others_hardly_notice(costs: Costs) -> None:
    learn(costs, lambda rows: 1 + rows / 100)
    assert form(costs, seats("ann1", "bob"), seats("ann2", "ann3")) == [["ann1", "bob", "ann2", "ann3"]]
    learn(costs, lambda rows: rows)
    learn(costs, lambda rows: rows)
    for _ in range(40):
        learn(costs, lambda rows: rows)
    assert form(costs, seats("ann1", "bob"), seats("ann2", "ann3")) == [["ann1", "bob"]]


def test_what_ran_out_of_memory_is_not_tried_again_as_large(costs: Costs) -> None:
    learn(costs, lambda rows: 1 + rows / 10)
    companies = Companies(costs)
    companies.was_too_large(seats("ann", "bob", "cy"))
    formed = companies.form(seats("ann", "bob", "cy"), [], MUCH)
    assert [[seat.key for seat in company] for company in formed] == [["ann", "bob"], ["cy"]]


def test_the_first_measure_is_a_warm_up(costs: Costs) -> None:
    costs.note("a", 2, 9.0)
    assert costs.of("a", 2) == 9.0
    costs.note("a", 2, 1.0)
    assert costs.of("a", 2) == 1.0
    costs.note("a", 2, 2.0)
    assert costs.of("a", 2) == 1.25


def test_rows_never_measured_cost_as_much_each_as_the_nearest(costs: Costs) -> None:
    assert costs.of("a", 4) is None
    costs.note("a", 2, 1.0)
    costs.note("a", 8, 2.0)
    assert costs.of("a", 3) == 1.5
    assert costs.of("a", 16) == 4.0


def test_old_measures_are_forgotten(costs: Costs, monkeypatch: pytest.MonkeyPatch) -> None:
    costs.note("a", 2, 1.0)
    now = time.monotonic() + FORGET_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert costs.of("a", 2) is None


def test_what_fails_is_not_measured(costs: Costs) -> None:
    with pytest.raises(ValueError, match="planted"), costs.measure("a", 2):
        raise ValueError("planted")
    assert costs.of("a", 2) is None
    with costs.measure("a", 2):
        time.sleep(0.01)
    assert costs.of("a", 2) >= 0.01  # type: ignore[operator]
