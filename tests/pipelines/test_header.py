"""A safetensors header is judged before anything large is read: each broken rule is named, and quickly."""

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipelines.components.header import MAX_HEADER_BYTES, MAX_TENSORS, read_header
from pipelines.schema.errors import ModelError


def write(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """A file with this header, which is JSON, text or bytes as it comes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def tensor(begin: int, end: int, **changes: Any) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end], **changes}


def test_names_types_shapes_and_metadata_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights = {"x": torch.zeros(2, 3, dtype=torch.bfloat16), "y": torch.zeros(4), "v_pred": torch.zeros(0)}
    save_file(weights, path, metadata={"format": "pt"})
    header = read_header(path)
    assert header.file == "a.safetensors"
    assert {name: (found.dtype, found.shape) for name, found in header.tensors.items()} == {
        "x": ("BF16", (2, 3)),
        "y": ("F32", (4,)),
        "v_pred": ("F32", (0,)),
    }
    assert header.metadata == {"format": "pt"}


@pytest.mark.parametrize(
    ("header", "data", "rule"),
    [
        ({"a": tensor(0, 4)}, b"123", "cut short: 3 bytes of weights are there, 4 were written"),
        ({"a": tensor(0, 4)}, b"12345", "something follows its last tensor"),
        ({"a": tensor(0, 4), "b": tensor(2, 6)}, b"123456", "end to end"),
        ({"a": tensor(0, 2), "b": tensor(4, 6)}, b"123456", "end to end"),
        ({"a": tensor(1, 2)}, b"12", "end to end"),
        ({"a": tensor(0, 4, shape=[5])}, b"1234", "as long as its shape says"),
        ({"a": tensor(0, 4, shape=[2**40, 2**40])}, b"1234", "each a size"),
        ({"a": tensor(0, 4, shape=[-4])}, b"1234", "each a size"),
        ({"a": tensor(0, 4, shape=[True, 4])}, b"1234", "each a size"),
        ({"a": tensor(0, 4, shape=[4.0])}, b"1234", "each a size"),
        ({"a": tensor(0, 1, shape=[1] * 6)}, b"1", "at most 5 dimensions"),
        ({"a": tensor(0, 4, dtype="F4")}, b"1234", "known dtype, not 'F4'"),
        ({"a": tensor(0, 4, dtype=["U8"])}, b"1234", "known dtype"),
        ({"a": tensor(0, 4, data_offsets=[0])}, b"1234", "begins and ends"),
        ({"a": tensor(0, 4, more=1)}, b"1234", "must have a dtype, a shape and data_offsets"),
        ({"a": [0, 4]}, b"1234", "must have a dtype, a shape and data_offsets"),
        ({"a": tensor(0, 4), "__metadata__": {"n": 1}}, b"1234", "its metadata must be texts by name"),
        ({"a": tensor(0, 4), "__metadata__": "n"}, b"1234", "its metadata must be texts by name"),
        ({}, b"", "it holds no tensor"),
        (b"[]", b"", "must be a JSON object"),
        (b"{]", b"", "must be JSON"),
        (b'{"a\xff": 1}', b"", "must be JSON"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"", "must be JSON|shape and data_offsets"),
        (b'{"a":' + b"9" * 100_000 + b"}", b"", "must be JSON"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, header: Any, data: bytes, rule: str) -> None:
    path = write(tmp_path / "a.safetensors", header, data)
    with pytest.raises(ModelError, match=rf"^a\.safetensors is no whole safetensors file: .*({rule})"):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"1234567", struct.pack("<Q", 100) + b"{}"])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"it ends (before|within) its header"):
        read_header(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_in_disguise_is_told_and_not_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.safetensors"
    torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match="it is a pickle under another name, and those are never read"):
        read_header(path)


def test_a_folder_and_a_missing_file_are_no_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ModelError, match="it must be a file"):
            read_header(path)


def test_a_giant_header_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**33) + b"{")
        file.truncate(2**33 + 100)  # a hole in the disk: it costs nothing
    start = time.perf_counter()
    with pytest.raises(ModelError, match=f"its header must be at most {MAX_HEADER_BYTES} bytes long, not {2**33}"):
        read_header(path)
    assert time.perf_counter() - start < 0.1


def test_a_header_of_a_million_keys_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    entries = b",".join(b'"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(1_000_000))
    path = write(tmp_path / "a.safetensors", b"{" + entries + b"}")
    start = time.perf_counter()
    with pytest.raises(ModelError, match=f"its header must be at most {MAX_HEADER_BYTES} bytes long"):
        read_header(path)
    assert time.perf_counter() - start < 0.1
    few = entries[: MAX_HEADER_BYTES // 2].rsplit(b',"', 1)[0]
    write(path, b"{" + few + b"}")
    start = time.perf_counter()
    with pytest.raises(ModelError, match=f"it must hold at most {MAX_TENSORS} tensors"):
        read_header(path)
    assert time.perf_counter() - start < 0.5


def test_no_sentence_names_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as raised:
        read_header(tmp_path / "secret" / "a.safetensors")
    assert "secret" not in str(raised.value)
