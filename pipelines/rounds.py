"""A round: one piece of every visitor's work, in which steps that gain by it are taken in one UNet call.

What else a job needs, and what becomes of one whose piece fails, is its caller's business.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from pipelines.components.cache import ComponentCache
from pipelines.components.memory import is_out_of_memory
from pipelines.diffusion.pace import Pace
from pipelines.diffusion.previews import StepReporter
from pipelines.diffusion.run import Run
from pipelines.diffusion.steps.call import Call, predict
from pipelines.diffusion.steps.company import Companies, Seat
from pipelines.diffusion.steps.costs import Costs
from pipelines.diffusion.steps.lanes import Lanes
from pipelines.line import Line, Turn
from pipelines.tasks.task import most_area

log = logging.getLogger(__name__)

Guard = Callable[[Turn, Callable[[], None] | None], None]
"""Does a piece of a job's work, its next one for `None`; what that raises is mended, or ends this job and no other."""


@dataclass
class Work:
    """What a draw is on the device: its run, then the pictures decoded so far."""

    run: Run
    reporter: StepReporter
    pictures: list[Image.Image] = field(default_factory=list)


class Rounds:
    """Takes the steps of a line's jobs, alone or together. Used by the device's thread alone."""

    def __init__(self, components: ComponentCache, line: Line, guard: Guard) -> None:
        self.components = components
        self.line = line
        self.pace = Pace(components.device)
        self.costs = Costs(components.device)
        self.companies = Companies(self.costs)
        self.lanes = Lanes(torch.get_num_threads()) if components.device.type == "cpu" else None
        self._guard = guard

    def take(self, turns: Sequence[Turn]) -> None:
        """One piece of each job's work; steps that gain by it are taken together, with those of guests."""
        running = self.line.running()
        if len(running) == 1:  # nobody to go with
            self._guard(turns[0], None)
            return
        hosts = [turn for turn in turns if self._is_at_step(turn)]
        for turn in turns:
            if turn not in hosts:
                self._guard(turn, None)
        area = max((most_area(turn.selection.model) for turn in hosts), default=0)
        seats = self._find_seats(hosts)
        guests = [turn for turn in running if turn not in turns] if seats else []
        companies = self.companies.form(seats, self._find_seats(guests, are_guests=True), area)
        seats.clear()
        while companies:
            self._step_together(companies.pop(0))

    def step(self, turn: Turn) -> None:
        """A job's step alone."""
        self._step(self._seat(turn))

    def close(self) -> None:
        """Ends the lanes' threads."""
        if self.lanes is not None:
            self.lanes.close()

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
                self._guard(turn, None)
        return seats

    def _seat(self, turn: Turn) -> Seat:
        work: Work = turn.work
        call, expert = work.run.ask(), work.run.locate()[0].expert
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
            if is_out_of_memory(error):
                self.companies.avoid(company)
        company.clear()  # so that nothing of a job is held here when it has to be healed
        if not predictions:
            for turn in turns:
                self._guard(turn, None)
        while predictions:  # each job's own, also behind one that was stopped in the meantime
            self._guard_rest(turns.pop(0), predictions.pop(0))

    def _guard_rest(self, turn: Turn, prediction: torch.Tensor) -> None:
        self._guard(turn, lambda: _take(turn, prediction))

    def _step(self, seat: Seat) -> None:
        turn, call = seat.key
        _take(turn, *self._predict(turn, [call], seat.kind))

    def _predict(self, turn: Turn, calls: Sequence[Call], kind: Hashable) -> list[torch.Tensor]:
        """The UNet's answers to calls of jobs with the adapters of `turn`."""
        work: Work = turn.work
        expert = work.run.locate()[0].expert
        self.components.use_adapters(expert, turn.selection, turn.job.report)
        memory = self.components.memory
        lanes = self.lanes if memory.mode == "full" and not memory.fp8 else None  # hooks cannot be in two calls at once
        keeps = memory.mode != "sequential"  # there each layer brings the next one on, and none may be left out
        with self.costs.measure(kind, sum(len(call.sample) for call in calls)):
            predictions = predict(calls, lanes, keeps)
        self.pace.keep()
        return predictions


def _take(turn: Turn, prediction: torch.Tensor) -> None:
    """The rest of a step, and word of it."""
    work: Work = turn.work
    expert = work.run.take(prediction, wants_picture=work.reporter.is_preview_due())
    turn.job.post(work.reporter.report(expert))
