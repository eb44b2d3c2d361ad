"""The handle of one submitted request: a stream of events to listen to, and a way to stop it."""

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from pipelines.schema.errors import Cancelled
from pipelines.schema.events import FINAL_EVENTS, Done, Event, Failed, Loading, Queued, Result, Step, Stopped
from pipelines.schema.requests import GenerationRequest

PAUSE_SECONDS = 0.25
"""Between two steps that a listener hears of, unless one brings a preview or something else happens: more is not seen,
and waking somebody keeps the device's thread waiting. Longer than from preview to preview."""


class Job:
    """One request on its way. The engine posts events; any thread may listen, wait or cancel.

    Of steps and queue positions a listener finds only the newest, so that a slow browser costs no memory, and one that
    listens well is woken a few times a second. An event of another kind is never dropped.
    """

    def __init__(self, request: GenerationRequest, owner: str) -> None:
        self.id = uuid.uuid4().hex
        self.request = request
        self.owner = owner
        """Whoever shares the device fairly with others: a visitor as the interface tells them apart, or ""."""
        self._unread: deque[Event] = deque()
        self._last: Event | None = None
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._news = threading.Condition(lock)
        """Told of what is to be heard at once, as `_is_news` says."""
        self._started = False
        self._cancelled = False
        self._at_end: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Asks for the end: a waiting job ends at once, a running one takes no further step."""
        with self._changed:
            self._cancelled = True
            is_waiting = not self._started
        if is_waiting:
            self.post(Stopped())

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for the end."""
        return self._cancelled

    @property
    def is_finished(self) -> bool:
        """Whether the last event has been posted."""
        return isinstance(self._last, FINAL_EVENTS)

    def start(self) -> bool:
        """Says that the job is on the device from now on; False when it was stopped before."""
        with self._changed:
            self._started = True
            return not self._cancelled

    def stop(self, result: Result | None = None) -> None:
        """Ends the job as stopped, whoever asked for it; `result`: the pictures that were finished before."""
        self._cancelled = True
        self.post(Stopped(result))

    def when_finished(self, action: Callable[[], None]) -> None:
        """Has `action` called once the last event is posted, by whoever posts it; at once where that has happened."""
        with self._changed:
            if not self.is_finished:
                self._at_end.append(action)
                return
        action()

    def report(self, event: Loading) -> None:
        """Says what is being loaded for the job; raises `Cancelled` where somebody has asked for the end."""
        if self.is_cancelled:
            raise Cancelled("the job was stopped while its model was being loaded")
        self.post(event)

    def post(self, event: Event) -> None:
        """Adds an event to the stream; what says nothing new, or comes after the last event, is ignored."""
        with self._changed:
            if self.is_finished or event == self._last:
                return
            newest = self._unread[-1] if self._unread else None
            if isinstance(event, (Step, Queued)) and type(newest) is type(event):
                self._unread.pop()
                event = _keep_preview(event, newest)
            self._unread.append(event)
            self._last = event
            self._changed.notify_all()
            if _is_news(event):
                self._news.notify_all()
            if not self.is_finished:
                return
            actions, self._at_end = self._at_end, []
        for action in actions:  # without the lock: they take others, whose holders post events
            action()

    def events(self) -> Iterator[Event]:
        """The stream for one listener: blocks until something is to be heard, ends with the last event."""
        event: Event | None = None
        while True:
            with self._changed:
                if isinstance(event, Step):
                    self._news.wait_for(lambda: any(map(_is_news, self._unread)) or self.is_finished, PAUSE_SECONDS)
                self._changed.wait_for(lambda: self._unread or self.is_finished)
                if not self._unread:
                    return
                event = self._unread.popleft()
            yield event

    def result(self, timeout: float | None = None) -> Result:
        """Waits for the end; raises the job's `PipelineError`, or `TimeoutError` after `timeout` seconds."""
        with self._news:
            if not self._news.wait_for(lambda: self.is_finished, timeout):
                raise TimeoutError(f"no result within {timeout} s")
        if isinstance(self._last, Done):
            return self._last.result
        if isinstance(self._last, Failed):
            raise self._last.error
        raise Cancelled("the job was stopped")


def _is_news(event: Event) -> bool:
    """Whether whoever waits is to hear of it at once."""
    return not isinstance(event, Step) or event.preview is not None


def _keep_preview(event: Step | Queued, superseded: Event | None) -> Event:
    """The newer of two steps, with the older one's preview where it has none: previews are rarer than steps."""
    if isinstance(event, Step) and isinstance(superseded, Step) and event.preview is None:
        return replace(event, preview=superseded.preview)
    return event
