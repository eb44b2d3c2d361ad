"""One text out of all that a prompt with wildcards and variants can become.

Chance is arithmetic of our own, and stays as it is for ever, so that a seed says the same in years to come. Every
choice has an address: the numbers of the choice in its text, of the option taken there, of the choice in that option,
and so on. Its number is the SHA-256 of "seed, field, address" read as one big-endian integer, modulo the sum of the
options' weights. So a choice does not depend on the words around it, nor on what others before it became.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipelines.prompts.variants import (
    MAX_DEPTH,
    MAX_TOGETHER,
    Option,
    Part,
    Pool,
    Variant,
    Wildcard,
    escape,
    read_variants,
)
from pipelines.prompts.wildcards import Words
from pipelines.schema.types import MAX_PROMPT_CHARACTERS

MAX_CHOICES = 1_000
"""Options that are written for one text; what would come behind them stays as it was typed."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Choice:
    """Options of which from `low` to `high` are taken, each at most once and in their order."""

    pools: tuple[Pool, ...]
    low: int
    high: int
    joiner: str | None
    """`None` where one is taken."""

    @property
    def count(self) -> int:
        """How many options there are."""
        return sum(len(pool.options) for pool in self.pools)


def choice_of(site: Wildcard | Variant, words: Words) -> Choice | None:
    """What a wildcard or variant offers; `None` for a name that no file has.

    A single wildcard behind `$$`, as in `{2$$__colour__}`, offers all options of its files.
    """
    if isinstance(site, Wildcard):
        pools = words.find(site.name)
        return Choice(pools, 1, 1, None) if pools else None
    pools = (site.pool,)
    if site.joiner is not None and len(site.pool.options) == 1:
        names = [part for part in site.pool.options[0].parts if not isinstance(part, str) or part.strip()]
        if len(names) == 1 and isinstance(names[0], Wildcard):
            pools = words.find(names[0].name) or pools
    most = min(sum(len(pool.options) for pool in pools), MAX_TOGETHER)
    return Choice(pools, min(site.low, most), min(site.high, most), site.joiner)


def sites_of(parts: Iterable[Part]) -> Iterator[Wildcard | Variant]:
    """The wildcards and variants of a text, also those in variants."""
    for part in parts:
        if isinstance(part, str):
            continue
        yield part
        if isinstance(part, Variant):
            for option in part.pool.options:
                yield from sites_of(option.parts)


def is_open(parts: Iterable[Part], words: Words) -> bool:
    """Whether something in a text is left to choice: a variant, or a wildcard that a file has."""
    return any(choice_of(site, words) for site in sites_of(parts))


class Chooser(Protocol[Key]):
    """Decides what is taken, by keys that it hands from a text to the choices in it, and on to their options."""

    def split(self, parts: tuple[Part, ...], key: Key, depth: int) -> Sequence[Key]:
        """A key for each part."""
        ...

    def choose(self, choice: Choice, key: Key, depth: int) -> Iterable[tuple[Option, Key]]:
        """The options to take, each with its key."""
        ...


class Writer(Generic[Key]):
    """Writes one text, bounded in choices, depth and length whatever the files say."""

    def __init__(self, words: Words, chooser: Chooser[Key]) -> None:
        self._words = words
        self._chooser = chooser
        self._choices = MAX_CHOICES
        self._room = 2 * MAX_PROMPT_CHARACTERS

    def write(self, parts: tuple[Part, ...], key: Key) -> str:
        """The text whose parts these are, with each choice made.

        What looks like a choice in it, because it was put together of pieces or lies too deep, is text from now on:
        whoever draws from it again gets the same.
        """
        self._room += sum(len(part) for part in parts if isinstance(part, str))
        text = self._write(parts, key, 0)
        return escape(text) if is_open(read_variants(text), self._words) else text

    def _write(self, parts: tuple[Part, ...], key: Key, depth: int) -> str:
        keys = self._chooser.split(parts, key, depth)
        return "".join(
            self._keep(part) if isinstance(part, str) else self._write_site(part, own, depth)
            for part, own in zip(parts, keys, strict=True)
        )

    def _write_site(self, site: Wildcard | Variant, key: Key, depth: int) -> str:
        choice = choice_of(site, self._words)
        if choice is None or depth >= MAX_DEPTH or self._choices <= 0:
            return self._keep(site.text)
        texts = []
        for option, own in self._chooser.choose(choice, key, depth):
            self._choices -= 1
            texts.append(self._write(option.parts, own, depth + 1))
        if choice.joiner is None:
            return texts[0]
        return choice.joiner.join(text.strip() for text in texts if text.strip())

    def _keep(self, text: str) -> str:
        """The text, or nothing once far more has been written than a prompt may hold."""
        self._room -= len(text)
        return text if self._room >= 0 else ""


class _Chance:
    """Chooses by seed and field; keys are addresses."""

    def __init__(self, seed: int, field: str) -> None:
        self._seed = hashlib.sha256(f"{seed}, {field}, ".encode())

    def split(self, parts: tuple[Part, ...], key: str, depth: int) -> list[str]:
        keys, sites = [], 0
        for part in parts:
            keys.append(f"{key}.{sites}")
            sites += not isinstance(part, str)
        return keys

    def choose(self, choice: Choice, key: str, depth: int) -> list[tuple[Option, str]]:
        wanted = choice.low
        if choice.high > choice.low:
            wanted += self._number(f"{key}?") % (choice.high - choice.low + 1)
        taken: list[tuple[int, int, int, Option]] = []
        total = sum(pool.total for pool in choice.pools)
        for draw in range(wanted):
            number = self._number(f"{key}!{draw}") % total
            for _, start, weight, _ in taken:  # steps over what was taken before
                number += weight if number >= start else 0
            found = _option_at(choice.pools, number)
            total -= found[2]
            taken.append(found)
            taken.sort(key=lambda item: item[0])
        return [(option, f"{key}:{place}") for place, _, _, option in taken]

    def _number(self, address: str) -> int:
        digest = self._seed.copy()
        digest.update(address.encode())
        return int.from_bytes(digest.digest(), "big")


def _option_at(pools: tuple[Pool, ...], number: int) -> tuple[int, int, int, Option]:
    """The option whose share of the weights holds `number`: its place, where its share starts, its weight, itself."""
    place = start = 0
    for pool in pools:
        if number - start < pool.total:
            index = bisect_right(pool.ends, number - start)
            option = pool.options[index]
            return place + index, start + pool.ends[index] - option.weight, option.weight, option
        place += len(pool.options)
        start += pool.total
    raise IndexError("number lies beyond all weights")


def draw(parts: tuple[Part, ...], words: Words, *, seed: int, field: str) -> str:
    """The text that a seed draws for a field of the request; the same for ever while the files stay the same."""
    return Writer(words, _Chance(seed, field)).write(parts, "")
