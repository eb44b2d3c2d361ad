"""The device's thread: a piece of one job's work at a time, and what becomes of a job whose piece fails.

All torch work of a device happens on this one thread; everybody else submits and listens.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch

from pipelines.album import Ending
from pipelines.components.device import name_of_dtype
from pipelines.components.expert import Expert
from pipelines.components.memory import is_out_of_memory
from pipelines.components.tiny import TinyDecoders
from pipelines.components.use import Use
from pipelines.diffusion.conditioner import Conditioner
from pipelines.diffusion.latents import decode_picture
from pipelines.diffusion.previewers import Previewers
from pipelines.diffusion.previews import StepReporter
from pipelines.healing import Healer
from pipelines.line import Line, Turn
from pipelines.rounds import Rounds, Work
from pipelines.saving import Drawn, Saver, without_frames
from pipelines.schema.errors import Cancelled, NumericalError, PipelineError, RunError
from pipelines.schema.events import Loading, Notice, Noticed, Saving
from pipelines.schema.models import AddOn, Selection
from pipelines.schema.settings import Settings
from pipelines.tasks import TASKS

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01
"""The device's thread waits so long for a job whose pictures wait for the disk, before it looks after the others."""
DRAWN_ANEW: tuple[Notice, ...] = ("denoised_in_float32", "weights_reloaded")
"""What a finished run's latents are of no use after; the rest concerns decoding alone."""


class Engine:
    """Draws the jobs of a line on one device."""

    def __init__(
        self,
        settings: Settings,
        line: Line,
        conditioner: Conditioner,
        saver: Saver,
        own: Selection,
        decoder: AddOn | None = None,
    ) -> None:
        self.settings = settings
        self.line = line
        self.saver = saver
        self.conditioner = conditioner
        self.components = conditioner.components
        self.own = own
        """What the studio starts with."""
        self.drawn_with = own.model.title
        """The checkpoint of the last job that was prepared."""
        self.decoders = TinyDecoders(self.components.fetch, self.components.device, self.components.dtype)
        self.previewers = Previewers(decoder, self.decoders)
        self.cores = torch.get_num_threads()
        self.rounds = Rounds(self.components, line, self._guard)
        self.healer = Healer(self.components, self.decoders)
        self.ready: Future[None] = Future()
        """Done when the thread takes jobs; holds the `ModelError` of a preload that failed."""
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends every job as stopped and the thread with them; pictures that are being saved are saved."""
        self.line.close()
        self._thread.join()
        self.saver.close()
        self.rounds.close()

    @torch.inference_mode()
    def _work(self) -> None:
        torch.set_num_threads(self.cores)
        try:
            if self._get_ready():
                while turns := self.line.next_turns():
                    self.rounds.take(turns)
        finally:
            self.line.close()
            for turn in self.line.running():
                self._end(turn, Cancelled("the studio is closing"))
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

    def _guard(self, turn: Turn, piece: Callable[[], None] | None = None) -> None:
        """Does a piece of one job's work, else the next; whatever that raises ends this job and no other."""
        job = turn.job
        try:
            if job.is_cancelled:
                raise Cancelled("the job was stopped")
            if turn.album.failure is not None:
                raise turn.album.failure
            self._advance(turn, piece or (lambda: self._do_next(turn)))
            return
        except PipelineError as error:
            reason = without_frames(job, error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            reason = RunError(f"the device failed while drawing ({type(error).__name__}); try again")
        self._end(turn, reason)  # out here the frames that held the tensors of the failed piece are gone

    def _advance(self, turn: Turn, piece: Callable[[], None]) -> None:
        """A piece of the job's work; what fails for want of memory or precision is mended, and done again later."""
        try:
            piece()
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
        turn.work = turn.clock = None  # before memory is looked for, and before anybody hears of a failure
        if not is_drawn:
            work = None
        if not isinstance(failure, NumericalError):
            for other in self.line.running():
                if other.work is not None:
                    other.work.run.forget_made()
        notice = self.healer.heal(turn, failure, experts, is_drawn=is_drawn)
        turn.job.post(Noticed(notice))
        if notice not in DRAWN_ANEW:
            turn.work = work

    def _do_next(self, turn: Turn) -> None:
        """Preparing a draw, one step, or decoding one picture; after the last the pictures are handed on."""
        if turn.work is None:
            if turn.album.wait_for_room(PAUSE_SECONDS):
                turn.work = self._prepare(turn)
            return
        work: Work = turn.work
        if not work.run.is_done:
            segment, _ = work.run.locate()
            if not self.components.holds(segment.expert):
                self._draw_anew(turn)
                return
            self.rounds.step(turn)
            return
        if turn.is_last:
            turn.job.post(Saving())
        latents = work.run.finish()
        expert = work.run.segments[-1].expert
        vae, dtype = self._decoder(turn, expert)
        work.pictures.append(decode_picture(vae, latents[[len(work.pictures)]], dtype))
        self.healer.note_tiles(turn)
        if len(work.pictures) == len(latents):
            self.saver.save(turn, Drawn(work.pictures, work.run.steps, name_of_dtype(expert.dtype)))
            self._go_on(turn)

    def _go_on(self, turn: Turn) -> None:
        """The draw at hand is drawn: on to the job's next one, or off the device."""
        if turn.is_last:
            self._end(turn)
            return
        turn.clock = turn.work.reporter.clock
        turn.work = None
        turn.number += 1

    def _draw_anew(self, turn: Turn) -> None:
        """Another job has found this one's weights damaged, and they were dropped."""
        turn.work = turn.clock = None
        self.healer.note_reload(turn)
        turn.job.post(Noticed("weights_reloaded"))

    def _prepare(self, turn: Turn) -> Work:
        turn.album.start()
        self.drawn_with = turn.selection.model.title
        report = turn.job.report
        dtype = self.healer.dtype(turn)
        self.healer.relax()
        turn.use = use = Use(turn.selection, dtype or self.components.dtype)
        self.components.in_use = [other.use for other in self.line.running() if other.use]
        task, request = TASKS[turn.job.request.task], turn.drawing.draw.request
        run = task.prepare(
            request,
            turn.inputs,
            lambda name: self.conditioner.condition(request, use, name, report),
        )
        self.components.note()
        preview = self.previewers.of(turn.selection.model, report)
        return Work(run, StepReporter(run, preview, turn.number, len(turn.drawings), turn.clock))

    def _decoder(self, turn: Turn, expert: Expert) -> tuple[Any, torch.dtype]:
        """The VAE and its precision: its own, or float32 where that has overflowed; for a draft a small one."""
        tiny = turn.selection.tiny
        if tiny is not None and not self.healer.leaves_draft(turn):
            return self.decoders.get(tiny, turn.job.report), self.decoders.dtype
        dtype = self.healer.decoding_dtype(turn)
        if dtype is None:
            return expert.vae, expert.vae_dtype
        return self.components.vae(Use(turn.selection, dtype), turn.job.report), dtype

    def _end(self, turn: Turn, error: PipelineError | None = None) -> None:
        """Takes a job off the device, and with it whatever was changed for its sake; it ends with what was drawn."""
        ending = Ending(error, self.healer.notices(turn))
        self._leave(turn)
        self.saver.end(turn, ending)

    def _leave(self, turn: Turn) -> None:
        self.line.leave(turn)
        self.components.in_use = [use for use in self.components.in_use if use is not turn.use]
        try:
            self.healer.forget(turn)
            self.components.note()
        except Exception:  # the picture is drawn: what could not be put back now is tried before the next job
            log.exception("the memory mode could not be put back")
