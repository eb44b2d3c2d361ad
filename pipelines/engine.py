"""The device thread: it lets jobs take turns, a step at a time, and says what happens to them.

All torch work of a device happens on this one thread; everybody else submits and listens.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from pipelines.components.expert import Expert
from pipelines.components.loading import Report
from pipelines.components.memory import is_out_of_memory
from pipelines.components.use import Use
from pipelines.diffusion.conditioner import Conditioner
from pipelines.diffusion.latents import decode_picture
from pipelines.diffusion.pace import Pace
from pipelines.diffusion.previewers import Previewers
from pipelines.diffusion.previews import StepReporter
from pipelines.diffusion.run import Run
from pipelines.healing import Healer
from pipelines.job import Job
from pipelines.line import Line, Turn
from pipelines.media.save import save_pictures
from pipelines.schema.errors import Cancelled, NumericalError, PipelineError, RunError
from pipelines.schema.events import Done, Failed, Loading, Notice, Noticed, Result, Saving
from pipelines.schema.models import AddOn, Selection
from pipelines.schema.settings import Settings
from pipelines.tasks import TASKS

log = logging.getLogger(__name__)

DRAWN_ANEW: tuple[Notice, ...] = ("denoised_in_float32", "weights_reloaded")
"""What a finished run's latents are of no use after; the rest concerns decoding alone."""


@dataclass
class Work:
    """What a job is on the device: its run, then the pictures decoded so far."""

    run: Run
    reporter: StepReporter
    started: float
    pictures: list[Image.Image] = field(default_factory=list)


