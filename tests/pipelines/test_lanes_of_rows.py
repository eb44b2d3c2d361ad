"""Rows side by side on a CPU's cores."""

import threading
import time

import pytest
import torch

from pipelines.diffusion.steps import lanes as lanes_module
from pipelines.diffusion.steps.lanes import SHORT_SECONDS, TRIALS, Lanes, Tensors


@pytest.mark.parametrize(("cores", "rows", "parts"), [(2, 5, [2, 3]), (2, 2, [1, 1]), (4, 3, [1, 1, 1]), (3, 1, [1])])
def test_rows_are_cut_evenly_and_come_back_in_order(cores: int, rows: int, parts: list[int]) -> None:
    lanes, given, seen = Lanes(cores), torch.randn(rows, 3), []

    def part(start: int, end: int) -> Tensors:
        seen.append(end - start)
        return given[start:end], 2 * given[start:end]

    first, second = lanes.run(part, rows)
    lanes.close()
    assert torch.equal(first, given)
    assert torch.equal(second, 2 * given)
    assert sorted(seen) == parts


def test_lanes_share_the_cores_and_leave_the_callers_threads_alone() -> None:
    lanes, before, used = Lanes(4), torch.get_num_threads(), []
    lanes.run(lambda start, end: (used.append(torch.get_num_threads()) or torch.zeros(end - start),), 2)
    lanes.close()
    assert used == [2, 2]
    assert torch.get_num_threads() == before


def test_parts_are_computed_as_the_caller_computes() -> None:
    lanes, modes = Lanes(2), []
    with torch.inference_mode():
        lanes.run(lambda start, end: (modes.append(torch.is_inference_mode_enabled()) or torch.zeros(1),), 2)
    lanes.run(lambda start, end: (modes.append(torch.is_inference_mode_enabled()) or torch.zeros(1),), 2)
    lanes.close()
    assert modes == [True, True, False, False]


def test_a_single_row_on_all_cores_stays_on_the_callers_thread() -> None:
    lanes, threads = Lanes(2), []
    lanes.run(lambda start, end: (threads.append(threading.current_thread()) or torch.zeros(1),), 1)
    lanes.close()
    lanes.close()
    assert threads == [threading.current_thread()]


def test_an_error_in_a_part_is_the_callers() -> None:
    lanes = Lanes(2)
    with pytest.raises(ZeroDivisionError):
        lanes.run(lambda start, end: (torch.zeros(end - start) / (1 // start),), 2)
    lanes.close()


@pytest.mark.parametrize(("with_one", "kept"), [(0.01, 1), (0.03, 4)])
def test_a_single_row_is_tried_on_one_core_and_on_all(
    monkeypatch: pytest.MonkeyPatch, with_one: float, kept: int
) -> None:
    used = run_single_rows(monkeypatch, {1: with_one, 4: 0.02})
    assert used[0] == 4
    assert used[2 * TRIALS :] == [kept] * 5
    assert used.count(1) >= 1


def test_long_calls_are_never_tried_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(run_single_rows(monkeypatch, {1: 1.0, 4: 2 * SHORT_SECONDS})) == {4}


def test_one_core_that_is_much_slower_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_single_rows(monkeypatch, {1: 0.5, 4: 0.02}).count(1) == 1


def run_single_rows(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> list[int]:
    """The cores of each call, where calls take as many seconds."""
    lanes, used, now = Lanes(4), [], [0.0]
    monkeypatch.setattr(lanes_module.time, "perf_counter", lambda: now[0])

    def part(start: int, end: int) -> Tensors:
        used.append(torch.get_num_threads())
        now[0] += seconds[used[-1]]
        return (torch.zeros(end - start),)

    for _ in range(2 * TRIALS + 5):
        lanes.run(part, 1, "kind")
    lanes.close()
    return used


def test_after_an_error_no_part_is_under_way() -> None:
    lanes, ended = Lanes(2), []

    def part(start: int, end: int) -> Tensors:
        if start == 0:
            raise ZeroDivisionError
        time.sleep(0.2)
        ended.append(start)
        return (torch.zeros(end - start),)

    with pytest.raises(ZeroDivisionError):
        lanes.run(part, 2)
    assert ended == [1]
    lanes.close()


def test_threads_that_are_started_later_have_all_cores_again() -> None:
    cores = torch.get_num_threads()
    lanes = Lanes(max(2, cores))
    lanes.run(lambda start, end: (torch.zeros(end - start),), 2)
    lanes.close()
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [max(2, cores)]
    torch.set_num_threads(cores)
