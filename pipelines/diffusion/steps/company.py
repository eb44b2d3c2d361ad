"""Which steps are taken together: as many as gain by it, by what calls were measured to cost.

Whoever's turn it is has a right to a step in this round, alone or in company. Other jobs of the same owners may join
where that costs the others little.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.diffusion.steps.costs import KEPT_KINDS, Costs

TOLERANCE = 1.02
"""A company may cost this much of what its calls cost apart: measures are never quite the same."""
GUEST_SHARE = 0.25
"""What guests may add to a call that jobs of other owners wait for, as a share of it."""


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
    """Forms companies and remembers which were too large for the memory."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self._too_many: OrderedDict[Hashable, int] = OrderedDict()

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

    def was_too_large(self, company: Sequence[Seat]) -> None:
        """The memory did not suffice for these together: none of their kind becomes as large again."""
        kind, rows = company[0].kind, _rows(company)
        self._too_many[kind] = min(rows, self._too_many.get(kind, rows))
        if len(self._too_many) > KEPT_KINDS:
            self._too_many.popitem(last=False)

    def _fits(self, company: Sequence[Seat], seat: Seat, most_area: int) -> bool:
        rows = _rows(company) + seat.rows
        is_small = rows * seat.area <= most_area and rows < self._too_many.get(seat.kind, rows + 1)
        return seat.kind == company[0].kind and is_small

    def _gains(self, company: Sequence[Seat], seat: Seat) -> bool:
        together, before, alone = self._seconds(company, seat)
        return together is None or before is None or alone is None or together <= TOLERANCE * (before + alone)

    def _may_join(self, hosts: Sequence[Seat], company: Sequence[Seat], guest: Seat, has_others: bool) -> bool:
        if not has_others:
            return self._gains(company, guest)
        together, _, _ = self._seconds(company, guest)
        without = self.costs.of(guest.kind, _rows(hosts))
        return together is not None and without is not None and together <= (1 + GUEST_SHARE) * without

    def _seconds(self, company: Sequence[Seat], seat: Seat) -> tuple[float | None, float | None, float | None]:
        rows = _rows(company)
        return tuple(self.costs.of(seat.kind, count) for count in (rows + seat.rows, rows, seat.rows))  # type: ignore[return-value]


def _rows(company: Sequence[Seat]) -> int:
    return sum(seat.rows for seat in company)
