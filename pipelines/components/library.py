"""Every model that can be named: the catalogue's, those in the host's folders, and paths given on the command line."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pipelines.components.folders import CHECKPOINTS, OWN_REFINER, Folders, Refused, checkpoint_maker, folder_maker
from pipelines.components.hub import is_cached
from pipelines.components.kinds import expect_kind
from pipelines.components.lora_tags import add_tagged, find_loras, list_names
from pipelines.prompts.inversion_names import count_vectors, stands_in
from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.models import AddOn, AddOnKind, Catalogue, Entry, ModelEntry, Selection
from pipelines.schema.requests import PROMPT_FIELDS, GenerationRequest

MAX_NAME = 200
"""As many characters as a request's field takes."""

EntryT = TypeVar("EntryT", bound=Entry)


@dataclass(frozen=True)
class _Snapshot:
    """What one scan found; readers hold it while the next one is made."""

    checkpoints: Mapping[str, ModelEntry]
    add_ons: Mapping[str, AddOn]
    refused: tuple[Refused, ...]

    @cached_property
    def embedding_sizes(self) -> Mapping[str, int]:
        here = {name: Path(entry.source) for name, entry in _of_kind(self.add_ons, "embedding").items()}
        return {name: _count_vectors(path) for name, path in here.items() if path.is_file()}


class Library:
    """Names to entries. Any thread may read while another rescans: what is read is one whole scan.

    A name is a file's stem. One that several files share, or the catalogue has, belongs to none of the files: they go
    by their places in the folder, so that no name changes its meaning in silence.
    """

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self._folders = Folders(folder)
        self._catalogue = catalogue
        self._added: dict[str, ModelEntry] = {}
        self._writing = threading.RLock()
        self._snapshot = _Snapshot({}, {}, ())
        self.rescan()

    @property
    def checkpoints(self) -> Mapping[str, ModelEntry]:
        """By name: the catalogue's, then those of the folder and of the command line."""
        return self._snapshot.checkpoints

    @property
    def add_ons(self) -> Mapping[str, AddOn]:
        """By name: VAEs, LoRAs, textual inversions and decoders for previews."""
        return self._snapshot.add_ons

    @property
    def refused(self) -> tuple[Refused, ...]:
        """The files in the folder that cannot be used, with the reason for each."""
        return self._snapshot.refused

    def rescan(self) -> None:
        """Looks into the folders again; files that did not change are not opened."""
        with self._writing:
            scan = self._folders.scan()
            refused = list(scan.refused)
            checkpoints = {**self._catalogue.checkpoints, **self._added}
            add_ons = dict(self._catalogue.add_ons)
            taken = Counter([*checkpoints, *add_ons, *(name for item in scan.found for name in item.names(item.stem))])
            for item in scan.found:
                is_free = all(taken[name] == 1 for name in item.names(item.stem))
                name = item.stem if is_free else item.file
                if len(name) > MAX_NAME - len(OWN_REFINER):
                    refused.append(Refused(item.file, f"{item.stem[:40]}… has too long a name"))
                    continue
                entries = item.make(name)
                if isinstance(entries, AddOn):
                    add_ons[name] = entries
                else:
                    checkpoints |= {entry.name: entry for entry in entries}
            self._snapshot = _Snapshot(MappingProxyType(checkpoints), MappingProxyType(add_ons), tuple(refused))

    def add_path(self, path: Path) -> ModelEntry:
        """The entry of a diffusers folder or a `.safetensors` checkpoint anywhere on this disk, from now on known by
        its name; raises `ModelError` for what is neither."""
        path = path.expanduser().resolve()
        with self._writing:
            for entry in self.checkpoints.values():
                if entry.source == str(path):
                    return entry
            make = folder_maker(path) if path.is_dir() else checkpoint_maker(path, expect_kind(path, *CHECKPOINTS))
            taken = {*self.checkpoints, *self.add_ons}
            entries = next(made for made in map(make, _names(path)) if taken.isdisjoint(e.name for e in made))
            self._added |= {entry.name: entry for entry in entries}
            self.rescan()
            return entries[0]

    def find_model(self, name: str) -> ModelEntry:
        """The checkpoint of that name, or at that path; raises `ModelError` when it is neither. For the host only."""
        if name in self.checkpoints:
            return self.checkpoints[name]
        path = Path(name).expanduser()
        if path.is_file() or (path / "model_index.json").is_file():
            return self.add_path(path)
        if not path.exists() and (path.suffix or len(path.parts) > 1):
            raise ModelError(f"model must be on this disk: there is no file or folder {name!r}")
        known = list_names(name for name, entry in self.checkpoints.items() if entry.kind != "refiner")
        raise ModelError(
            f"model must be one of {known}, a .safetensors checkpoint, or a folder that holds model_index.json, "
            f"got {name!r}"
        )

    def select(self, request: GenerationRequest, own: ModelEntry) -> Selection:
        """The files that a request names; `own` where it names no model. Raises `InvalidRequest` for an unknown name.

        LoRAs are those that it chooses, and those that its prompts name as `<lora:name:weight>`. A textual inversion
        is used where its name stands as a whole word in a prompt, in the same letters, with `embedding:` before it or
        without.
        """
        now = self._snapshot
        drawing = {name: entry for name, entry in now.checkpoints.items() if entry.kind != "refiner"}
        refiners = {name: entry for name, entry in now.checkpoints.items() if entry.kind == "refiner"}
        vaes, loras = _of_kind(now.add_ons, "vae"), _of_kind(now.add_ons, "lora")
        model = _pick("model", request.model, drawing, now) if request.model else own
        refiner = (
            _pick("refiner", request.refiner, refiners, now) if request.refiner else refiners.get(model.refiner or "")
        )
        vae = _pick("vae", request.vae, vaes, now) if request.vae else vaes.get(model.vae or "")
        weights = {_pick("loras", lora.name, loras, now).name: lora.weight for lora in request.loras}
        prompts = [getattr(request, field) for field in PROMPT_FIELDS]
        return Selection(
            model=model,
            refiner=refiner,
            vae=vae,
            loras=tuple((loras[name], weight) for name, weight in add_tagged(request, weights, loras).items()),
            embeddings=tuple(
                entry
                for name, entry in _of_kind(now.add_ons, "embedding").items()
                if any(stands_in(name, prompt) for prompt in prompts)
            ),
            tiny=_pick_tiny(model, now) if request.draft else None,
        )

    def knows_lora(self, name: str) -> bool:
        """Whether a tag of that name means one LoRA."""
        return len(find_loras(name, _of_kind(self._snapshot.add_ons, "lora"))) == 1

    def embedding_sizes(self) -> Mapping[str, int]:
        """How many vectors each textual inversion has that is on this disk; looked up once after each scan."""
        return self._snapshot.embedding_sizes

    def is_here(self, entry: Entry, parts: Sequence[str] | None = None) -> bool:
        """Whether nothing of the entry, or of these parts, must be downloaded: on this disk, or in the Hub's cache."""
        if Path(entry.source).is_absolute():
            return Path(entry.source).exists()
        return is_cached(entry, parts)


