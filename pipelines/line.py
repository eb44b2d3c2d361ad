"""Who waits, who is on the device, and whose turn it is. Knows jobs and their draws, not pictures.

Places on the device are few, turns are fair: in each round every visitor's jobs share one turn, and a visitor
who has nothing on the device comes on at once, however many jobs others have there.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.album import Album
from pipelines.job import Job
from pipelines.prompts.drawing import Draw
from pipelines.schema.errors import QueueFull, RunError
from pipelines.schema.events import Queued
from pipelines.schema.models import Selection


@dataclass(frozen=True)
class Drawing:
    """Pictures of one text, which are drawn together, and the files they are drawn with."""

    draw: Draw
    selection: Selection

    def fill(self, values: dict[str, Any]) -> "Drawing":
        """The same with these fields of its request filled in."""
        return replace(self, draw=replace(self.draw, request=self.draw.request.model_copy(update=values)))


@dataclass(eq=False)
class Turn:
    """A job in the line, with whatever it carries and whatever becomes of it on the device."""

    job: Job
    drawings: tuple[Drawing, ...]
    """One after the other; more than one where the pictures' texts differ."""
    inputs: Any
    """What the job's task made of its uploads."""
    number: int = 0
    """Of the drawing at hand, from 0."""
    album: Album = field(default_factory=Album, repr=False)
    """The pictures of the drawings before it."""
    work: Any = field(default=None, repr=False)
    """The engine's own; let go of when the job leaves the device."""
    use: Any = field(default=None, repr=False)
    """The engine's own: the files and the precision that the job is being drawn with."""
    clock: Any = field(default=None, repr=False)
    """The engine's own: since when the job's steps are being counted."""

    @property
    def drawing(self) -> Drawing:
        """The one at hand."""
        return self.drawings[self.number]

    @property
    def selection(self) -> Selection:
        """The files of the drawing at hand."""
        return self.drawing.selection

    @property
    def is_last(self) -> bool:
        """Whether no other drawing comes after the one at hand."""
        return self.number + 1 == len(self.drawings)


def all_at_once(_turn: Turn, _running: Sequence[Turn]) -> bool:
    """Every job goes with every other."""
    return True


class Line:
    """The jobs of one device. Every method may be called from any thread."""

    def __init__(
        self, max_running: int, max_queue: int, fits: Callable[[Turn, Sequence[Turn]], bool] = all_at_once
    ) -> None:
        self.max_running = max_running
        self.max_queue = max_queue
        self.fits = fits
        """Whether a job may be on the device beside those that are; one that may not holds up all behind it."""
        self._waiting: list[Turn] = []
        self._running: list[Turn] = []
        self._unfinished: list[Job] = []
        self._reserved = 0
        self._changed = threading.Condition()
        self._closed = False

    def reserve(self) -> None:
        """Takes a place for a job that is still being put together; raises `QueueFull`."""
        with self._changed:
            if self._closed:
                raise RunError("the studio is closing; start it again and try once more")
            self._unfinished = [job for job in self._unfinished if not job.is_finished]
            taken = len(self._unfinished) + self._reserved
            if taken >= self.max_running + self.max_queue:
                raise QueueFull(f"{taken} jobs are at work or waiting, as many as this studio allows; try again later")
            self._reserved += 1

    def release(self) -> None:
        """Gives a reserved place back."""
        with self._changed:
            self._reserved -= 1

    def enter(self, turn: Turn) -> None:
        """Puts a job on its reserved place at the end of the line; a job that comes too late ends as stopped."""
        with self._changed:
            self._reserved -= 1
            if self._closed:
                turn.job.stop()
                return
            self._unfinished.append(turn.job)
            self._waiting.append(turn)
            turn.job.post(Queued(len(self._waiting) + len(self._running) - 1))
            self._changed.notify()

    def next_turns(self) -> list[Turn]:
        """Waits for work, then returns one job of each visitor, the next in turn; nothing once the line is closed."""
        with self._changed:
            while not self._closed:
                self._bring_on()
                if self._running:
                    return self._choose()
                self._changed.wait()
            return []

    def running(self) -> tuple[Turn, ...]:
        """The jobs on the device."""
        with self._changed:
            return tuple(self._running)

    def leave(self, turn: Turn) -> None:
        """Takes a job off the device; its place stays taken until the job is finished."""
        with self._changed:
            if turn in self._running:
                self._running.remove(turn)
            turn.work = None

    def close(self) -> None:
        """Lets nobody in any more and ends `next_turns`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Ends every job that waits or is on the device as stopped."""
        with self._changed:
            for turn in (*self._waiting, *self._running):
                turn.work = None
                turn.job.stop()
            self._waiting, self._running = [], []

    def counts(self) -> tuple[int, int]:
        """Jobs that wait, and jobs that are on the device or being saved."""
        with self._changed:
            waiting = [turn.job for turn in self._waiting if not turn.job.is_finished]
            unfinished = [job for job in self._unfinished if not job.is_finished]
            return len(waiting), len(unfinished) - len(waiting)

    def _choose(self) -> list[Turn]:
        turns: dict[str, Turn] = {}
        for turn in self._running:
            turns.setdefault(turn.job.owner, turn)
        self._running.sort(key=lambda turn: turn in turns.values())  # whoever has a turn now goes behind the others
        return list(turns.values())

    def _bring_on(self) -> None:
        """Moves jobs from the line to the device, in their order, as far as places, fairness and `fits` allow."""
        still_waiting: list[Turn] = []
        is_held_up = False
        for turn in self._waiting:
            if turn.job.is_finished:  # stopped while it waited
                continue
            has_none = all(other.job.owner != turn.job.owner for other in self._running)
            has_place = len(self._running) < self.max_running or has_none
            if has_place and not is_held_up and not self.fits(turn, self._running):
                is_held_up = True  # else a stream of jobs that fit could keep it waiting for ever
            if has_place and not is_held_up:
                if turn.job.start():
                    self._running.append(turn)
            else:
                turn.job.post(Queued(len(self._running) + len(still_waiting)))
                still_waiting.append(turn)
        self._waiting = still_waiting
