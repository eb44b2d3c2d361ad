"""The handle of one submitted request: a stream of events to listen to, and a way to stop it."""

import threading
import uuid
from collections import deque
from collections.abc import Iterator

from pipelines.schema.errors import Cancelled
from pipelines.schema.events import FINAL_EVENTS, Done, Event, Failed, Queued, Result, Step
from pipelines.schema.requests import GenerationRequest


class Job:
    """One request on its way. The engine posts events; any thread may listen, wait or cancel.

    A listener that falls behind finds only the newest step and queue position, so that a slow browser
    costs no memory; an event of another kind is never dropped.
    """

    def __init__(self, request: GenerationRequest, owner: str) -> None:
        self.id = uuid.uuid4().hex
        self.request = request
        self.owner = owner
        """Whoever shares the device fairly with others: a browser session, or "" where nobody else is."""
        self._unread: deque[Event] = deque()
        self._last: Event | None = None
        self._changed = threading.Condition()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Asks for the end: a waiting job never starts, a running one takes no further step."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for the end."""
        return self._cancelled.is_set()

    @property
    def is_finished(self) -> bool:
        """Whether the last event has been posted."""
        return isinstance(self._last, FINAL_EVENTS)

    def post(self, event: Event) -> None:
        """Adds an event to the stream; what comes after the last event is ignored."""
        with self._changed:
            if self.is_finished:
                return
            superseded = self._unread and isinstance(event, (Step, Queued)) and type(self._unread[-1]) is type(event)
            if superseded:
                self._unread.pop()
            self._unread.append(event)
            self._last = event
            self._changed.notify_all()

    def events(self) -> Iterator[Event]:
        """The stream for one listener: blocks until something happens, ends after the last event."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unread)
                event = self._unread.popleft()
            yield event
            if isinstance(event, FINAL_EVENTS):
                return

    def result(self, timeout: float | None = None) -> Result:
        """Waits for the end; raises the job's `PipelineError`, or `TimeoutError` after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.is_finished, timeout):
                raise TimeoutError(f"no result within {timeout} s")
        if isinstance(self._last, Done):
            return self._last.result
        if isinstance(self._last, Failed):
            raise self._last.error
        raise Cancelled("the job was stopped")
