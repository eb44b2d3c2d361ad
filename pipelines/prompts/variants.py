r"""What a prompt leaves to choice: wildcards (`__name__`) and variants (`{a|b}`, `{2$$a|b|c}`, `{3::a|b}`).

A bar belongs to the nearest pair of brackets around it, so A1111's `[a|b]` and `(a|b)` are no variants, also inside of
one. Braces without a bar or a number with `$$` are text, and so is every bracket without its partner. A backslash
takes a sign its meaning (`\{`, `\}`, `\|`, `\__name__`); it stays in the text, because the reader of the prompt knows
it too. Whatever the text, reading takes linear time and raises nothing.
"""

import re
from dataclasses import dataclass
from itertools import accumulate

MAX_DEPTH = 24
"""Variants in variants, and wildcards in wildcards, that are followed; what lies deeper stays text."""
MAX_TOGETHER = 32
"""Options that one `{n$$...}` puts together."""
JOINER = ", "
UNIT = 1_000_000
"""A weight of 1. Weights are whole numbers of millionths, so that choosing by them is exact on every machine."""

_SIGN = re.compile(r"\\.|__(?:(?!__)[\w\-./*]){1,100}__|\$\$|[][(){}|]", re.DOTALL)
_CHOOSING = re.compile(r"(\\.)|(__|[{}])", re.DOTALL)
_WEIGHT = re.compile(r"\s*+([0-9]{0,6})(?:\.([0-9]{1,6}))?::")
_QUANTITY = re.compile(r"\s*+(?P<low>[0-9]{0,4})(?P<dash>-?)(?P<high>[0-9]{0,4})\s*+\$\$")
_PARTNERS = {"]": "[", ")": "("}


@dataclass(frozen=True, eq=False)
class Wildcard:
    """A name between double underscores, to be looked up in the files."""

    name: str
    text: str
    """As it was typed."""


@dataclass(frozen=True, eq=False)
class Option:
    """One of several texts, which may hold choices itself."""

    weight: int
    """How often it comes, in millionths; only its share of all weights counts."""
    parts: "tuple[Part, ...]"


class Pool:
    """Options to choose from, in order. Those of weight 0 are never chosen, unless all are."""

    def __init__(self, options: tuple[Option, ...]) -> None:
        self.options = tuple(option for option in options if option.weight) or tuple(
            Option(UNIT, option.parts) for option in options
        )
        self.ends = tuple(accumulate(option.weight for option in self.options))
        """The sums of the weights up to and with each option."""
        self.is_plain = all(isinstance(part, str) for option in self.options for part in option.parts)
        """Whether no option holds a choice itself."""

    @property
    def total(self) -> int:
        """The sum of all weights."""
        return self.ends[-1] if self.ends else 0


@dataclass(frozen=True, eq=False)
class Variant:
    """Braces around options, of which from `low` to `high` are taken."""

    pool: Pool
    low: int
    high: int
    joiner: str | None
    """What stands between several; `None` where one is taken, without `$$`."""
    text: str
    """As it was typed."""


Part = str | Wildcard | Variant


@dataclass(frozen=True)
class _Brace:
    """A pair of braces, as indices of signs."""

    end: int
    bars: tuple[int, ...]
    dollars: tuple[int, ...]


class _Open:
    """A bracket whose partner has not come yet."""

    def __init__(self, sign: str, index: int, place: int) -> None:
        self.sign = sign
        self.index = index
        self.place = place
        """How many brackets wait before it."""
        self.bars: list[int] = []
        self.dollars: list[int] = []
        self.inside = {"[": 0, "(": 0}
        """For a brace: square and round brackets that wait directly inside it."""


def read_variants(text: str) -> tuple[Part, ...]:
    """Texts, wildcards and variants, in order."""
    signs = list(_SIGN.finditer(text))
    return _Reader(text, signs, _pair_braces(signs)).read((0, len(signs)), (0, len(text)), depth=0)


def escape(text: str) -> str:
    """The text with a backslash before each brace and each `__` that has none: nothing in it is left to choice."""
    return _CHOOSING.sub(lambda found: found[1] or f"\\{found[2]}", text)


def read_option(text: str) -> Option:
    """An option of a file: a text that may begin with its weight, as in `2::red`."""
    weight, start = _read_weight(text, 0)
    return Option(weight, read_variants(text[start:]))


def _read_weight(text: str, start: int) -> tuple[int, int]:
    """The weight that begins at `start`, 1 where there is none, and where the option's words begin."""
    found = _WEIGHT.match(text, start)
    if not found or not (found[1] or found[2]):
        return UNIT, start
    return int(found[1] or 0) * UNIT + int((found[2] or "0").ljust(6, "0")), found.end()


