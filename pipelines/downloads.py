"""Jobs whose files are being brought from the Hub; then they join the line.

The device's thread goes on with other jobs meanwhile. Downloads run in daemon threads: the studio can end in the middle
of one, and what has arrived by then is kept.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pipelines.components.hub import Report
from pipelines.components.hub import fetch as fetch_from_hub
from pipelines.job import Job
from pipelines.line import Line, Turn
from pipelines.schema.errors import Cancelled, ModelError, PipelineError
from pipelines.schema.events import Failed, Loading
from pipelines.schema.models import Entry

log = logging.getLogger(__name__)

AT_ONCE = 2
RETRY_SECONDS = 300.0
"""Between two attempts at what no job waits for."""

Wanted = tuple[Entry, list[str] | None]
"""An entry, and the parts of it that are needed; `None`: all of it."""


class Downloads:
    """The jobs that wait for files, each on the place that was reserved for it. Any thread may call.

    A job that ends while it is here, however that comes about, gives its place back at once.
    """

    def __init__(
        self, line: Line, fetch: Callable[[Entry, Sequence[str] | None, Report], Any] = fetch_from_hub
    ) -> None:
        self._line = line
        self._fetch = fetch
        self._turns: set[Turn] = set()
        self._waiting: list[tuple[Turn, list[Wanted]]] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        for _ in range(AT_ONCE):
            threading.Thread(target=self._work, name="download", daemon=True).start()

    def add(self, turn: Turn, missing: list[Wanted]) -> None:
        """Takes in a job that has a reserved place; ends it as stopped when the studio is closing."""
        turn.job.post(Loading(missing[0][0].title, 0.0))
        with self._changed:
            self._turns.add(turn)
            self._waiting.append((turn, missing))
            self._changed.notify()
        turn.job.when_finished(lambda: self._give_up(turn))
        if self._closing.is_set():
            turn.job.stop()

    def keep_trying(self, entry: Entry) -> None:
        """Brings what no job waits for, in its own time, until it is there or the studio closes; never raises."""
        threading.Thread(target=self._keep_trying, args=(entry,), name="download", daemon=True).start()

    def count(self) -> int:
        """Jobs that wait for their files."""
        with self._changed:
            return len(self._turns)

    def close(self) -> None:
        """Ends every job that is here, or comes later, as stopped; downloads end with their next report."""
        self._closing.set()
        with self._changed:
            turns = tuple(self._turns)
            self._changed.notify_all()
        for turn in turns:
            turn.job.stop()

    def _work(self) -> None:
        while self._bring_next():  # a frame of its own: while nothing is to be done no job and no uploads are kept
            pass

    def _bring_next(self) -> bool:
        """Waits for a job, brings its files and hands it on; False when the studio is closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            if self._closing.is_set():
                return False
            turn, missing = self._waiting.pop(0)
        for entry, parts in missing:
            if not turn.job.is_finished:
                self._bring(entry, parts, turn.job)
        if self._forget(turn):
            self._line.enter(turn)
        return True

    def _bring(self, entry: Entry, parts: list[str] | None, job: Job) -> None:
        """One entry's files; what goes wrong ends the job."""
        try:
            self._fetch(entry, parts, job.report)
        except Cancelled:
            job.stop()
        except PipelineError as error:
            if error.__cause__ is not None:
                log.warning("download of %s: %s (%r)", entry.source, error, error.__cause__)
            job.post(Failed(error.with_traceback(None)))
        except Exception as error:
            log.exception("download of %s", entry.source)
            job.post(Failed(ModelError(f"{entry.title} could not be downloaded ({type(error).__name__})")))

    def _keep_trying(self, entry: Entry) -> None:
        def report(_event: Loading) -> None:
            if self._closing.is_set():
                raise Cancelled("the studio is closing")

        told = ""
        while not self._closing.is_set():
            try:
                self._fetch(entry, None, report)
                return
            except Cancelled:
                return
            except PipelineError as error:
                if str(error) != told:
                    log.warning("download of %s: %s", entry.source, error)
                told = str(error)
            except Exception:
                log.exception("download of %s", entry.source)
            self._closing.wait(RETRY_SECONDS)

    def _give_up(self, turn: Turn) -> None:
        """The job has ended: its place is free, unless it went on to the line with it."""
        if self._forget(turn):
            self._line.release()

    def _forget(self, turn: Turn) -> bool:
        """Whether the job was still here: whoever is told so, and nobody else, disposes of its place."""
        with self._changed:
            if turn not in self._turns:
                return False
            self._turns.remove(turn)
            self._waiting = [item for item in self._waiting if item[0] is not turn]
            return True
