"""Wildcards: files of options, one a line, which a prompt names as `__name__` or, of a subfolder, `__sub/name__`."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.prompts.variants import Pool, read_option
from pipelines.schema.paths import PRESETS

FOLDER = PRESETS / "wildcards"
MAX_FILES = 1_000
MAX_FILE_BYTES = 1_000_000
MAX_LINES = 20_000
"""Options of all files together."""
MAX_LINE_CHARACTERS = 2_000
MAX_FOLDERS = 4
"""Folders in folders that are entered."""


@dataclass(frozen=True)
class Words:
    """What all files held at one moment, by their names in lower case."""

    pools: Mapping[str, Pool]

    def find(self, name: str) -> tuple[Pool, ...]:
        """The options of a name, or of all names that fit where it holds one `*`; none for a name that no file has."""
        name = name.casefold()
        start, star, end = name.partition("*")
        if not star:
            return (self.pools[name],) if name in self.pools else ()
        return tuple(
            pool
            for other, pool in self.pools.items()
            if len(other) >= len(start) + len(end) and other.startswith(start) and other.endswith(end)
        )


class Wildcards:
    """The `.txt` files of a folder, read once and again on `rescan`. Safe from any thread.

    A line is an option, which may begin with its weight (`2::red`) and hold wildcards and variants; empty lines and
    lines that begin with `#` are none. Files are read as UTF-8 with wrong bytes replaced. What exceeds a limit of this
    module is left out, and so are hidden files, linked folders and files outside of the folder.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._read: dict[tuple[str, int, int], Pool] = {}
        self._words = Words({})
        self.rescan()

    @property
    def words(self) -> Words:
        """What was read last; it never changes, so whoever looks up several names asks once."""
        return self._words

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in order."""
        return tuple(self._words.pools)

    def rescan(self) -> None:
        """Reads the files that are new or changed, and forgets those that are gone."""
        read: dict[tuple[str, int, int], Pool] = {}
        pools: dict[str, Pool] = {}
        room = MAX_LINES
        for path, name in _text_files(self._folder.resolve()):
            try:
                status = path.stat()
                key = (str(path), status.st_size, status.st_mtime_ns)
                pool = self._read.get(key) or _read_pool(path)
            except OSError:
                continue
            if name in pools or not 0 < len(pool.options) <= room:
                continue
            room -= len(pool.options)
            read[key] = pools[name] = pool
        self._read, self._words = read, Words(dict(sorted(pools.items())))


def _read_pool(path: Path) -> Pool:
    """The options of a file; none of one that is too large. Raises `OSError`."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        return Pool(())
    lines = (line.strip() for line in data.decode("utf-8-sig", "replace").splitlines())
    return Pool(
        tuple(
            read_option(line)
            for line in lines
            if line and not line.startswith("#") and len(line) <= MAX_LINE_CHARACTERS
        )
    )


def _text_files(root: Path) -> Iterator[tuple[Path, str]]:
    """The first files of the folder in order, each with the name that a prompt calls it by."""
    files = 0
    for parent, folders, names in os.walk(root):
        below = Path(parent).relative_to(root)
        is_deep = len(below.parts) >= MAX_FOLDERS
        folders[:] = [] if is_deep else sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            is_text = path.suffix.lower() == ".txt" and not name.startswith(".") and str(below / name).isprintable()
            if not is_text or not _stays_inside(path, root):
                continue
            if files == MAX_FILES:
                return
            files += 1
            yield path, (below / path.stem).as_posix().casefold()


def _stays_inside(path: Path, root: Path) -> bool:
    """Whether this is a file of the folder also when links are followed."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # the second: a link that leads to itself
        return False
