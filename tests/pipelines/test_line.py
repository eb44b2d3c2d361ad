"""Whose turn it is, and what a job's stream promises: without any device."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest

from pipelines import job as job_module
from pipelines.job import Job
from pipelines.line import Drawing, Line, Turn
from pipelines.prompts.drawing import Draw
from pipelines.schema.errors import Cancelled, QueueFull, RunError
from pipelines.schema.events import Event, Failed, Queued, Saving, Step, Stopped
from pipelines.schema.models import ModelEntry, Selection
from pipelines.schema.requests import TextToImageRequest

ANY, OTHER = (Selection(ModelEntry(name=name, title=name, source=f"/{name}")) for name in ("any", "other"))


def make_job(owner: str = "") -> Job:
    return Job(TextToImageRequest(), owner)


def enter(line: Line, owner: str = "", selection: Selection = ANY) -> Turn:
    job = make_job(owner)
    turn = Turn(job, (Drawing(Draw(job.request, {}), selection),), inputs=None)
    line.reserve()
    line.enter(turn)
    return turn


def make_step(index: int, preview: bytes | None = None) -> Step:
    return Step(index, 9, "base", 1.0, 1.0, preview)


def test_each_visitor_has_one_turn_a_round_however_many_jobs_they_have() -> None:
    line = Line(max_running=4, max_queue=9)
    first, second, third = (enter(line, "a") for _ in range(3))
    other = enter(line, "b")
    rounds = [line.next_turns() for _ in range(4)]
    assert [set(turns) for turns in rounds] == [{first, other}, {second, other}, {third, other}, {first, other}]


def test_a_visitor_with_nothing_on_the_device_comes_on_though_it_is_full() -> None:
    line = Line(max_running=2, max_queue=9)
    greedy = [enter(line, "a") for _ in range(3)]
    other = enter(line, "b")
    assert other in line.next_turns()
    assert line.counts() == (1, 3)
    assert not greedy[2].job.is_finished


def test_a_place_is_taken_until_the_job_is_finished_not_only_while_it_is_on_the_device() -> None:
    line = Line(max_running=1, max_queue=1)
    first, _ = enter(line), enter(line)
    line.next_turns()
    line.leave(first)
    with pytest.raises(QueueFull, match="2 jobs are at work or waiting"):
        line.reserve()
    first.job.stop()
    line.reserve()


def test_reserved_places_count_and_can_be_given_back() -> None:
    line = Line(max_running=1, max_queue=1)
    line.reserve()
    line.reserve()
    with pytest.raises(QueueFull):
        line.reserve()
    line.release()
    line.reserve()


def test_a_stopped_waiting_job_ends_at_once_and_never_comes_on() -> None:
    line = Line(max_running=1, max_queue=3)
    running, waiting, last = (enter(line) for _ in range(3))
    assert line.next_turns() == [running]
    waiting.job.cancel()
    assert list(waiting.job.events())[-1] == Stopped()
    line.leave(running)
    assert line.next_turns() == [last]


def test_a_waiting_job_hears_of_its_place_only_when_it_changes() -> None:
    line = Line(max_running=1, max_queue=3)
    running, _, waiting = (enter(line) for _ in range(3))
    heard = []
    for _ in range(5):
        line.next_turns()
        heard += [waiting.job._unread.popleft() for _ in range(len(waiting.job._unread))]
    line.leave(running)
    line.next_turns()
    heard += list(waiting.job._unread)
    assert heard == [Queued(2), Queued(1)]


def test_waiting_for_work_ends_with_the_first_job_or_with_the_line() -> None:
    line, found = Line(max_running=1, max_queue=1), []
    worker = threading.Thread(target=lambda: found.extend([line.next_turns(), line.clear(), line.next_turns()]))
    worker.start()
    turn = enter(line)
    time.sleep(0.05)
    line.close()
    worker.join(5)
    assert found == [[turn], None, []]
    with pytest.raises(RunError, match="closing"):
        line.reserve()


def test_a_slow_listener_finds_the_newest_step_with_the_last_preview() -> None:
    job = make_job()
    for index in range(1, 9):
        job.post(make_step(index, preview=b"picture" if index == 5 else None))
    job.post(Saving())
    job.post(Failed(RunError("planted")))
    assert [type(event) for event in job.events()] == [Step, Saving, Failed]


def test_the_preview_of_a_step_nobody_read_goes_on_with_the_next() -> None:
    job = make_job()
    job.post(make_step(1, preview=b"picture"))
    job.post(make_step(2))
    assert next(job.events()) == make_step(2, preview=b"picture")


def hear(job: Job, *events: Event, within: float) -> list[Event]:
    """What a listener who has just read a step hears of `events`, which come while it waits."""
    job.post(make_step(1))
    stream = job.events()
    next(stream)
    heard: list[Event] = []
    listener = threading.Thread(target=lambda: heard.append(next(stream)), daemon=True)
    listener.start()
    for event in events:
        time.sleep(0.02)
        job.post(event)
    listener.join(within)
    return heard


def test_fast_steps_do_not_wake_a_listener_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "PAUSE_SECONDS", 30.0)
    assert hear(make_job(), make_step(2), make_step(3), within=0.1) == []
    monkeypatch.setattr(job_module, "PAUSE_SECONDS", 1.0)
    assert hear(make_job(), make_step(2), make_step(3), within=5) == [make_step(3)], "later, without another event"


@pytest.mark.parametrize("news", [make_step(3, preview=b"picture"), Queued(1), Stopped()])
def test_whatever_else_is_heard_at_once(monkeypatch: pytest.MonkeyPatch, news: Event) -> None:
    monkeypatch.setattr(job_module, "PAUSE_SECONDS", 30.0)
    assert hear(make_job(), news, within=5) == [news]
    [step] = hear(make_job(), make_step(2), news, within=5)
    assert step == (news if isinstance(news, Step) else make_step(2)), "in their order"


def test_who_waits_for_the_end_is_not_woken_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    job, looks = make_job(), 0

    def look(self: Job) -> bool:
        nonlocal looks
        looks += threading.current_thread() is waiting
        return isinstance(self._last, Stopped)

    def wait() -> None:
        with suppress(Cancelled):
            job.result(30)

    monkeypatch.setattr(Job, "is_finished", property(look))
    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    deadline = time.monotonic() + 10
    while not looks and time.monotonic() < deadline:
        time.sleep(0.01)
    for index in range(1, 20):
        job.post(make_step(index))
    time.sleep(0.05)
    assert looks == 1
    job.stop()
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_stream_that_has_ended_does_not_block_a_late_listener() -> None:
    job = make_job()
    job.cancel()
    assert list(job.events()) == [Stopped()]
    assert list(job.events()) == []


def test_nothing_comes_after_the_last_event() -> None:
    job = make_job()
    job.stop()
    job.post(Saving())
    assert list(job.events()) == [Stopped()]


def test_a_job_that_does_not_fit_waits_and_nobody_passes_it() -> None:
    def fits(turn: Turn, running: Sequence[Turn]) -> bool:
        return all(turn.selection == other.selection for other in running)

    line = Line(max_running=4, max_queue=9, fits=fits)
    first = enter(line, "a")
    other = enter(line, "b", OTHER)
    behind = enter(line, "c")
    assert line.next_turns() == [first]
    line.leave(first)
    assert line.next_turns() == [other]
    line.leave(other)
    assert line.next_turns() == [behind]
