"""The header of a safetensors file, read and judged before anything large is: nothing here trusts the file."""

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.schema.errors import ModelError

MAX_HEADER_BYTES = 16 * 2**20
"""Full SDXL needs half a megabyte; what trainers write into a LoRA's metadata may be some more."""
MAX_TENSORS = 20_000
"""Full SDXL has 2,515."""
MAX_RANK = 5
MAX_DIMENSION = 2**31

BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}
"""The format's names for numbers, and how wide one is."""


@dataclass(frozen=True)
class Tensor:
    """What a header says of one tensor."""

    dtype: str
    """The format's own name, for example "BF16"."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What stands in a safetensors file, without its weights."""

    file: str
    """The file's name, without its folder."""
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of the tensor called `key`; empty where there is none."""
        return self.tensors[key].shape if key in self.tensors else ()


def read_header(path: Path) -> Header:
    """The header of a whole safetensors file; raises `ModelError` naming the file and the rule that it breaks.

    The format: https://github.com/huggingface/safetensors, eight bytes of length, JSON, then the tensors end to end.
    """
    try:
        raw, data_bytes = _read_raw(path)
        return _parse(path.name, raw, data_bytes)
    except OSError as error:
        raise ModelError(f"{path.name} cannot be opened") from error
    except _BrokenRule as error:
        raise ModelError(f"{path.name} is no whole safetensors file: {error}") from error


class _BrokenRule(Exception):
    """The second half of a sentence about the file."""


def _read_raw(path: Path) -> tuple[bytes, int]:
    """The JSON as bytes, and how many bytes follow it."""
    if not path.is_file():
        raise _BrokenRule("it must be a file")
    with path.open("rb") as file:
        file_bytes = os.fstat(file.fileno()).st_size
        start = file.read(8)
        if start[:2] == b"PK" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"):
            raise _BrokenRule("it is a pickle under another name, and those are never read")
        if len(start) < 8:
            raise _BrokenRule("it ends before its header")
        if start.lstrip()[:1] in (b"<", b"{", b"v") and start.isascii() and start.decode().isprintable():
            raise _BrokenRule("it is text, perhaps a web page that was saved in place of the file")
        (length,) = struct.unpack("<Q", start)
        if length > MAX_HEADER_BYTES:
            raise _BrokenRule(f"its header must be at most {MAX_HEADER_BYTES} bytes long, not {length}")
        if length > file_bytes - 8:
            raise _BrokenRule("it ends within its header")
        return file.read(length), file_bytes - 8 - length


def _parse(file: str, raw: bytes, data_bytes: int) -> Header:
    if raw.count(b'"data_offsets"') > MAX_TENSORS:  # before the parser makes objects of them all
        raise _BrokenRule(f"it must hold at most {MAX_TENSORS} tensors")
    try:
        if not raw.startswith(b"{"):
            raise _BrokenRule("its header must be a JSON object")
        content: dict[str, Any] = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _BrokenRule("its header must be JSON") from error
    metadata = content.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _BrokenRule("its metadata must be texts by name")
    if not content:
        raise _BrokenRule("it holds no tensor")
    if len(content) > MAX_TENSORS:
        raise _BrokenRule(f"it must hold at most {MAX_TENSORS} tensors")
    spans: list[tuple[int, int]] = []
    tensors: dict[str, Tensor] = {}
    for key, entry in content.items():
        tensors[key], span = _parse_tensor(key, entry)
        spans.append(span)
    _check_spans(sorted(spans), data_bytes)
    return Header(file, tensors, metadata)


def _parse_tensor(key: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    """A tensor, and the bytes from and to which it lies behind the header."""
    name = repr(key[:80])
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _BrokenRule(f"tensor {name} must have a dtype, a shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _BrokenRule(f"tensor {name} must be of a known dtype, not {str(dtype)[:40]!r}")
    if not _are_sizes(shape) or len(shape) > MAX_RANK or any(size > MAX_DIMENSION for size in shape):
        raise _BrokenRule(f"tensor {name} must have at most {MAX_RANK} dimensions, each a size")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise _BrokenRule(f"tensor {name} must say where it begins and ends")
    begin, end = offsets
    if end - begin != math.prod(shape) * BITS[dtype] // 8:
        raise _BrokenRule(f"tensor {name} must be as long as its shape says")
    return Tensor(dtype, tuple(shape)), (begin, end)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _check_spans(spans: list[tuple[int, int]], data_bytes: int) -> None:
    """Tensors must lie end to end: neither over one another nor with room for something else between them."""
    position = 0
    for begin, end in spans:
        if begin != position:
            raise _BrokenRule("its tensors must lie end to end")
        position = end
    if position > data_bytes:
        raise _BrokenRule(f"it is cut short: {data_bytes} bytes of weights are there, {position} were written")
    if position < data_bytes:
        raise _BrokenRule("something follows its last tensor")
