"""A job's events for Gradio's event loop, and the end of the job when nobody listens any more."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator

from pipelines.job import Job
from pipelines.schema.events import FINAL_EVENTS, Event

HEARTBEAT_SECONDS = 1.0
"""How often whoever listens has a chance to look whether the browser or the API's caller is still there."""


async def listen(job: Job) -> AsyncGenerator[Event | None, None]:
    """The events of `job`, and `None` after each silent second; leaving early cancels the job.

    A thread of its own waits on the job, because a handler that blocks could neither be cancelled while
    it waits in a long queue nor leave Gradio's thread pool to others.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Event] = asyncio.Queue()

    def pump() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the app has ended
            for event in job.events():
                loop.call_soon_threadsafe(queue.put_nowait, event)

    threading.Thread(target=pump, name=f"listen-{job.id[:8]}", daemon=True).start()
    next_event = asyncio.ensure_future(queue.get())
    try:
        while True:
            done, _ = await asyncio.wait({next_event}, timeout=HEARTBEAT_SECONDS)
            if not done:
                yield None
                continue
            event = next_event.result()
            yield event
            if isinstance(event, FINAL_EVENTS):
                return
            next_event = asyncio.ensure_future(queue.get())
    finally:
        next_event.cancel()
        job.cancel()
