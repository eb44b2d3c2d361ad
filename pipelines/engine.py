"""The device thread: it lets jobs take turns, a step at a time, and says what happens to them.

All torch work of a device happens on this one thread; everybody else submits and listens.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from PIL import Image

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioner, Conditioning
from pipelines.diffusion.latents import decode_picture
from pipelines.diffusion.pace import Pace
from pipelines.diffusion.previews import LatentPreview, StepReporter
from pipelines.diffusion.run import Run
from pipelines.job import Job
from pipelines.line import Line, Turn
from pipelines.media.save import save_pictures
from pipelines.schema.errors import Cancelled, PipelineError, RunError
from pipelines.schema.events import Done, Failed, Loading, Result, Saving
from pipelines.schema.settings import Settings
from pipelines.tasks import TASKS

log = logging.getLogger(__name__)


@dataclass
class Work:
    """What a job is on the device: its run, then the pictures decoded so far."""

    run: Run
    reporter: StepReporter
    started: float
    pictures: list[Image.Image] = field(default_factory=list)


class Engine:
    """Draws the jobs of a line on one device."""

    def __init__(self, settings: Settings, line: Line, conditioner: Conditioner, preview: LatentPreview | None) -> None:
        self.settings = settings
        self.line = line
        self.conditioner = conditioner
        self.preview = preview
        self.pace = Pace(conditioner.components.device)
        self.ready: Future[None] = Future()
        """Done when the thread takes jobs; holds the `ModelError` of a preload that failed."""
        self._savers = ThreadPoolExecutor(2, thread_name_prefix="saver")
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends every job as stopped and the thread with them; pictures that are being saved are saved."""
        self.line.close()
        self._thread.join()
        self._savers.shutdown()

    @torch.inference_mode()
    def _work(self) -> None:
        try:
            if self.settings.preload:
                self._preload()
            self.ready.set_result(None)
            while turns := self.line.next_turns():
                for turn in turns:
                    self._guard(turn.job, lambda turn=turn: self._advance(turn))
                    if turn.job.is_finished:
                        self.line.leave(turn)
        except PipelineError as error:
            self.ready.set_exception(error)
        finally:
            self.line.close()
            self.line.clear()

    def _preload(self) -> None:
        components = self.conditioner.components
        for name in components.names:
            components.expert(name, lambda what, fraction: log.info("loading %s, %.0f %%", what, fraction * 100))

    def _guard(self, job: Job, action: Callable[[], None]) -> None:
        """Does a piece of one job's work; whatever that raises ends this job and no other."""
        try:
            if job.is_cancelled:
                raise Cancelled("the job was stopped")
            action()
        except Cancelled:
            job.stop()
        except PipelineError as error:
            if error.__cause__ is not None:
                log.warning("job %s: %s (%r)", job.id, error, error.__cause__)
            self._fail(job, error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            self._fail(job, RunError(f"the device failed while drawing ({type(error).__name__}); try again"))

    @staticmethod
    def _fail(job: Job, error: PipelineError) -> None:
        """Ends a job with an error that has let go of the frames, and so the tensors, it came from."""
        error.__cause__ = error.__context__ = None
        job.post(Failed(error.with_traceback(None)))

    def _advance(self, turn: Turn) -> None:
        """The job's next piece of work: preparing it, one step, decoding one picture, or handing them on."""
        if turn.work is None:
            turn.work = self._prepare(turn)
            return
        work: Work = turn.work
        if not work.run.is_done:
            expert = work.run.advance()
            self.pace.keep()
            turn.job.post(work.reporter.report(expert))
            return
        turn.job.post(Saving())
        latents = work.run.finish()
        work.pictures.append(decode_picture(work.run.segments[-1].expert.vae, latents[[len(work.pictures)]]))
        if len(work.pictures) == len(latents):
            self.line.leave(turn)
            steps, pictures, started = work.run.steps, work.pictures, work.started
            self._savers.submit(self._guard, turn.job, lambda: self._save(turn, pictures, steps, started))

    def _prepare(self, turn: Turn) -> Work:
        started = time.monotonic()
        job = turn.job
        run = TASKS[job.request.task].prepare(job.request, turn.inputs, lambda name: self._condition(job, name))
        return Work(run, StepReporter(run, self.preview), started)

    def _condition(self, job: Job, name: str) -> tuple[Expert, Conditioning]:
        def report(what: str, fraction: float) -> None:
            if job.is_cancelled:
                raise Cancelled("the job was stopped while its model was being loaded")
            job.post(Loading(what, fraction))

        return self.conditioner.condition(job.request, name, report)

    def _save(self, turn: Turn, pictures: list[Image.Image], steps: dict[str, int], started: float) -> None:
        """Finishes and writes the pictures beside the device thread, which goes on with other jobs."""
        request = turn.job.request
        model = self.conditioner.components.model.name
        finish = TASKS[request.task].finish
        finished = (finish(turn.inputs, picture) for picture in pictures)
        files = save_pictures(finished, request, request.seeds, model, self.settings.output_dir)
        turn.job.post(Done(Result(files, request.seeds, request, time.monotonic() - started, steps, model)))
