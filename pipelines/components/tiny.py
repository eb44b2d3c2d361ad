"""Small autoencoders that decode latents in a fraction of the VAE's time (TAESD, github.com/madebyollin/taesd)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderTiny

from pipelines.components.device import lay_out
from pipelines.components.finite import is_finite
from pipelines.components.loading import Report
from pipelines.components.memory import is_out_of_memory
from pipelines.schema.errors import ModelError
from pipelines.schema.models import AddOn, Entry

Fetch = Callable[[Entry, Sequence[str] | None, Report], Path]


class TinyDecoders:
    """Loads each once, a few MB, and keeps it. Used by the device's thread alone."""

    def __init__(self, fetch: Fetch, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self._fetch = fetch
        self._loaded: dict[str, AutoencoderTiny] = {}

    def get(self, entry: AddOn, report: Report) -> AutoencoderTiny:
        """The entry's, ready to decode; raises `ModelError` where it cannot be read."""
        if entry.source not in self._loaded:
            path = self._fetch(entry, None, report)
            try:
                loaded: Any = AutoencoderTiny.from_pretrained(
                    path, local_files_only=True, use_safetensors=True, dtype=self.dtype
                )
                lay_out(loaded, self.device)
                self._loaded[entry.source] = cast(AutoencoderTiny, loaded.to(self.device).eval())
            except Exception as error:  # damaged files raise errors of many kinds
                if is_out_of_memory(error):
                    raise
                raise ModelError(f"{entry.title} could not be read; its files are damaged or not a TAESD") from error
        return self._loaded[entry.source]

    def drop_damaged(self) -> None:
        """Lets go of those whose weights are not finite, so that they are read anew."""
        for source, decoder in list(self._loaded.items()):
            if not all(map(is_finite, decoder.state_dict().values())):
                del self._loaded[source]
