"""The finished pictures of one job, draw by draw, while they are being written. Knows files, not pictures."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.schema.errors import PipelineError
from pipelines.schema.events import Notice, Result
from pipelines.schema.requests import GenerationRequest

MOST_UNWRITTEN = 2
"""Draws whose pictures wait in memory for the disk; with more the job's next one is not begun."""


@dataclass(frozen=True)
class Page:
    """The files of one draw."""

    files: tuple[Path, ...]
    drawn: tuple[GenerationRequest, ...]
    """For each file the request that draws it alone."""
    steps: dict[str, int]


@dataclass(frozen=True)
class Ending:
    """How a job left the device."""

    error: PipelineError | None
    """Why it left early; `None` when everything was drawn."""
    notices: tuple[Notice, ...]


@dataclass(eq=False)
class Album:
    """Pages by the number of their draw. The device's thread opens them, others fill them in whatever order.

    `write`, `fail` and `close` return True to the one caller who finds everything told: the job ends with that.
    """

    hashes: dict[str, str] | None = None
    """The uploads', once somebody has read them."""
    _pages: dict[int, Page] = field(default_factory=dict)
    _unwritten: int = 0
    _failure: PipelineError | None = None
    _ending: Ending | None = None
    _started: float = 0.0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        """The device has taken the job; called again for each draw, the first time counts."""
        self._started = self._started or time.monotonic()

    def open(self) -> None:
        """Another page is going to be written."""
        with self._changed:
            self._unwritten += 1

    def write(self, number: int, page: Page) -> bool:
        """The files of draw `number` are there."""
        with self._changed:
            self._pages[number] = page
            return self._close_page()

    def fail(self, error: PipelineError) -> bool:
        """A page could not be written; the first such error is the job's."""
        with self._changed:
            self._failure = self._failure or error
            return self._close_page()

    def close(self, ending: Ending) -> bool:
        """No page comes any more."""
        with self._changed:
            self._ending = ending
            return self._unwritten == 0

    def wait_for_room(self, seconds: float) -> bool:
        """Waits until few enough pages are unwritten, `seconds` at most; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unwritten < MOST_UNWRITTEN, seconds)

    @property
    def failure(self) -> PipelineError | None:
        """Why a page could not be written."""
        return self._failure

    @property
    def error(self) -> PipelineError | None:
        """What the job ends with, where it could not be finished."""
        return self._failure or (self._ending and self._ending.error)

    def result(self, request: GenerationRequest) -> Result | None:
        """What was written, in the order of the draws; `None` when that is nothing."""
        pages = [self._pages[number] for number in sorted(self._pages)]
        if not pages:
            return None
        drawn = tuple(request for page in pages for request in page.drawn)
        return Result(
            files=tuple(file for page in pages for file in page.files),
            seeds=tuple(request.seed for request in drawn),
            request=request,
            elapsed_seconds=time.monotonic() - self._started,
            steps=pages[0].steps,
            model=request.model,
            notices=self._ending.notices if self._ending else (),
            drawn=drawn,
        )

    def _close_page(self) -> bool:
        self._unwritten -= 1
        self._changed.notify_all()
        return self._unwritten == 0 and self._ending is not None
