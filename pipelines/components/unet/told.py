"""What a UNet is told besides the noisy latents, and what it made of it: computed in a run's first step, then kept.

Keys and values of cross-attention and the added embedding depend on the prompt and the sizes alone. At SDXL's size that
is 140 projections a step.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]


@dataclass(eq=False)
class Told:
    """One run's rows, the negative ones before the positive ones, for one UNet with one state of its adapters.

    `prompt_embeds`: (rows, 77*k, width); `text_embeds`: (rows, projection), pooled; `time_ids`: (rows, 6), or
    (rows, 5) for the refiner.
    """

    prompt_embeds: torch.Tensor
    text_embeds: torch.Tensor
    time_ids: torch.Tensor
    _made: dict[Hashable, dict[tuple[int, int], Tensors]] = field(default_factory=dict, repr=False)

    def make(self, key: Hashable, first: int, end: int, make: Callable[["Told"], Tensors]) -> Tensors:
        """`make` of the rows from `first` up to `end`, under `key`; what was made before is not made again."""
        made = self._made.setdefault(key, {})
        for (known_first, known_end), tensors in tuple(made.items()):
            if known_first <= first and end <= known_end:
                return tuple(tensor[first - known_first : end - known_first] for tensor in tensors)
        rows = slice(first, end)
        tensors = make(Told(self.prompt_embeds[rows], self.text_embeds[rows], self.time_ids[rows]))
        for known_first, known_end in tuple(made):
            if first <= known_first and known_end <= end:
                made.pop((known_first, known_end), None)
        made[(first, end)] = tensors
        return tensors


@dataclass(frozen=True)
class Share:
    """The rows of one run in a call: those of `told` from `first` up to `end`."""

    told: Told
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class Rows:
    """Who is told what in one call of a UNet, row by row: the shares of one or more runs, one after the other.

    All prompts of a call have one length: padding would change what attention sees.
    """

    shares: Sequence[Share]

    def make(self, key: Hashable, make: Callable[[Told], Tensors]) -> Tensors:
        """What `make` makes of the call's rows: of each run's as it would alone, once, then put together."""
        made = [share.told.make(key, share.first, share.end, make) for share in self.shares]
        return made[0] if len(made) == 1 else tuple(torch.cat(parts) for parts in zip(*made, strict=True))

    def cut(self, start: int, end: int) -> "Rows":
        """The rows from `start` up to `end`."""
        shares, before = [], 0
        for share in self.shares:
            first, last = max(start - before, 0), min(end - before, len(share))
            if first < last:
                shares.append(Share(share.told, share.first + first, share.first + last))
            before += len(share)
        return Rows(shares)

    @property
    def arguments(self) -> dict[str, Any]:
        """The same in the words of diffusers' UNet."""
        tensors = [
            (told.prompt_embeds[first:end], told.text_embeds[first:end], told.time_ids[first:end])
            for told, first, end in ((share.told, share.first, share.end) for share in self.shares)
        ]
        prompt_embeds, text_embeds, time_ids = (
            parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*tensors, strict=True)
        )
        return {
            "encoder_hidden_states": prompt_embeds,
            "added_cond_kwargs": {"text_embeds": text_embeds, "time_ids": time_ids},
        }
