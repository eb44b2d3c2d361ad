"""What a UNet is told besides the noisy latents, and what it made of it: computed in a run's first step, then kept.

Keys and values of cross-attention and the added embedding depend on the prompt and the sizes alone. At SDXL's size that
is 140 projections a step.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]
Make = Callable[["Told"], Tensors]

MOST_BYTES = 256 * 2**20
"""What is kept of one stage at most, four chunks of 77 tokens at SDXL's size in float16; the rest is made each time."""


@dataclass(frozen=True)
class Block:
    """What was made of the rows from `first` up to `end`."""

    first: int
    end: int
    tensors: Tensors


@dataclass(eq=False)
class Told:
    """One run's negative and positive row, in this order, for one UNet with one state of its adapters.

    `prompt_embeds`: (2, 77*k, width); `text_embeds`: (2, projection), pooled; `time_ids`: (2, 6), or (2, 5) for the
    refiner.
    """

    prompt_embeds: torch.Tensor
    text_embeds: torch.Tensor
    time_ids: torch.Tensor
    _made: dict[Hashable, list[Block]] = field(default_factory=dict, repr=False)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def repeat(self, first: int, counts: Sequence[int]) -> "Told":
        """The rows from `first` on, each as often as `counts` says."""
        prompt_embeds, text_embeds, time_ids = (repeat(tensor[first:], counts) for tensor in self.tensors)
        return Told(prompt_embeds, text_embeds, time_ids)

    @property
    def tensors(self) -> Tensors:
        """All three."""
        return self.prompt_embeds, self.text_embeds, self.time_ids

    def make(self, key: Hashable, first: int, counts: Sequence[int], make: Make, keeps: bool) -> Tensors:
        """`make` of the rows from `first` on, each as often as `counts` says; a row is made once for each `key`.

        They are made in the shape in which they are wanted, so that they have the bits that they would have had.
        """
        end = first + len(counts)
        blocks = self._made.setdefault(key, [])
        for block in blocks:
            if block.first <= first and end <= block.end:
                parts = (tensor[first - block.first : end - block.first] for tensor in block.tensors)
                return tuple(repeat(part, counts) for part in parts)
        if len(counts) > 1 and any(block.first < end and first < block.end for block in blocks):
            rows = (self.make(key, first + row, counts[row : row + 1], make, keeps) for row in range(len(counts)))
            return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))
        made = make(self.repeat(first, counts))
        if keeps:
            self._keep(blocks, first, counts, made)
        return made

    def forget(self) -> None:
        """Lets go of what was made; it is made again where it is wanted."""
        self._made.clear()
        self._bytes = 0

    def _keep(self, blocks: list[Block], first: int, counts: Sequence[int], made: Tensors) -> None:
        is_once = all(count == 1 for count in counts)
        places = [sum(counts[:place]) for place in range(len(counts))]
        kept = made if is_once else tuple(tensor[places] for tensor in made)
        size, end = sum(tensor.numel() * tensor.element_size() for tensor in kept), first + len(counts)
        with self._lock:
            is_there = any(block.first <= first and end <= block.end for block in blocks)  # by another lane
            if not is_there and self._bytes + size <= MOST_BYTES:
                self._bytes += size
                blocks.append(Block(first, end, kept))


@dataclass(frozen=True)
class Share:
    """The rows of one run in a call: those of `told` from `first` on, each as often as `counts` says."""

    told: Told
    first: int
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.counts)

    def cut(self, start: int, end: int) -> "Share":
        """The share's own rows from `start` up to `end`."""
        owners = [owner for owner, count in enumerate(self.counts) for _ in range(count)][start:end]
        counts = tuple(owners.count(owner) for owner in range(owners[0], owners[-1] + 1))
        return Share(self.told, self.first + owners[0], counts)


@dataclass(frozen=True)
class Rows:
    """Who is told what in one call of a UNet, row by row: the shares of one or more runs, one after the other.

    All prompts of a call have one length: padding would change what attention sees.
    """

    shares: Sequence[Share]
    keeps: bool = True
    """Whether what is made of them stays for the next call; what was kept before is used either way."""

    def make(self, key: Hashable, make: Make) -> Tensors:
        """What `make` makes of the call's rows: of each run's as it would alone, once, then put together."""
        made = [share.told.make(key, share.first, share.counts, make, self.keeps) for share in self.shares]
        return join(made)

    def cut(self, start: int, end: int) -> "Rows":
        """The rows from `start` up to `end`."""
        if (start, end) == (0, sum(len(share) for share in self.shares)):
            return self
        shares, before = [], 0
        for share in self.shares:
            first, last = max(start - before, 0), min(end - before, len(share))
            if first < last:
                shares.append(share.cut(first, last))
            before += len(share)
        return Rows(shares, self.keeps)

    @property
    def arguments(self) -> dict[str, Any]:
        """The same in the words of diffusers' UNet."""
        told = join([share.told.repeat(share.first, share.counts).tensors for share in self.shares])
        prompt_embeds, text_embeds, time_ids = told
        return {
            "encoder_hidden_states": prompt_embeds,
            "added_cond_kwargs": {"text_embeds": text_embeds, "time_ids": time_ids},
        }


def repeat(tensor: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """The first rows, each as often as `counts` says; a view where that is once."""
    rows = tensor[: len(counts)]
    if all(count == 1 for count in counts):
        return rows
    if len(set(counts)) == 1:
        return rows.repeat_interleave(counts[0], dim=0)
    return torch.cat([row.expand(count, *row.shape[1:]) for row, count in zip(rows.split(1), counts, strict=True)])


def join(parts: Sequence[Tensors]) -> Tensors:
    """Tensors of several runs one after the other."""
    return parts[0] if len(parts) == 1 else tuple(torch.cat(same) for same in zip(*parts, strict=True))
