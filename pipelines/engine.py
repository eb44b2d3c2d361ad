"""The device thread: it lets jobs take turns, a step at a time, and says what happens to them.

All torch work of a device happens on this one thread; everybody else submits and listens.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from pipelines.album import Ending
from pipelines.components.expert import Expert
from pipelines.components.loading import Report
from pipelines.components.memory import is_out_of_memory
from pipelines.components.tiny import TinyDecoders
from pipelines.components.use import Use
from pipelines.diffusion.conditioner import Conditioner
from pipelines.diffusion.latents import decode_picture
from pipelines.diffusion.pace import Pace
from pipelines.diffusion.previewers import Previewers
from pipelines.diffusion.previews import StepReporter
from pipelines.diffusion.run import Run
from pipelines.diffusion.steps.call import Call, predict
from pipelines.diffusion.steps.company import Companies, Seat
from pipelines.diffusion.steps.costs import Costs
from pipelines.diffusion.steps.lanes import Lanes
from pipelines.healing import Healer
from pipelines.job import Job
from pipelines.line import Line, Turn
from pipelines.saving import Saver, without_frames
from pipelines.schema.errors import Cancelled, NumericalError, PipelineError, RunError
from pipelines.schema.events import Loading, Notice, Noticed, Saving
from pipelines.schema.models import AddOn, Selection
from pipelines.schema.settings import Settings
from pipelines.tasks import TASKS
from pipelines.tasks.task import most_area

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01
"""The device's thread waits so long for a job whose pictures wait for the disk, before it looks after the others."""
DRAWN_ANEW: tuple[Notice, ...] = ("denoised_in_float32", "weights_reloaded")
"""What a finished run's latents are of no use after; the rest concerns decoding alone."""


