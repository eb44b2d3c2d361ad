"""All texts that a prompt with wildcards and variants can become: counted without listing them, and told by number."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import comb

from pipelines.prompts.choosing import Choice, Writer, choice_of
from pipelines.prompts.variants import MAX_DEPTH, Option, Part, Pool, Variant, Wildcard, read_variants
from pipelines.prompts.wildcards import Words

COUNT_LIMIT = 10**15
"""Counts are exact up to here, and this number beyond; JSON's readers keep it exact too."""


class Combinations:
    """Every combination of several texts, in order: the last choice of the last text changes fastest.

    Options of weight 0 are left out. Two ways that lead to equal words count twice.
    """

    def __init__(self, texts: Mapping[str, str], words: Words) -> None:
        self._words = words
        self._parts = {name: read_variants(text) for name, text in texts.items()}
        self._counter = _Counter(words)
        self._counts = {name: self._counter.of_parts(parts, 0) for name, parts in self._parts.items()}
        self.count = _bounded_product(self._counts.values())
        """How many there are, up to `COUNT_LIMIT`."""

    def __iter__(self) -> Iterator[dict[str, str]]:
        return (self.at(number) for number in range(self.count))

    def at(self, number: int) -> dict[str, str]:
        """Combination `number` of `count`, from 0."""
        numbers: dict[str, int] = {}
        for name in reversed(self._parts):
            number, numbers[name] = divmod(number, self._counts[name])
        return {
            name: Writer(self._words, _Number(self._counter)).write(parts, numbers[name])
            for name, parts in self._parts.items()
        }


class _Counter:
    """Counts what each part can become, and remembers it."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._sites: dict[tuple[Wildcard | Variant, int], int] = {}
        self._pools: dict[tuple[Pool, int], tuple[int, ...]] = {}
        self._tables: dict[tuple[tuple[Pool, ...], int, int], list[list[int]]] = {}

    def of_parts(self, parts: tuple[Part, ...], depth: int) -> int:
        return _bounded_product(1 if isinstance(part, str) else self.of_site(part, depth) for part in parts)

    def of_site(self, site: Wildcard | Variant, depth: int) -> int:
        key = (site, depth)
        if key not in self._sites:
            choice = choice_of(site, self._words) if depth < MAX_DEPTH else None
            self._sites[key] = self._of_choice(choice, depth) if choice else 1
        return self._sites[key]

    def of_options(self, pool: Pool, depth: int) -> tuple[int, ...]:
        """What each option of a pool can become."""
        key = (pool, depth)
        if key not in self._pools:
            self._pools[key] = tuple(self.of_parts(option.parts, depth + 1) for option in pool.options)
        return self._pools[key]

    def ways(self, choice: Choice, size: int, first: int, depth: int) -> int:
        """How many texts `size` options from number `first` on can become together."""
        if all(pool.is_plain for pool in choice.pools):
            return _bounded(comb(choice.count - first, size))
        key = (choice.pools, choice.high, depth)
        if key not in self._tables:
            self._tables[key] = self._table(choice, depth)
        return self._tables[key][first][size]

    def _of_choice(self, choice: Choice, depth: int) -> int:
        if choice.joiner is None:
            return _bounded(sum(sum(self.of_options(pool, depth)) for pool in choice.pools))
        return _bounded(sum(self.ways(choice, size, 0, depth) for size in range(choice.low, choice.high + 1)))

    def _table(self, choice: Choice, depth: int) -> list[list[int]]:
        """`[first][size]`: an option joins the texts of one less behind it, or is left out."""
        table = [[1, *[0] * choice.high]]
        for pool in reversed(choice.pools):
            for count in reversed(self.of_options(pool, depth)):
                behind = table[-1]
                table.append([1, *(_bounded(count * less + same) for less, same in pairwise(behind))])
        return table[::-1]


class _Number:
    """Chooses by the number of a combination; keys are such numbers."""

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter

    def split(self, parts: tuple[Part, ...], key: int, depth: int) -> list[int]:
        keys = []
        for part in reversed(parts):
            key, own = (key, 0) if isinstance(part, str) else divmod(key, self._counter.of_site(part, depth))
            keys.append(own)
        return keys[::-1]

    def choose(self, choice: Choice, key: int, depth: int) -> Iterator[tuple[Option, int]]:
        if choice.joiner is None:
            yield self._choose_one(choice, key, depth)
            return
        size = choice.low
        while key >= (ways := self._counter.ways(choice, size, 0, depth)):
            key -= ways
            size += 1
        for place, (option, count) in enumerate(self._options(choice, depth), start=1):
            if not size:
                return
            rest = self._counter.ways(choice, size - 1, place, depth)
            if key < count * rest:
                own, key = divmod(key, rest)
                yield option, own
                size -= 1
            else:
                key -= count * rest

    def _choose_one(self, choice: Choice, key: int, depth: int) -> tuple[Option, int]:
        for option, count in self._options(choice, depth):
            if key < count:
                return option, key
            key -= count
        raise IndexError("number lies beyond all combinations")

    def _options(self, choice: Choice, depth: int) -> Iterator[tuple[Option, int]]:
        for pool in choice.pools:
            yield from zip(pool.options, self._counter.of_options(pool, depth), strict=True)


def _bounded(count: int) -> int:
    return min(count, COUNT_LIMIT)


def _bounded_product(counts: Iterable[int]) -> int:
    product = 1
    for count in counts:
        product = _bounded(product * count)
    return product
