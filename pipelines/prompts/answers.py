"""What was found out about prompts is kept for a while, and only so much is found out at once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from pipelines.schema.errors import QueueFull

AT_ONCE = 2
"""The longest prompts take a processor a second."""
MAX_WAITING = 24
"""Each holds one of the server's threads."""
MAX_KEPT = 128

Answer = TypeVar("Answer")


class Answers:
    """Answers by what was asked. Safe from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._state: object = None
        self._waiting = 0
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def find(self, question: Hashable, state: object, work_out: Callable[[], Answer]) -> Answer:
        """The answer of `work_out`, which may be one that was given before to the same question.

        Another `state` than before makes all answers void. Raises `QueueFull` where too many wait already.
        """
        with self._lock:
            if state is not self._state:
                self._kept.clear()
                self._state = state
            if question in self._kept:
                self._kept.move_to_end(question)
                return self._kept[question]
            if self._waiting >= AT_ONCE + MAX_WAITING:
                raise QueueFull("too many prompts are being counted; try again in a moment")
            self._waiting += 1
        try:
            with self._turns:
                with self._lock:
                    if question in self._kept:  # somebody before us asked the same
                        return self._kept[question]
                answer = work_out()
        finally:
            with self._lock:
                self._waiting -= 1
        with self._lock:
            if state is self._state:
                self._kept[question] = answer
                if len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
        return answer
