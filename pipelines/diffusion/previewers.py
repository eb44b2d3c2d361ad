"""The preview of each model, made when it is first drawn with."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny

from pipelines.components.hub import is_cached
from pipelines.components.loading import Report
from pipelines.diffusion.previews import LatentPreview, Preview, TinyPreview
from pipelines.schema.models import AddOn, Entry, ModelEntry

log = logging.getLogger(__name__)

Fetch = Callable[[Entry, Sequence[str] | None, Report], Path]


class Previewers:
    """Previews by what they are read from. Used by the device's thread alone.

    `decoder` is a small decoder for SDXL's latents (TAESDXL): sharper than a map from latents to colours, and dearer.
    Somebody else downloads it: until it is on this disk, and while it cannot be read, previews are coarse.
    """

    def __init__(self, decoder: AddOn | None, fetch: Fetch, device: torch.device, dtype: torch.dtype) -> None:
        self.decoder = decoder
        self._fetch = fetch
        self._device = device
        self._dtype = dtype
        self._maps: dict[str, Preview] = {}
        self._tiny: Preview | None = None
        self._has_failed = False

    def of(self, model: ModelEntry, report: Report) -> Preview | None:
        """The model's preview, or `None` where it names no map. The embedded model has latents of its own."""
        if self.decoder is not None and not model.embedded:
            self._tiny = self._tiny or self._load(self.decoder, report)
            if self._tiny is not None:
                return self._tiny
        if model.latent_rgb is None or not Path(model.latent_rgb).is_file():
            return None
        if model.latent_rgb not in self._maps:
            self._maps[model.latent_rgb] = LatentPreview.from_file(Path(model.latent_rgb))
        return self._maps[model.latent_rgb]

    def _load(self, decoder: AddOn, report: Report) -> Preview | None:
        """The decoder, or `None` where it cannot be had now: a preview is no reason to lose a picture."""
        if not is_cached(decoder):
            return None
        try:
            path = self._fetch(decoder, None, report)
            loaded: Any = AutoencoderTiny.from_pretrained(path, local_files_only=True, use_safetensors=True)
            return TinyPreview(loaded.to(self._device, self._dtype).eval(), self._device, self._dtype)
        except Exception:
            if not self._has_failed:
                log.exception("previews are coarse: %s could not be read; later jobs try again", decoder.title)
            self._has_failed = True
            return None
