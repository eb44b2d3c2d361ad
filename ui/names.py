"""What goes by a name that somebody else wrote: other letters, other signs, a file in place of a title."""

import re
from collections.abc import Iterable, Mapping

from pipelines.media.readers.restored import plain_name
from pipelines.schema.models import Entry


class Index:
    """Keys by words that are written in many ways: as they are, in other letters, with other signs between them."""

    def __init__(self, words: Mapping[str, Iterable[str]]) -> None:
        self._keys = set(words)
        self._looks: list[dict[str, set[str]]] = [{}, {}]
        for key, known in words.items():
            for word in known:
                for table, look in zip(self._looks, _LOOKS, strict=True):
                    table.setdefault(look(word), set()).add(key)

    def find(self, wanted: str) -> str | None:
        """The one key that goes by that word; `None` where none or several do."""
        if wanted in self._keys:
            return wanted
        for table, look in zip(self._looks, _LOOKS, strict=True):
            asked = look(plain_name(wanted))
            found = table.get(asked, set()) if asked else set()
            if len(found) == 1:
                return next(iter(found))
        return None


class Shelf:
    """Entries by name, title and file."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._index = Index(
            {name: [name, entry.title, plain_name(entry.file or entry.source)] for name, entry in self._entries.items()}
        )

    def find(self, name: str) -> Entry | None:
        """The entry that goes by a name."""
        found = self._index.find(name)
        return None if found is None else self._entries[found]


def _letters(name: str) -> str:
    """The letters and digits alone: "sd_xl_base_1.0" and "SDXL base 1.0" are one name."""
    return re.sub(r"[\W_]+", "", name.casefold())


_LOOKS = (str.casefold, _letters)
