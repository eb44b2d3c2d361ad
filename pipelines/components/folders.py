"""What lies in the host's four folders: each file judged by its header, each told with a reason if it is of no use."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.components.diffusers_folder import known_of_folder
from pipelines.components.header import read_header
from pipelines.components.kinds import TITLES, Kind, KindName, check_shapes, tell_kind
from pipelines.schema.errors import ModelError
from pipelines.schema.models import AddOn, ModelEntry
from pipelines.schema.paths import PRESETS

ROOMS: dict[str, tuple[KindName, ...]] = {
    "checkpoints": ("base", "refiner", "inpainting"),
    "loras": ("lora",),
    "vae": ("vae",),
    "embeddings": ("embedding",),
}
"""What belongs where in the host's folder."""
CHECKPOINTS = ROOMS["checkpoints"]
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
OWN_REFINER = "-refiner"
"""What the name of the refiner in a model's own folder ends with."""

CheckpointMaker = Callable[[str], list[ModelEntry]]
"""Makes the entry of a checkpoint from a name, and behind it that of the refiner that it brings."""
Maker = CheckpointMaker | Callable[[str], AddOn]


@dataclass(frozen=True)
class Refused:
    """A file in the host's folders that cannot be used."""

    file: str
    """Its place in the folder, for example "loras/old.safetensors"."""
    reason: str
    """A sentence that names the file without its folder."""


@dataclass(frozen=True)
class Found:
    """One file or diffusers folder that can be used, before it has its name."""

    file: str
    """Its place in the host's folder."""
    stem: str
    make: Maker
    """Makes its entries from a name: of a checkpoint several where it brings its own refiner."""

    def names(self, name: str) -> list[str]:
        """What its entries would be called if it had that name."""
        entries = self.make(name)
        return [entries.name] if isinstance(entries, AddOn) else [entry.name for entry in entries]


@dataclass(frozen=True)
class Scan:
    """All that one look into the folders found."""

    found: tuple[Found, ...]
    refused: tuple[Refused, ...]


class Folders:
    """Scans the folders again and again; a file that did not change is not opened again. For one thread at a time.

    A link to a file is followed where it ends in the same one of the four folders; each of the four may itself be a
    link. Linked folders are not entered.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verdicts: dict[tuple[str, int, int], Kind | str] = {}
        self._seen: dict[tuple[str, int, int], Kind | str] = {}

    def scan(self) -> Scan:
        """What lies in the four folders now."""
        found: list[Found] = []
        refused: list[Refused] = []
        self._seen = {}
        for room in ROOMS:
            self._scan_room(room, found, refused)
        self._verdicts = self._seen
        return Scan(tuple(found), tuple(refused))

    def _scan_room(self, room: str, found: list[Found], refused: list[Refused]) -> None:
        root = (self._folder / room).resolve()
        for path in _candidates(root):
            file = f"{room}/{path.relative_to(root).as_posix()}".encode("utf-8", "replace").decode()
            try:
                found.append(Found(file, path.stem if path.is_file() else path.name, self._maker(room, root, path)))
            except ModelError as error:
                refused.append(Refused(file, str(error)))
            except (OSError, RuntimeError):  # the second: a link that leads to itself
                refused.append(Refused(file, f"{file.split('/')[-1]} cannot be opened"))

    def _maker(self, room: str, root: Path, path: Path) -> Maker:
        if not path.relative_to(root).as_posix().isprintable():
            raise ModelError(f"{path.name!a} has a name that cannot be written")
        if not path.resolve().is_relative_to(root):
            raise ModelError(f"{path.name} is a link that leads out of {room}/")
        if path.is_dir():
            if room != "checkpoints":
                raise ModelError(f"{path.name} is a folder of a whole model; it belongs in checkpoints/")
            return folder_maker(path)
        if path.suffix.lower() in PICKLES:
            raise ModelError(f"{path.name} is a pickle, and those are never read; only .safetensors files are")
        kind = self._kind_of(path)
        if kind.name in ROOMS[room]:
            return checkpoint_maker(path, kind) if kind.name in CHECKPOINTS else _add_on_maker(path, kind)
        for other, kinds in ROOMS.items():
            if kind.name in kinds:
                raise ModelError(f"{path.name} is {kind.title}; it belongs in {other}/")
        raise ModelError(f"{path.name} is {kind.title}, not {TITLES[ROOMS[room][0]]}")

    def _kind_of(self, path: Path) -> Kind:
        """What was found in the file at this size and time of change; raises `ModelError`."""
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        verdict = self._seen[key] = self._verdicts.get(key) or _judge(path)
        if isinstance(verdict, str):
            raise ModelError(verdict)
        return verdict


def _judge(path: Path) -> Kind | str:
    """The file's kind, or why it is of no use."""
    try:
        header = read_header(path)
        kind = tell_kind(header)
        check_shapes(header, kind)
    except ModelError as error:
        return str(error)
    return kind


def _candidates(root: Path) -> Iterator[Path]:
    """Files that may be weights, and diffusers folders, in order of their names; hidden ones are left out."""
    for parent, folders, files in os.walk(root):
        if "model_index.json" in files and Path(parent) != root:
            folders.clear()
            yield Path(parent)
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in (".safetensors", *PICKLES):
                yield Path(parent, name)


def checkpoint_maker(path: Path, kind: Kind) -> CheckpointMaker:
    """For a file of this kind."""
    return lambda name: [_model_entry(name, path, kind=kind.name)]


def _add_on_maker(path: Path, kind: Kind) -> Maker:
    return lambda name: AddOn(name=name, title=name, source=str(path), kind=kind.name)  # pyright: ignore


def folder_maker(folder: Path) -> CheckpointMaker:
    """Makes the folder's entry, and that of the `refiner/` in it; raises `ModelError` naming what is no SDXL model."""
    known = known_of_folder(folder)
    own_refiner = folder / "refiner"
    if not (own_refiner / "model_index.json").is_file():
        return lambda name: [_model_entry(name, folder, **known)]
    known_of_refiner = {**known_of_folder(own_refiner), "kind": "refiner"}
    return lambda name: [
        _model_entry(name, folder, refiner=f"{name}{OWN_REFINER}", **known),
        _model_entry(f"{name}{OWN_REFINER}", own_refiner, **known_of_refiner),
    ]


def _model_entry(name: str, path: Path, **known: Any) -> ModelEntry:
    return ModelEntry(
        name=name, title=name, source=str(path), latent_rgb=str(PRESETS / "latent_rgb_sdxl.json"), **known
    )
