"""Embeddings that were encoded before, the least recently used dropped first."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import torch

MAX_BYTES = 256 * 2**20


@dataclass(frozen=True)
class PromptEmbeds:
    """One text as one expert reads it.

    `parts`: one (1, 77*k, width) tensor of penultimate hidden states per text encoder.
    `pooled`: (1, projection), from the last encoder.
    """

    parts: tuple[torch.Tensor, ...]
    pooled: torch.Tensor

    @property
    def bytes(self) -> int:
        """Memory held by the tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.parts, self.pooled))


class EmbeddingCache:
    """Embeddings by text and by whoever read it, up to `max_bytes`. Used by the device's thread alone."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, PromptEmbeds] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> PromptEmbeds | None:
        """The embeddings of `key`, now the most recently used; or `None`."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: Hashable, embeds: PromptEmbeds) -> None:
        """Keeps `embeds`; one larger than the whole cache is not kept."""
        if embeds.bytes > self.max_bytes:
            return
        self._entries[key] = embeds
        self._bytes += embeds.bytes
        while self._bytes > self.max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= dropped.bytes

    def clear(self) -> None:
        """Drops everything."""
        self._entries.clear()
        self._bytes = 0