class Engine:
    """Draws the jobs of a line on one device."""

    def __init__(
        self, settings: Settings, line: Line, conditioner: Conditioner, own: Selection, decoder: AddOn | None = None
    ) -> None:
        self.settings = settings
        self.line = line
        self.conditioner = conditioner
        self.components = conditioner.components
        self.own = own
        """What the studio starts with."""
        self.drawn_with = own.model.title
        """The checkpoint of the last job that was prepared."""
        self.previewers = Previewers(decoder, self.components.fetch, self.components.device, self.components.dtype)
        self.pace = Pace(self.components.device)
        self.healer = Healer(self.components)
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
            if self._get_ready():
                while turns := self.line.next_turns():
                    for turn in turns:
                        self._guard(turn.job, lambda turn=turn: self._advance(turn))
                        if turn.job.is_finished:
                            self._leave(turn)
        finally:
            self.line.close()
            self.line.clear()
            self.components.clear()

    def _get_ready(self) -> bool:
        """Loads the model, when that is asked for; on failure `ready` says why."""
        try:
            if self.settings.preload:
                self._preload()
        except PipelineError as error:
            self.ready.set_exception(error)
            return False
        except Exception as error:
            log.exception("preloading failed")
            self.ready.set_exception(RunError(f"the model could not be loaded ({type(error).__name__})"))
            return False
        self.ready.set_result(None)
        return True

    def _preload(self) -> None:
        def report(event: Loading) -> None:
            log.info("loading %s, %.0f %%", event.what, event.fraction * 100)

        use = Use(self.own, self.components.dtype)
        for name in ("base", "refiner") if self.own.refiner else ("base",):
            while True:
                try:
                    self.components.expert(use, name, report)
                    break
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                self.healer.climb()

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
        """The job's next piece of work; what fails for want of memory or precision is mended and done again."""
        try:
            self._do_next(turn)
            return
        except PipelineError as error:
            if not isinstance(error, NumericalError):
                raise
            failure: Exception = error.with_traceback(None)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failure = error.with_traceback(None)
        # out here the frames that held the tensors of the failed step are gone
        failure.__context__ = failure.__cause__ = None
        work: Work | None = turn.work
        experts = [segment.expert for segment in work.run.segments] if work else []
        is_drawn = work is not None and work.run.is_done
        turn.work = None  # before memory is looked for, and before anybody hears of a failure
        if not is_drawn:
            work = None
        notice = self.healer.heal(turn, failure, experts, is_drawn=is_drawn)
        turn.job.post(Noticed(notice))
        if notice not in DRAWN_ANEW:
            turn.work = work

    def _do_next(self, turn: Turn) -> None:
        """Preparing the job, one step, or decoding one picture; after the last the pictures are handed on."""
        if turn.work is None:
            turn.work = self._prepare(turn)
            return
        work: Work = turn.work
        if not work.run.is_done:
            segment, _ = work.run.locate()
            if not self.components.holds(segment.expert):
                self._draw_anew(turn)
                return
            self.components.use_adapters(segment.expert, turn.selection, self._reporter(turn.job))
            expert = work.run.advance()
            self.pace.keep()
            turn.job.post(work.reporter.report(expert))
            return
        turn.job.post(Saving())
        latents = work.run.finish()
        vae, dtype = self._decoder(turn, work.run.segments[-1].expert)
        work.pictures.append(decode_picture(vae, latents[[len(work.pictures)]], dtype))
        self.healer.note_tiles(turn)
        if len(work.pictures) == len(latents):
            notices = self.healer.notices(turn)
            self._savers.submit(self._guard, turn.job, lambda: self._save(turn, work, notices))
            self._leave(turn)

    def _draw_anew(self, turn: Turn) -> None:
        """Another job has found this one's weights damaged, and they were dropped."""
        turn.work = None
        self.healer.note_reload(turn)
        turn.job.post(Noticed("weights_reloaded"))

    def _prepare(self, turn: Turn) -> Work:
        started = time.monotonic()
        self.drawn_with = turn.selection.model.title
        report = self._reporter(turn.job)
        dtype = self.healer.dtype(turn)
        self.healer.relax()
        turn.use = use = Use(turn.selection, dtype or self.components.dtype)
        self.components.in_use = [other.use for other in self.line.running() if other.use]
        task, request = TASKS[turn.job.request.task], turn.job.request
        run = task.prepare(
            request,
            turn.inputs,
            lambda name: self.conditioner.condition(request, use, name, report),
        )
        self.components.note()
        return Work(run, StepReporter(run, self.previewers.of(turn.selection.model, report)), started)

    def _decoder(self, turn: Turn, expert: Expert) -> tuple[Any, torch.dtype]:
        """The VAE and its precision: its own, or float32 where that has overflowed."""
        dtype = self.healer.decoding_dtype(turn)
        if dtype is None:
            return expert.vae, expert.vae_dtype
        return self.components.vae(Use(turn.selection, dtype), self._reporter(turn.job)), dtype

    def _reporter(self, job: Job) -> Report:
        def report(event: Loading) -> None:
            if job.is_cancelled:
                raise Cancelled("the job was stopped while its model was being loaded")
            job.post(event)

        return report

    def _leave(self, turn: Turn) -> None:
        """Takes a job off the device, and with it whatever was changed for its sake."""
        self.line.leave(turn)
        self.components.in_use = [use for use in self.components.in_use if use is not turn.use]
        try:
            self.healer.forget(turn)
            self.components.note()
        except Exception:  # the picture is drawn: what could not be put back now is tried before the next job
            log.exception("the memory mode could not be put back")

    def _save(self, turn: Turn, work: Work, notices: tuple[Notice, ...]) -> None:
        """Finishes and writes the pictures beside the device thread, which goes on with other jobs."""
        request, model = turn.job.request, turn.selection.model.name
        finish = TASKS[request.task].finish
        finished = (finish(turn.inputs, picture) for picture in work.pictures)
        files = save_pictures(finished, request, request.seeds, model, self.settings.output_dir)
        elapsed = time.monotonic() - work.started
        turn.job.post(Done(Result(files, request.seeds, request, elapsed, work.run.steps, model, notices)))