@dataclass
class Work:
    """What a draw is on the device: its run, then the pictures decoded so far."""

    run: Run
    reporter: StepReporter
    pictures: list[Image.Image] = field(default_factory=list)


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
        self.pace = Pace(self.components.device)
        self.costs = Costs(self.components.device)
        self.companies = Companies(self.costs)
        self.cores = torch.get_num_threads()
        self.lanes = Lanes(self.cores) if self.components.device.type == "cpu" else None
        self.healer = Healer(self.components)
        self.ready: Future[None] = Future()
        """Done when the thread takes jobs; holds the `ModelError` of a preload that failed."""
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends every job as stopped and the thread with them; pictures that are being saved are saved."""
        self.line.close()
        self._thread.join()
        self.saver.close()
        if self.lanes is not None:
            self.lanes.close()

    @torch.inference_mode()
    def _work(self) -> None:
        torch.set_num_threads(self.cores)
        try:
            if self._get_ready():
                while turns := self.line.next_turns():
                    self._take_turns(turns)
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

    def _take_turns(self, turns: list[Turn]) -> None:
        """One piece of each job's work; steps that gain by it are taken together, with those of guests."""
        hosts = [turn for turn in turns if self._is_at_step(turn)]
        for turn in turns:
            if turn not in hosts:
                self._guard(turn)
        area = max((most_area(turn.selection.model) for turn in hosts), default=0)
        seats = self._find_seats(hosts)
        guests = [turn for turn in self.line.running() if turn not in turns] if seats else []
        companies = self.companies.form(seats, self._find_seats(guests, are_guests=True), area)
        seats.clear()
        while companies:
            self._step_together(companies.pop(0))

    def _is_at_step(self, turn: Turn) -> bool:
        """Whether nothing but a step is to be done for the job."""
        work: Work | None = turn.work
        if work is None or work.run.is_done or turn.job.is_cancelled or turn.album.failure is not None:
            return False
        return self.components.holds(work.run.locate()[0].expert)

    def _find_seats(self, turns: Sequence[Turn], *, are_guests: bool = False) -> list[Seat]:
        """What each job asks of its UNet next; one that cannot ask is looked after alone, a guest in its own turn."""
        seats: list[Seat] = []
        for turn in turns:
            is_asked = False
            if self._is_at_step(turn):  # still: another's piece may have dropped its weights
                try:
                    seats.append(self._seat(turn))
                    is_asked = True
                except Exception as error:  # noqa: BLE001 -- met again, alone
                    log.warning("job %s could not ask for a step (%s)", turn.job.id, type(error).__name__)
            if not is_asked and not are_guests:
                self._guard(turn)
        return seats

    def _seat(self, turn: Turn) -> Seat:
        call, expert = turn.work.run.ask(), turn.work.run.locate()[0].expert
        kind = (call.kind, turn.selection.adapters(expert.name))
        height, width = call.sample.shape[-2:]
        return Seat((turn, call), turn.job.owner, kind, len(call.sample), height * width)

    def _step_together(self, company: list[Seat]) -> None:
        """One UNet call for all; when it fails, nothing has happened yet, and each takes its step alone."""
        turns = [seat.key[0] for seat in company]
        predictions: list[torch.Tensor] = []
        if len(company) == 1:
            self._guard(turns[0], lambda: self._step(company.pop()))
            return
        try:
            predictions = self._predict(turns[0], [seat.key[1] for seat in company], company[0].kind)
        except Exception as error:  # noqa: BLE001 -- whoever's fault it is meets it again, alone
            log.warning("a step of %d jobs failed, each takes it alone (%s)", len(company), type(error).__name__)
        if not predictions:
            self.companies.avoid(company)
        company.clear()  # so that nothing of a job is held here when it has to be healed
        is_together = bool(predictions)
        for turn in turns:
            self._guard(turn, (lambda turn=turn: self._take(turn, predictions.pop(0))) if is_together else None)

    def _step(self, seat: Seat) -> None:
        """A job's step alone."""
        turn, call = seat.key
        self._take(turn, *self._predict(turn, [call], seat.kind))

    def _predict(self, turn: Turn, calls: Sequence[Call], kind: Hashable) -> list[torch.Tensor]:
        """The UNet's answers to calls of jobs with the adapters of `turn`."""
        expert = turn.work.run.locate()[0].expert
        self.components.use_adapters(expert, turn.selection, self._reporter(turn.job))
        memory = self.components.memory
        lanes = self.lanes if memory.mode == "full" and not memory.fp8 else None  # hooks cannot be in two calls at once
        keeps = memory.mode != "sequential"  # there each layer brings the next one on, and none may be left out
        with self.costs.measure(kind, sum(len(call.sample) for call in calls)):
            predictions = predict(calls, lanes, keeps)
        self.pace.keep()
        return predictions

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
        for other in self.line.running():
            if other.work is not None:  # keys and values are made again where they are wanted
                other.work.run.forget()
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
            self._step(self._seat(turn))
            return
        if turn.is_last:
            turn.job.post(Saving())
        latents = work.run.finish()
        vae, dtype = self._decoder(turn, work.run.segments[-1].expert)
        work.pictures.append(decode_picture(vae, latents[[len(work.pictures)]], dtype))
        self.healer.note_tiles(turn)
        if len(work.pictures) == len(latents):
            self.saver.save(turn, work.pictures, work.run.steps)
            self._go_on(turn)

    def _take(self, turn: Turn, prediction: torch.Tensor) -> None:
        """The rest of a step, and word of it."""
        work: Work = turn.work
        turn.job.post(work.reporter.report(work.run.take(prediction)))

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
        report = self._reporter(turn.job)
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
        dtype = self.healer.decoding_dtype(turn)
        if dtype is None and turn.selection.tiny is not None:
            return self.decoders.get(turn.selection.tiny, self._reporter(turn.job)), self.decoders.dtype
        if dtype is None:
            return expert.vae, expert.vae_dtype
        return self.components.vae(Use(turn.selection, dtype), self._reporter(turn.job)), dtype

    def _reporter(self, job: Job) -> Report:
        def report(event: Loading) -> None:
            if job.is_cancelled:
                raise Cancelled("the job was stopped while its model was being loaded")
            job.post(event)

        return report

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
