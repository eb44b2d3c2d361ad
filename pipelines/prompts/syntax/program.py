"""A parsed prompt as a flat list of operations, so that no depth of brackets becomes a depth of calls."""

from dataclasses import dataclass

MAX_WEIGHT = 100.0
"""No words are weighted more strongly: a hundred brackets would end in infinity."""


@dataclass(frozen=True, slots=True)
class Words:
    """Text of the weight that holds here."""

    text: str


@dataclass(frozen=True, slots=True)
class Weigh:
    """What follows counts `factor` times as much, up to its `Unweigh`."""

    factor: float


@dataclass(frozen=True, slots=True)
class Unweigh:
    """Ends the last `Weigh`."""


@dataclass(frozen=True, slots=True)
class Jump:
    """Goes on at another operation, always a later one."""

    to: int


@dataclass(frozen=True, slots=True)
class Edit:
    """Goes on at `before` up to the step `when`, at `after` from the next one on."""

    before: int
    after: int
    when: float
    is_share: bool
    """Whether `when` is a share of all steps rather than a step."""

    def last_step(self, steps: int) -> int:
        """The last step, counted from 1, that still reads what stands before."""
        return int(min(1.0, max(0.0, self.when)) * steps) if self.is_share else int(self.when)


@dataclass(frozen=True, slots=True)
class Alternate:
    """Goes on at one of these in turn, another one each step."""

    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Break:
    """Begins a section."""


Operation = Words | Weigh | Unweigh | Jump | Edit | Alternate | Break
Program = tuple[Operation, ...]
Piece = tuple[str, float]


def limit(weight: float) -> float:
    """A weight, finite and of at most `MAX_WEIGHT`."""
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))


def run(program: Program, step: int, steps: int) -> list[list[Piece]]:
    """What a program says at one step, counted from 1: sections of words with their weights."""
    sections: list[list[Piece]] = [[]]
    weights = [1.0]
    at = 0
    while at < len(program):
        operation = program[at]
        at += 1
        match operation:
            case Words(text):
                sections[-1].append((text, weights[-1]))
            case Weigh(factor):
                weights.append(limit(weights[-1] * factor))
            case Unweigh():
                weights.pop()
            case Jump(to):
                at = to
            case Edit(before, after):
                at = before if step <= operation.last_step(steps) else after
            case Alternate(starts):
                at = starts[(step - 1) % len(starts)]
            case Break():
                sections.append([])
    return sections


def is_limited(program: Program) -> bool:
    """Whether a weight anywhere in it is beyond `MAX_WEIGHT`."""
    weights = [1.0]
    for operation in program:
        if isinstance(operation, Weigh):
            product = weights[-1] * operation.factor
            if abs(product) > MAX_WEIGHT:
                return True
            weights.append(product)
        elif isinstance(operation, Unweigh):
            weights.pop()
    return False
