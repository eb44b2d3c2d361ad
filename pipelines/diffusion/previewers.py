"""The preview of each model, made when it is first drawn with."""

import logging
from pathlib import Path

from pipelines.components.hub import is_cached
from pipelines.components.loading import Report
from pipelines.components.tiny import TinyDecoders
from pipelines.diffusion.previews import LatentPreview, Preview, TinyPreview
from pipelines.schema.models import AddOn, ModelEntry

log = logging.getLogger(__name__)


class Previewers:
    """Previews by what they are read from. Used by the device's thread alone.

    `decoder` is a small decoder for SDXL's latents (TAESDXL): sharper than a map from latents to colours, and dearer.
    Somebody else downloads it: until it is on this disk, and while it cannot be read, previews are coarse.
    """

    def __init__(self, decoder: AddOn | None, decoders: TinyDecoders) -> None:
        self.decoder = decoder
        self.decoders = decoders
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
            return TinyPreview(self.decoders.get(decoder, report), self.decoders.device, self.decoders.dtype)
        except Exception:
            if not self._has_failed:
                log.exception("previews are coarse: %s could not be read; later jobs try again", decoder.title)
            self._has_failed = True
            return None