def _pair_braces(signs: list[re.Match[str]]) -> dict[int, _Brace]:
    """For each opening brace that has a partner: where it ends, and the bars and `$$` that are its own."""
    braces: dict[int, _Brace] = {}
    outside = _Open("", -1, 0)
    waiting = [outside]
    brace = [outside]
    for index, sign in enumerate(found[0] for found in signs):
        if sign == "|":
            waiting[-1].bars.append(index)
        elif sign == "$$":
            waiting[-1].dollars.append(index)
        elif sign in ("{", "[", "("):
            waiting.append(_Open(sign, index, len(waiting)))
            if sign == "{":
                brace.append(waiting[-1])
            else:
                brace[-1].inside[sign] += 1
        elif sign in _PARTNERS and brace[-1].inside[_PARTNERS[sign]]:
            while (left := waiting.pop()).sign != _PARTNERS[sign]:
                brace[-1].inside[left.sign] -= 1
            brace[-1].inside[left.sign] -= 1
        elif sign == "}" and len(brace) > 1:
            closed = brace.pop()
            group = waiting[closed.place :]
            del waiting[closed.place :]
            bars = tuple(bar for bracket in group for bar in bracket.bars)
            braces[closed.index] = _Brace(index, bars, tuple(item for bracket in group for item in bracket.dollars))
    return braces


class _Reader:
    """Makes parts of a text whose braces have been paired."""

    def __init__(self, text: str, signs: list[re.Match[str]], braces: dict[int, _Brace]) -> None:
        self._text = text
        self._signs = signs
        self._braces = braces

    def read(self, signs: tuple[int, int], span: tuple[int, int], *, depth: int) -> tuple[Part, ...]:
        """The parts of the text in `span`, whose signs have the indices `signs`; both without their end."""
        parts: list[Part] = []
        at, end = span
        index, last = signs
        while index < last:
            found = self._signs[index]
            part, behind = self._part(index, depth)
            if not isinstance(part, str):
                parts += [self._text[at : found.start()], part]
                at = self._signs[behind - 1].end()
            index = behind
        parts.append(self._text[at:end])
        return tuple(part for part in parts if part != "")

    def _part(self, index: int, depth: int) -> tuple[Part, int]:
        """What begins at a sign, text if nothing else, and the index of the sign behind it."""
        sign = self._signs[index][0]
        if sign.startswith("__"):
            return Wildcard(sign[2:-2], sign), index + 1
        brace = self._braces.get(index)
        if brace is None:
            return sign, index + 1
        quantity = self._quantity(index, brace)
        if not brace.bars and not quantity:
            return sign, index + 1
        if depth >= MAX_DEPTH:
            return sign, brace.end + 1
        return self._variant(index, brace, quantity, depth), brace.end + 1

    def _quantity(self, index: int, brace: _Brace) -> re.Match[str] | None:
        """The number of options at the beginning of a brace, as in `2$$` or `1-3$$`."""
        found = _QUANTITY.match(self._text, self._signs[index].end())
        return found if found and (found["low"] or found["high"]) else None

    def _variant(self, index: int, brace: _Brace, quantity: re.Match[str] | None, depth: int) -> Variant:
        start, behind = self._signs[index].end(), index + 1
        low = high = 1
        joiner = None
        if quantity:
            low = int(quantity["low"] or 1)
            high = int(quantity["high"] or MAX_TOGETHER) if quantity["dash"] else low
            joiner, start, behind = self._joiner(index, brace)
        options = []
        for stop in (*brace.bars, brace.end):
            weight, words = _read_weight(self._text, start)
            parts = self.read((behind, stop), (words, self._signs[stop].start()), depth=depth + 1)
            options.append(Option(weight, parts))
            start, behind = self._signs[stop].end(), stop + 1
        text = self._text[self._signs[index].start() : self._signs[brace.end].end()]
        return Variant(Pool(tuple(options)), min(low, high), max(low, high), joiner, text)

    def _joiner(self, index: int, brace: _Brace) -> tuple[str, int, int]:
        """What joins options that are taken together; where the options begin, and the index of their first sign."""
        first, second = (*brace.dollars, brace.end)[:2]
        start = self._signs[first].end()
        if second >= (*brace.bars, brace.end)[0]:
            return JOINER, start, first + 1
        return self._text[start : self._signs[second].start()], self._signs[second].end(), second + 1
