"""What of a repository on the Hugging Face Hub is wanted, and whether it is in the Hub's own cache."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from pipelines.components.download import Report, download
from pipelines.schema.errors import ModelError
from pipelines.schema.models import Entry, ModelEntry

PARTS = ("scheduler", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "vae", "unet")
"""Folders of a checkpoint in diffusers' layout; whatever else a repository holds is left there."""
CONFIGS = (
    "model_index.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "merges.txt",
    "vocab.json",
    "tokenizer_config.json",
    "scheduler_config.json",
    "config.json",
)
"""Small files in the order they are downloaded: a tokenizer's optional ones before those that make it whole."""
WEIGHTS = ("diffusion_pytorch_model", "model")
"""Stems of weight files, as diffusers and transformers write them."""


def is_cached(entry: Entry, parts: Sequence[str] | None = None) -> bool:
    """Whether all that `fetch` would bring is on this disk; asks no network."""
    return find(entry, parts) is not None


def find(entry: Entry, parts: Sequence[str] | None) -> Path | None:
    """The path that `fetch` would give, where every part wanted is whole on this disk; asks no network."""
    path = Path(entry.source)
    if path.is_absolute():
        return path if path.exists() else None
    if entry.file:
        return _cached(entry, entry.file)
    if not isinstance(entry, ModelEntry):
        config = _cached(entry, "config.json")
        return config.parent if config and _has_weights(config.parent, entry.variant) else None
    index = _cached(entry, "model_index.json")
    if index is None:
        return None
    listed = _read_json(index)
    wanted = [part for part in _wanted_parts(entry, parts) if (listed.get(part) or [None])[0]]
    return index.parent if listed and all(_is_whole(index.parent / part, entry.variant) for part in wanted) else None


def fetch(entry: Entry, parts: Sequence[str] | None, report: Report) -> Path:
    """The path of the entry's files, downloaded first where they are not on this disk.

    A checkpoint is a folder in diffusers' layout with the scheduler's config and the `parts` that were asked for
    (`None`: all, but for a VAE whose place another takes), any other entry a folder or the one file it names. An entry
    on this disk is its own path. Raises `ModelError`.
    """
    if found := find(entry, parts):
        return found
    if Path(entry.source).is_absolute():
        raise ModelError(f"{entry.title} is not on this disk any more")
    if constants.is_offline_mode():
        raise ModelError(f"{entry.title} is not on this disk, and downloads are switched off (HF_HUB_OFFLINE)")
    folders = _wanted_parts(entry, parts)
    download(entry, lambda name: _place(name, entry, folders), report)
    if found := find(entry, parts):
        return found
    raise ModelError(f"{entry.title} lacks files that its repository {entry.source} should have")


# What is wanted, and whether it is there


def _cached(entry: Entry, name: str) -> Path | None:
    try:
        found = try_to_load_from_cache(entry.source, name, revision=entry.revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _read_json(path: Path) -> dict[str, Any]:
    """What the file says; nothing where another program left it damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}


def _is_whole(folder: Path, variant: str | None) -> bool:
    if folder.name == "scheduler":
        return (folder / "scheduler_config.json").is_file()
    if folder.name.startswith("tokenizer"):
        words = ("tokenizer.json",), ("vocab.json", "merges.txt")
        has_words = any(all((folder / name).is_file() for name in names) for names in words)
        return has_words and (folder / "tokenizer_config.json").is_file()
    return (folder / "config.json").is_file() and _has_weights(folder, variant)


def _has_weights(folder: Path, variant: str | None) -> bool:
    dot = f".{variant}" if variant else ""
    for stem in WEIGHTS:
        if (folder / f"{stem}{dot}.safetensors").is_file():
            return True
        index = folder / f"{stem}.safetensors.index{dot}.json"
        if index.is_file():
            shards = set(_read_json(index).get("weight_map", {}).values())
            return bool(shards) and all((folder / shard).is_file() for shard in shards)
    return False


def _wanted_parts(entry: Entry, parts: Sequence[str] | None) -> list[str]:
    """The folders of a checkpoint, none of any other entry."""
    if not isinstance(entry, ModelEntry):
        return []
    if parts is None:
        return [part for part in PARTS if not (part == "vae" and entry.vae)]
    return [part for part in PARTS if part == "scheduler" or part in parts]


def _is_wanted(name: str, entry: Entry, parts: Sequence[str]) -> bool:
    """Whether a file of the repository belongs to the parts; names that leave the repository never do."""
    if entry.file:
        return name == entry.file
    folder, _, file = name.rpartition("/")
    if folder and folder not in parts:
        return False
    dot = re.escape(f".{entry.variant}") if entry.variant else ""
    shard = r"-\d{5}-of-\d{5}"
    weights = rf"({'|'.join(WEIGHTS)})(({dot}|{dot}{shard}|{shard}{dot})\.safetensors|\.safetensors\.index{dot}\.json)"
    return file in CONFIGS or re.fullmatch(weights, file) is not None


def _place(name: str, entry: Entry, parts: Sequence[str]) -> int | None:
    """When a file of the repository is brought: small ones first, `None` for what is left there."""
    if not _is_wanted(name, entry, parts):
        return None
    file = name.rpartition("/")[2]
    return CONFIGS.index(file) if file in CONFIGS else len(CONFIGS)
