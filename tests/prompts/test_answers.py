"""Answers about prompts: given once for the same question, and few worked out at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.prompts.answers import AT_ONCE, MAX_KEPT, MAX_WAITING, Answers
from pipelines.schema.errors import QueueFull

STATE = object()


class Work:
    """What counts how often it is done, and waits until it may end."""

    def __init__(self) -> None:
        self.done = 0
        self.under_way = 0
        self.most = 0
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.begun.release()
        assert self.may_end.wait(5)
        with self._lock:
            self.under_way -= 1
            self.done += 1
        return self.done


@pytest.fixture
def work() -> Work:
    return Work()


def test_the_same_question_is_worked_out_once(work: Work) -> None:
    answers = Answers()
    work.may_end.set()
    assert [answers.find("a", STATE, work) for _ in range(3)] == [1, 1, 1]
    assert answers.find("b", STATE, work) == 2


def test_another_state_makes_all_answers_void(work: Work) -> None:
    answers = Answers()
    work.may_end.set()
    answers.find("a", STATE, work)
    assert answers.find("a", object(), work) == 2


def test_few_are_worked_out_at_once_and_equal_ones_wait_for_the_first(work: Work) -> None:
    answers = Answers()
    with ThreadPoolExecutor(8) as pool:
        told = [pool.submit(answers.find, key, STATE, work) for key in "abcaabbc"]
        for _ in range(AT_ONCE):
            assert work.begun.acquire(timeout=5)
        assert not work.begun.acquire(timeout=0.05)
        work.may_end.set()
        assert len({future.result(5) for future in told}) <= AT_ONCE + 3
    assert work.most == AT_ONCE


def test_too_many_who_wait_are_refused(work: Work) -> None:
    answers = Answers()
    with ThreadPoolExecutor(AT_ONCE + MAX_WAITING) as pool:
        told = [pool.submit(answers.find, key, STATE, work) for key in range(AT_ONCE + MAX_WAITING)]
        while answers._waiting < len(told):
            pass
        with pytest.raises(QueueFull, match="too many prompts"):
            answers.find("one more", STATE, work)
        work.may_end.set()
        assert all(future.result(5) for future in told)
    assert answers.find("one more", STATE, work), "there is room again"


def test_an_error_is_not_kept(work: Work) -> None:
    answers = Answers()

    def fail() -> int:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        answers.find("a", STATE, fail)
    work.may_end.set()
    assert answers.find("a", STATE, work) == 1


def test_old_answers_are_forgotten(work: Work) -> None:
    answers = Answers()
    work.may_end.set()
    for key in range(MAX_KEPT + 1):
        answers.find(key, STATE, work)
    done = work.done
    answers.find(MAX_KEPT, STATE, work)
    assert work.done == done
    answers.find(0, STATE, work)
    assert work.done == done + 1
