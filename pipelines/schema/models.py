"""What is known of a model's files before any weight is read: entries of the catalogue and of the model folders."""

import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.schema.paths import PRESETS, PROJECT

CheckpointKind = Literal["base", "refiner", "inpainting"]
AddOnKind = Literal["vae", "lora", "embedding", "preview"]


class Entry(BaseModel):
    """Files under one name, on this disk or on the Hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    source: str
    """An absolute path of a `.safetensors` file or a diffusers folder, or the id of a repository on the Hub."""
    revision: str | None = None
    """The commit on the Hub that was tried; only it is downloaded."""
    variant: str | None = None
    """The Hub's name for files of another precision, for example "fp16"."""
    file: str | None = None
    """The one file wanted of a repository that holds several."""
    defaults: dict[str, Any] = {}
    """Request fields that are taken over when this is chosen, where they differ from the schema's defaults."""
    stamp: str = ""
    """When its file was last written, where somebody has looked."""
    licence: str = ""
    page: str = ""
    """Where a person reads about it."""


class ModelEntry(Entry):
    """A checkpoint: a UNet with its text encoders and VAE."""

    kind: CheckpointKind = "base"
    refiner: str | None = None
    """The name of the checkpoint that is its second expert where a request names none."""
    vae: str | None = None
    """The name of the VAE that takes the place of its own."""
    tiny: str | None = "taesdxl"
    """The name of the small autoencoder that decodes its drafts."""
    native_size: int = 1024
    latent_rgb: str | None = None
    """A file with the linear map from latents to colours that previews use."""
    embedded: bool = False
    """True for the small model that comes with the project."""
    vocabulary: str | None = None
    """A file that lists what the model can draw, where it cannot draw everything."""


class AddOn(Entry):
    """What joins a checkpoint: another VAE, a LoRA, a textual inversion, a small decoder for previews."""

    kind: AddOnKind


@dataclass(frozen=True)
class Catalogue:
    """The entries of `presets/models.json`."""

    checkpoints: dict[str, ModelEntry]
    add_ons: dict[str, AddOn]


@dataclass(frozen=True)
class Selection:
    """The files that one request is drawn with, found by the names in it."""

    model: ModelEntry
    refiner: ModelEntry | None = None
    vae: AddOn | None = None
    loras: tuple[tuple[AddOn, float], ...] = ()
    """With the weight of each."""
    embeddings: tuple[AddOn, ...] = ()
    """Textual inversions whose names stand in the prompts."""
    tiny: AddOn | None = None
    """What decodes the pictures in place of the VAE, for a draft."""

    def adapters(self, expert: str) -> tuple[Hashable, ...]:
        """What tells the LoRAs that act on "base" or "refiner" from others, with the weight of each."""
        loras = self.loras if expert == "base" else ()
        return tuple((lora.source, lora.revision, lora.file, lora.stamp, weight) for lora, weight in loras)

    def entry(self, expert: str) -> ModelEntry | None:
        """The checkpoint of "base" or "refiner"."""
        return self.refiner if expert == "refiner" else self.model


def load_catalogue() -> Catalogue:
    """Every entry of `presets/models.json` by name, with the project's own paths made absolute."""
    data = json.loads((PRESETS / "models.json").read_text(encoding="utf-8"))
    checkpoints = {name: ModelEntry(name=name, **_absolute(entry)) for name, entry in data["checkpoints"].items()}
    add_ons = {name: AddOn(name=name, **_absolute(entry)) for name, entry in data["add_ons"].items()}
    return Catalogue(checkpoints, add_ons)


def _absolute(entry: dict[str, Any]) -> dict[str, Any]:
    """Paths of the project made absolute; a repository's id or any other value as it is."""

    def is_ours(value: Any) -> bool:
        return isinstance(value, str) and value.startswith(("models/", "presets/"))

    return {key: str(PROJECT / value) if is_ours(value) else value for key, value in entry.items()}
