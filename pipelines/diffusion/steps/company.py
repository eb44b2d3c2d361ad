"""Which steps are taken together: as many as gain by it, by what calls were measured to cost.

Whoever's turn it is has a right to a step in this round, alone or in company. Other jobs of the same owners may join
where that costs the others little. What was never measured is tried, a little later where it is for guests and smaller
calls tell that others would wait. What can only be judged by measures that are missing is taken apart for once, so that
they are there the next time.
"""

import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.diffusion.steps.costs import KEPT_KINDS, Costs

TOLERANCE = 1.02
"""A company may cost this much of what its calls cost apart: measures are never quite the same."""
GUEST_SHARE = 0.25
"""What guests may add to a call that jobs of other owners wait for, as a share of it."""
TRIAL_SECONDS = 20.0
"""A guest's trial is put off for so long where smaller calls tell that others would wait for it: short jobs do not."""
AVOIDED_SECONDS = 300.0
"""After so long a company that failed may be tried again: what had filled the memory may be gone."""


@dataclass(frozen=True)
class Seat:
    """One run's next step. `key`: whose it is, for the caller; `area`: of a row's latents."""

    key: Any
    owner: str
    kind: Hashable
    """Steps of one kind can be one call."""
    rows: int
    area: int


class Companies:
    """Forms companies and remembers which could not be."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self._failed: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._put_off: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """Since when trials of guests have been put off, and when they were last wanted."""

    def form(self, turns: Sequence[Seat], guests: Sequence[Seat], most_area: int) -> list[list[Seat]]:
        """Cuts this round's turns into companies, in their order, each with the guests that may join it.

        `most_area`: of all rows of a call together.
        """
        has_others = len({seat.owner for seat in turns}) > 1
        companies: list[list[Seat]] = []
        waiting, free = list(turns), list(guests)
        while waiting:
            company = [waiting.pop(0)]
            for seat in list(waiting):
                if self._fits(company, seat, most_area) and self._gains(company, seat):
                    company.append(seat)
                    waiting.remove(seat)
            hosts = list(company)
            for seat in list(free):
                if self._fits(company, seat, most_area) and self._may_join(hosts, company, seat, has_others):
                    company.append(seat)
                    free.remove(seat)
            companies.append(company)
        return companies

    def avoid(self, company: Sequence[Seat]) -> None:
        """These failed together: none of their kind becomes as large again for a while."""
        kind = company[0].kind
        self._failed[kind] = min(_rows(company), self._most(kind)), time.monotonic()
        self._failed.move_to_end(kind)
        if len(self._failed) > KEPT_KINDS:
            self._failed.popitem(last=False)

    def _most(self, kind: Hashable) -> float:
        """Rows at which calls of the kind failed."""
        rows, when = self._failed.get(kind, (float("inf"), 0.0))
        return rows if time.monotonic() - when < AVOIDED_SECONDS else float("inf")

    def _fits(self, company: Sequence[Seat], seat: Seat, most_area: int) -> bool:
        rows = _rows(company) + seat.rows
        is_small = rows * seat.area <= most_area and rows < self._most(seat.kind)
        return seat.kind == company[0].kind and is_small

    def _gains(self, company: Sequence[Seat], seat: Seat) -> bool:
        rows = _rows(company)
        together = self.costs.of(seat.kind, rows + seat.rows)
        if together is None:
            return True
        before, alone = self.costs.of(seat.kind, rows), self.costs.of(seat.kind, seat.rows)
        return before is not None and alone is not None and together <= TOLERANCE * (before + alone)

    def _may_join(self, hosts: Sequence[Seat], company: Sequence[Seat], guest: Seat, has_others: bool) -> bool:
        if not has_others:
            return self._gains(company, guest)
        rows = _rows(company) + guest.rows
        together, without = self.costs.of(guest.kind, rows), self.costs.of(guest.kind, _rows(hosts))
        if together is not None:
            return without is not None and together <= (1 + GUEST_SHARE) * without
        if len(company) > len(hosts) and self.costs.of(guest.kind, _rows(company)) is None:
            return False  # others wait for one guest's trial and no more
        expected = self.costs.expect(guest.kind, rows)
        is_cheap = expected is None or without is None or expected <= (1 + GUEST_SHARE) * without
        return is_cheap or self._has_waited((guest.kind, rows))

    def _has_waited(self, trial: Hashable) -> bool:
        """Whether a trial that others may have to wait for was put off for so long that it is due all the same."""
        now = time.monotonic()
        since, last = self._put_off.pop(trial, (now, now))
        if now - last > TRIAL_SECONDS:  # wanted long ago: it is put off anew
            since = now
        self._put_off[trial] = since, now
        if len(self._put_off) > KEPT_KINDS:
            self._put_off.popitem(last=False)
        return now - since > TRIAL_SECONDS


def _rows(company: Sequence[Seat]) -> int:
    return sum(seat.rows for seat in company)
