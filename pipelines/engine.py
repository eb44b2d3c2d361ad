"""The device thread: it admits jobs, lets their runs take turns step by step, and says what happens.

All torch work of a device happens on this one thread; everybody else submits and listens.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from pipelines.diffusion.conditioning import Conditioner
from pipelines.diffusion.latents import decode_latents
from pipelines.diffusion.previews import LatentPreview, StepReporter
from pipelines.diffusion.run import Run
from pipelines.job import Job
from pipelines.media.save import save_pictures
from pipelines.schema.errors import PipelineError, QueueFull, RunError
from pipelines.schema.events import Done, Event, Failed, Loading, Queued, Result, Saving, Stopped
from pipelines.schema.settings import Settings
from pipelines.tasks import TASKS

log = logging.getLogger(__name__)


@dataclass
class Turn:
    """A job, and the run that it becomes when it is on the device."""

    job: Job
    inputs: Any
    """What the job's task made of its uploads."""
    run: Run | None = None
    reporter: StepReporter | None = None
    started: float = 0.0


class Engine:
    """Draws jobs on one device. Public methods may be called from any thread."""

    def __init__(self, settings: Settings, conditioner: Conditioner, preview: LatentPreview | None) -> None:
        self.settings = settings
        self.conditioner = conditioner
        self.preview = preview
        self._waiting: deque[Turn] = deque()
        self._running: list[Turn] = []
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._savers = ThreadPoolExecutor(2, thread_name_prefix="saver")
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    def submit(self, job: Job, inputs: Any) -> None:
        """Puts a job at the end of the queue; raises `QueueFull`."""
        with self._changed:
            places = self.settings.max_running + self.settings.max_queue
            if len(self._running) + len(self._waiting) >= places:
                waiting = len(self._waiting)
                raise QueueFull(f"{waiting} jobs are waiting, as many as this studio allows; try again later")
            self._waiting.append(Turn(job, inputs))
            self._post_positions()
            self._changed.notify()

    def call(self, function: Callable[[], Any]) -> "Future[Any]":
        """Runs `function` on the device thread between two steps."""
        future: Future[Any] = Future()
        with self._changed:
            self._calls.append((function, future))
            self._changed.notify()
        return future

    def counts(self) -> tuple[int, int]:
        """Jobs that wait, and jobs that take turns on the device."""
        with self._changed:
            return len(self._waiting), len(self._running)

    def close(self) -> None:
        """Ends every job as stopped and the thread with them; pictures that are being saved are saved."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._savers.shutdown()

    @torch.inference_mode()
    def _work(self) -> None:
        while self._take_jobs():
            while self._calls:
                self._answer(*self._calls.popleft())
            for turn in list(self._running):
                if turn.job.is_cancelled:
                    self._leave(turn, Stopped())
                else:
                    self._guard(turn, lambda turn=turn: self._advance(turn))
        for turn in [*self._running, *self._waiting]:
            turn.job.post(Stopped())

    def _take_jobs(self) -> bool:
        """Waits until there is something to do and fills the free places; False once the engine is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._calls or self._waiting or self._running)
            for turn in [turn for turn in self._waiting if turn.job.is_cancelled]:
                self._waiting.remove(turn)
                turn.job.post(Stopped())
            while self._waiting and len(self._running) < self.settings.max_running:
                self._running.append(self._choose())
            self._post_positions()
            return not self._closed

    @staticmethod
    def _answer(function: Callable[[], Any], future: "Future[Any]") -> None:
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for the answer
            future.set_exception(error)

    def _choose(self) -> Turn:
        """The first waiting job of the owner who has the fewest jobs on the device."""
        owners = [turn.job.owner for turn in self._running]
        turn = min(self._waiting, key=lambda waiting: owners.count(waiting.job.owner))
        self._waiting.remove(turn)
        return turn

    def _post_positions(self) -> None:
        for position, turn in enumerate(self._waiting, start=len(self._running)):
            turn.job.post(Queued(position))

    def _guard(self, turn: Turn, action: Callable[[], None]) -> None:
        """Does one job's work; whatever that raises ends this job and no other."""
        try:
            action()
        except PipelineError as error:
            self._leave(turn, Failed(error))
        except Exception as error:
            log.exception("job %s failed", turn.job.id)
            self._leave(turn, Failed(RunError(f"the device failed while drawing ({type(error).__name__}); try again")))

    def _leave(self, turn: Turn, event: Event | None = None) -> None:
        """Takes a job off the device and lets go of all that its run held."""
        with self._changed:
            if turn in self._running:
                self._running.remove(turn)
        turn.run = turn.reporter = None
        if event is not None:
            turn.job.post(event)

    def _advance(self, turn: Turn) -> None:
        """One piece of work for one job: preparing it, then a step at a time, decoding after the last."""
        request = turn.job.request
        if turn.run is None or turn.reporter is None:
            turn.started = time.monotonic()
            turn.run = TASKS[request.task].prepare(request, turn.inputs, lambda name: self._condition(turn.job, name))
            turn.reporter = StepReporter(turn.run, self.preview)
            return
        expert = turn.run.advance()
        turn.job.post(turn.reporter.report(expert))
        if turn.run.is_done:
            turn.job.post(Saving())
            segment, steps = turn.run.segments[-1], turn.run.steps
            pictures = decode_latents(segment.expert.vae, turn.run.finish())
            self._leave(turn)
            self._savers.submit(self._guard, turn, lambda: self._save(turn, pictures, steps))

    def _condition(self, job: Job, name: str) -> Any:
        return self.conditioner.condition(job.request, name, lambda what, fraction: job.post(Loading(what, fraction)))

    def _save(self, turn: Turn, pictures: list[Image.Image], steps: dict[str, int]) -> None:
        """Finishes and writes the pictures beside the device thread, which goes on with other jobs."""
        request = turn.job.request
        model = self.conditioner.components.model.name
        finished = TASKS[request.task].finish(turn.inputs, pictures)
        files = save_pictures(finished, request, request.seeds, model, self.settings.output_dir)
        elapsed_seconds = time.monotonic() - turn.started
        turn.job.post(Done(Result(files, request.seeds, request, elapsed_seconds, steps, model)))