# Names


def _count_vectors(path: Path) -> int:
    try:
        return count_vectors(path)
    except ModelError:  # damaged since it was scanned: whoever draws with it hears of that
        return 1


def _names(path: Path) -> Iterator[str]:
    """Names for a path of the command line, the shortest first."""
    yield path.name.removesuffix(".safetensors")
    yield path.name
    yield from (f"{path.name} {number}" for number in range(2, 1000))


def _of_kind(add_ons: Mapping[str, AddOn], kind: AddOnKind) -> dict[str, AddOn]:
    return {name: entry for name, entry in add_ons.items() if entry.kind == kind}


def _pick(field_name: str, name: str, choices: Mapping[str, EntryT], now: _Snapshot) -> EntryT:
    """The choice of that name; raises `InvalidRequest` naming the choices, and what else the name stands for."""
    if name in choices:
        return choices[name]
    other = now.checkpoints.get(name) or now.add_ons.get(name)
    refused = next((item.reason for item in now.refused if Path(item.file).stem == name), None)
    what = f", and not the {_NAMES_OF_KINDS[other.kind]} {name}" if other else f"; {refused}" if refused else ""
    rule = f"must be one of {list_names(choices)}" if choices else "must be empty, because none is there to choose"
    raise InvalidRequest(field_name, rule + what, name)


def _pick_tiny(model: ModelEntry, now: _Snapshot) -> AddOn:
    """What decodes the model's drafts; raises `InvalidRequest` where nothing does."""
    tiny = now.add_ons.get(model.tiny or "")
    if tiny is None or (Path(tiny.source).is_absolute() and not Path(tiny.source).is_dir()):
        raise InvalidRequest("draft", f"must be off: {model.title} has no small autoencoder", True)
    return tiny


_NAMES_OF_KINDS = {
    "base": "checkpoint",
    "inpainting": "inpainting checkpoint",
    "refiner": "refiner",
    "vae": "VAE",
    "lora": "LoRA",
    "embedding": "textual inversion",
    "preview": "decoder for previews",
}
