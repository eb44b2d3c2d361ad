"""The catalogue of models, read from `presets/models.json`, and folders named on the command line."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.schema.errors import ModelError
from pipelines.schema.paths import PRESETS, PROJECT


class ModelEntry(BaseModel):
    """What is known of a model before any of its weights are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    source: str
    """A diffusers folder, absolute, or the id of a repository on the Hub."""
    refiner: str | None = None
    """The second expert's folder or repository; it shares the VAE and text encoder 2."""
    variant: str | None = None
    """The Hub's name for files of another precision, for example "fp16"."""
    native_size: int = 1024
    latent_rgb: str | None = None
    """A file with the linear map from latents to colours that previews use."""
    defaults: dict[str, Any] = {}
    """Request fields that this model wants other than the schema's defaults."""
    licence: str = ""
    embedded: bool = False
    """True for the small model that comes with the project."""
    vocabulary: str | None = None
    """A file that lists what the model can draw, where it cannot draw everything."""


def load_catalogue() -> dict[str, ModelEntry]:
    """Every model of `presets/models.json` by name, with the project's own paths made absolute."""
    entries = json.loads((PRESETS / "models.json").read_text(encoding="utf-8"))
    return {
        name: ModelEntry(name=name, **{k: _absolute(v) for k, v in entry.items()}) for name, entry in entries.items()
    }


def find_model(name: str) -> ModelEntry:
    """The entry for a catalogue name or a diffusers folder; raises `ModelError` when it is neither."""
    catalogue = load_catalogue()
    if name in catalogue:
        return catalogue[name]
    folder = Path(name).expanduser()
    if (folder / "model_index.json").is_file():
        return _entry_of_folder(folder.resolve())
    known = ", ".join(catalogue)
    raise ModelError(f"model must be one of {known}, or a folder that holds model_index.json, got {name!r}")


def _entry_of_folder(folder: Path) -> ModelEntry:
    try:
        sample_size = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))["sample_size"]
        native_size = int(sample_size) * 8
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder.name}/unet/config.json must name the UNet's sample_size") from error
    if not 64 <= native_size <= 2048:
        raise ModelError(f"{folder.name}/unet/config.json: sample_size must be from 8 to 256, got {sample_size}")
    refiner = folder / "refiner"
    return ModelEntry(
        name=folder.name,
        title=folder.name,
        source=str(folder),
        refiner=str(refiner) if (refiner / "model_index.json").is_file() else None,
        native_size=native_size,
        latent_rgb=str(PRESETS / "latent_rgb_sdxl.json"),
    )


def _absolute(value: Any) -> Any:
    """A path of the project made absolute; a repository's id or any other value as it is."""
    is_ours = isinstance(value, str) and value.startswith(("models/", "presets/"))
    return str(PROJECT / value) if is_ours else value
