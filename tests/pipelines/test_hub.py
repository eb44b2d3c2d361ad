"""Downloads bring only what is wanted, go on after a cut and fail with sentences; a small local Hub serves them."""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from pipelines.components import download
from pipelines.components.hub import fetch, is_cached
from pipelines.schema.errors import Cancelled, ModelError
from pipelines.schema.events import Loading
from pipelines.schema.models import AddOn, Entry, ModelEntry
from pipelines.schema.paths import PROJECT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BIG = 300_000
"""Bytes of a weight file here: several chunks of a connection."""
SDXL_PARTS = ("scheduler", "tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "vae", "unet")
INDEX = json.dumps({"_class_name": "X", **{part: ["library", "Class"] for part in SDXL_PARTS}}).encode()
WANTED = {
    "model_index.json": INDEX,
    "scheduler/scheduler_config.json": b"{}",
    **{
        f"{part}/{name}": f"{part}/{name}".encode()
        for part in ("tokenizer", "tokenizer_2")
        for name in ("tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
    },
    **{f"{part}/config.json": part.encode() for part in ("text_encoder", "text_encoder_2", "vae", "unet")},
    "text_encoder/model.fp16.safetensors": random.Random(1).randbytes(BIG),
    "text_encoder_2/model.fp16.safetensors": random.Random(2).randbytes(BIG),
    "vae/diffusion_pytorch_model.fp16.safetensors": random.Random(3).randbytes(BIG),
    "unet/diffusion_pytorch_model.fp16.safetensors": random.Random(4).randbytes(2 * BIG),
}
UNWANTED = dict.fromkeys(
    (
        "README.md",
        "sd_xl_base_1.0.safetensors",
        "text_encoder/model.onnx",
        "text_encoder/model.safetensors",
        "text_encoder/openvino_model.bin",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_flax_model.msgpack",
        "unet/pickled.ckpt",
        "unet/weights.pt",
        "unet/run.py",
        "vae_1_0/config.json",
        "vae_1_0/diffusion_pytorch_model.fp16.safetensors",
        "../outside/config.json",
        "unet/../../config.json",
        "/etc/config.json",
    ),
    b"x",
)


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=lambda: {**UNWANTED, **WANTED})
    listings: list[str] = field(default_factory=list)
    """Paths of the listings asked for."""
    asked: list[str] = field(default_factory=list)
    """Files whose content was asked for, in order."""
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each."""
    cuts: dict[str, int] = field(default_factory=dict)
    """Files whose connection is closed before this byte, every time."""
    cut_once: dict[str, int] = field(default_factory=dict)
    """The same, the first time only."""
    damaged: dict[str, bytes] = field(default_factory=dict)
    """Files that are sent with another content than listed."""
    knows_ranges: bool = True
    refusal: tuple[int, str] | None = None
    """The status and error code that listings are answered with."""
    etags: dict[str, str] = field(default_factory=dict)
    """Files listed under another digest than theirs."""
    port: int = 0

    def siblings(self) -> list[dict[str, Any]]:
        return [self._sibling(name, content) for name, content in self.files.items()]

    def etag(self, name: str) -> str:
        content = self.files[name]
        if len(content) < BIG:
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        else:
            digest = hashlib.sha256(content).hexdigest()
        return self.etags.get(name, digest)

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": self.etag(name)}
        if len(content) >= BIG:
            entry["lfs"] = {"sha256": self.etag(name), "size": len(content), "pointerSize": 1}
        return entry


class Answers(BaseHTTPRequestHandler):
    """The three endpoints of the Hub that downloads use: a repository's listing, a file's head and its content."""

    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing on the terminal."""

    def do_HEAD(self) -> None:
        name = self._name()
        self._head(200, {"ETag": f'"{self.hub.etag(name)}"', "Content-Length": str(len(self.hub.files[name]))})

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            self._list()
        elif "/resolve/" in self.path:
            self._send(self._name())
        else:  # what huggingface_hub asks for its own purposes
            self._head(404, {"Content-Length": "0"})

    def _list(self) -> None:
        self.hub.listings.append(urlsplit(self.path).path)
        if self.hub.refusal:
            status, code = self.hub.refusal
            self._head(status, {"X-Error-Code": code, "Content-Length": "0"})
            return
        body = json.dumps({"id": "a/b", "sha": COMMIT, "siblings": self.hub.siblings()}).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _send(self, name: str) -> None:
        wanted = self.headers.get("Range")
        self.hub.asked.append(name)
        self.hub.ranges.append(wanted)
        content = self.hub.damaged.get(name, self.hub.files[name])
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.hub.knows_ranges else 0
        end = self.hub.cut_once.pop(name, self.hub.cuts.get(name, len(content)))
        self._head(206 if start else 200, {"Content-Length": str(len(content) - start)})
        self.wfile.write(content[start:end])

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).split(f"/resolve/{COMMIT}/")[-1].split("/resolve/main/")[-1]

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key, value)
        self.end_headers()


@pytest.fixture
def served() -> Iterator[Hub]:
    """A Hub on a free port, with one repository in SDXL's layout."""
    repository = Hub()
    handler = type("Handler", (Answers,), {"hub": repository})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    repository.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield repository
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def online(served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The same, as the Hub that this process downloads from into an empty cache, without pauses."""
    endpoint = f"http://127.0.0.1:{served.port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(download, "REPORT_SECONDS", 0.0)
    yield served
    close_session()


@pytest.fixture
def model() -> ModelEntry:
    return ModelEntry(name="b", title="Model B", source="a/b", revision=COMMIT, variant="fp16")


def silent(event: Loading) -> None:
    """Listens to no progress."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Only what is wanted


def test_only_configs_tokenizers_and_safetensors_of_the_variant_are_downloaded(online: Hub, model: ModelEntry) -> None:
    assert not is_cached(model)
    folder = fetch(model, None, silent)
    assert online.listings == [f"/api/models/a/b/revision/{COMMIT}"]
    assert sorted(online.asked) == sorted(WANTED)
    assert contents(folder) == WANTED
    assert is_cached(model)


def test_parts_that_were_not_asked_for_stay_on_the_hub(online: Hub, model: ModelEntry) -> None:
    folder = fetch(model, ("unet",), silent)
    assert {name.split("/")[0] for name in contents(folder)} == {"model_index.json", "scheduler", "unet"}
    assert is_cached(model, ("unet",))
    assert not is_cached(model, ("vae",))
    fetch(model, ("unet", "vae"), silent)
    assert online.asked.count("unet/diffusion_pytorch_model.fp16.safetensors") == 1
    assert is_cached(model, ("vae",))


def test_a_vae_whose_place_another_takes_is_not_wanted(online: Hub, model: ModelEntry) -> None:
    folder = fetch(model.model_copy(update={"vae": "another"}), None, silent)
    assert contents(folder) == {name: data for name, data in WANTED.items() if not name.startswith("vae/")}
    assert is_cached(model.model_copy(update={"vae": "another"}))
    assert not is_cached(model)


def test_parts_that_the_model_does_not_have_are_not_missed(online: Hub, model: ModelEntry) -> None:
    listed = json.loads(INDEX) | {"text_encoder": [None, None], "tokenizer": [None, None]}
    gone = ("text_encoder/", "tokenizer/")
    online.files = {name: data for name, data in WANTED.items() if not name.startswith(gone)}
    online.files["model_index.json"] = json.dumps(listed).encode()
    assert contents(fetch(model, None, silent)) == online.files


def test_what_is_there_is_found_without_asking_anybody(online: Hub, model: ModelEntry) -> None:
    first = fetch(model, None, silent)
    online.asked.clear()
    online.refusal = (500, "Broken")
    events: list[Loading] = []
    assert fetch(model, None, events.append) == first
    assert (online.asked, events) == ([], [])


def test_a_cache_that_lost_a_file_is_not_whole(online: Hub, model: ModelEntry) -> None:
    folder = fetch(model, None, silent)
    for name in WANTED:
        if "special_tokens" not in name:
            (folder / name).rename(folder / "elsewhere")
            assert not is_cached(model), name
            (folder / "elsewhere").rename(folder / name)
    assert is_cached(model)


def test_weights_in_several_files_count_when_all_are_there(online: Hub, model: ModelEntry) -> None:
    shards = [f"diffusion_pytorch_model.fp16-0000{k}-of-00002.safetensors" for k in (1, 2)]
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    del online.files["unet/diffusion_pytorch_model.fp16.safetensors"]
    online.files |= {f"unet/{shard}": shard.encode() * BIG for shard in shards}
    online.files["unet/diffusion_pytorch_model.safetensors.index.fp16.json"] = json.dumps(index).encode()
    folder = fetch(model, ("unet",), silent)
    assert is_cached(model, ("unet",))
    (folder / "unet" / shards[1]).unlink()
    assert not is_cached(model, ("unet",))


def test_of_a_repository_of_many_files_one_is_taken(online: Hub) -> None:
    online.files = {"a_lora.safetensors": b"a" * BIG, "b_lora.safetensors": b"b" * BIG}
    lora = AddOn(name="a", title="A", kind="lora", source="a/b", revision=COMMIT, file="a_lora.safetensors")
    path = fetch(lora, None, silent)
    assert path.name == "a_lora.safetensors"
    assert path.read_bytes() == b"a" * BIG
    assert online.asked == ["a_lora.safetensors"]


def test_an_add_on_in_diffusers_layout_is_a_folder(online: Hub) -> None:
    wanted = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"v" * BIG}
    online.files = {
        **wanted,
        "sdxl_vae.safetensors": b"x",
        "diffusion_pytorch_model.bin": b"x",
        "unet/config.json": b"",
    }
    vae = AddOn(name="v", title="V", kind="vae", source="a/b", revision=COMMIT)
    assert contents(fetch(vae, None, silent)) == wanted


def test_a_path_on_this_disk_is_its_own(tmp_path: Path) -> None:
    entry = ModelEntry(name="m", title="M", source=str(tmp_path))
    assert fetch(entry, None, silent) == tmp_path
    assert is_cached(entry)
    gone = Entry(name="m", title="Model M", source=str(tmp_path / "gone.safetensors"))
    assert not is_cached(gone)
    with pytest.raises(ModelError, match="Model M is not on this disk any more"):
        fetch(gone, None, silent)


def test_without_a_pinned_revision_the_newest_is_taken_and_found_again(online: Hub, model: ModelEntry) -> None:
    newest = model.model_copy(update={"revision": None})
    folder = fetch(newest, ("vae",), silent)
    assert folder.name == COMMIT
    assert is_cached(newest, ("vae",))


# Progress, cuts, cancelling


def test_progress_is_told_in_bytes_and_ends_at_the_total(online: Hub, model: ModelEntry) -> None:
    events: list[Loading] = []
    fetch(model, None, events.append)
    done = [event.done_bytes or 0 for event in events]
    total = sum(len(content) for content in WANTED.values())
    assert {event.total_bytes for event in events} == {total}
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, total)
    assert len(set(done)) > 20
    assert [event.fraction for event in events] == [count / total for count in done]
    assert {event.what for event in events} == {"Model B"}


def test_progress_is_told_several_times_a_second_at_most(
    online: Hub, model: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "REPORT_SECONDS", 60.0)
    events: list[Loading] = []
    fetch(model, None, events.append)
    assert [event.fraction for event in events] == [0.0, 1.0]


@pytest.mark.parametrize("cut", [0, BIG])
def test_a_short_interruption_heals_itself(online: Hub, model: ModelEntry, cut: int) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    online.cut_once[name] = cut
    folder = fetch(model, ("unet",), silent)
    assert (folder / name).read_bytes() == WANTED[name]
    assert online.ranges[-1] == (f"bytes={cut}-" if cut else None)


def test_a_download_that_was_cut_goes_on_where_it_ended(online: Hub, model: ModelEntry) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    online.cuts[name] = BIG
    with pytest.raises(ModelError, match=r"Model B .* the Hub cannot be reached; what was downloaded is kept"):
        fetch(model, ("unet",), silent)
    assert not is_cached(model, ("unet",))
    online.cuts.clear()
    online.asked.clear()
    online.ranges.clear()
    events: list[Loading] = []
    folder = fetch(model, ("unet",), events.append)
    assert (online.asked, online.ranges) == ([name], [f"bytes={BIG}-"])
    assert (folder / name).read_bytes() == WANTED[name]
    assert max(event.done_bytes or 0 for event in events) == events[-1].total_bytes
    assert (events[0].done_bytes or 0) > 0


def test_a_server_that_knows_no_ranges_sends_the_file_anew(online: Hub, model: ModelEntry) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    online.cut_once[name] = BIG
    online.knows_ranges = False
    events: list[Loading] = []
    folder = fetch(model, ("unet",), events.append)
    assert (folder / name).read_bytes() == WANTED[name]
    assert events[-1].done_bytes == events[-1].total_bytes == max(event.done_bytes or 0 for event in events)


def test_a_file_that_comes_anew_near_its_end_comes_once(online: Hub, model: ModelEntry) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    online.cut_once[name] = len(WANTED[name]) - 10
    online.knows_ranges = False
    folder = fetch(model, ("unet",), silent)
    assert (folder / name).read_bytes() == WANTED[name]
    assert online.asked.count(name) == 2


def test_stop_ends_a_download_soon_and_keeps_what_is_there(online: Hub, model: ModelEntry) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    reported: list[int] = []

    def stop(event: Loading) -> None:
        reported.append(event.done_bytes or 0)
        if reported[-1] > BIG:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fetch(model, ("unet",), stop)
    assert reported[-1] < 2 * BIG
    online.ranges.clear()
    folder = fetch(model, ("unet",), silent)
    start = int((online.ranges[-1] or "").removeprefix("bytes=").removesuffix("-"))
    assert start > BIG / 2
    assert (folder / name).read_bytes() == WANTED[name]


def test_content_that_is_not_what_was_listed_is_thrown_away(online: Hub, model: ModelEntry) -> None:
    for name in ("vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors"):
        online.damaged = {name: b"!" * len(WANTED[name])}
        with pytest.raises(ModelError, match=f"{name} arrived damaged"):
            fetch(model, ("vae",), silent)
        assert not is_cached(model, ("vae",))
    online.damaged = {}
    folder = fetch(model, ("vae",), silent)
    assert all((folder / name).read_bytes() == WANTED[name] for name in WANTED if name.startswith("vae/"))


def test_two_who_want_the_same_download_it_once(online: Hub, model: ModelEntry) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    half, waiting = threading.Event(), threading.Event()
    folders: list[Path] = []

    def pause_halfway(event: Loading) -> None:
        if (event.done_bytes or 0) > BIG:
            half.set()
            assert waiting.wait(10)

    def fetch_too() -> None:
        assert half.wait(10)
        reports: list[Loading] = []

        def count(event: Loading) -> None:
            reports.append(event)
            if len(reports) > len([name for name in WANTED if name.startswith(("unet/", "model_", "scheduler/"))]):
                waiting.set()  # it tells again, although it receives nothing: it waits for the other's file

        folders.append(fetch(model, ("unet",), count))

    second = threading.Thread(target=fetch_too)
    second.start()
    folders.append(fetch(model, ("unet",), pause_halfway))
    second.join()
    assert len(set(folders)) == 1
    assert online.asked.count(name) == 1
    assert (folders[0] / name).read_bytes() == WANTED[name]


# What goes wrong


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (404, "RepoNotFound", "Model B: the Hub has no repository a/b, or keeps it private"),
        (404, "RevisionNotFound", f"Model B: the Hub's repository a/b has no revision {COMMIT}"),
        (
            403,
            "GatedRepo",
            "Model B asks for its licence to be accepted at https://example.org/b, then `hf auth login`",
        ),
        (503, "Down", "Model B: the Hub answered 503; try again later"),
    ],
)
def test_a_refusal_is_a_sentence(online: Hub, model: ModelEntry, status: int, code: str, sentence: str) -> None:
    online.refusal = (status, code)
    with pytest.raises(ModelError) as raised:
        fetch(model.model_copy(update={"page": "https://example.org/b"}), None, silent)
    assert str(raised.value) == sentence


def test_a_source_that_is_no_name_is_a_sentence(online: Hub, model: ModelEntry) -> None:
    nowhere = model.model_copy(update={"source": "a/b/c/d"})
    assert not is_cached(nowhere)
    with pytest.raises(ModelError, match="'a/b/c/d' is no folder on this disk and no repository's name"):
        fetch(nowhere, None, silent)


def test_a_repository_that_lacks_a_part_is_told(online: Hub, model: ModelEntry) -> None:
    del online.files["vae/diffusion_pytorch_model.fp16.safetensors"]
    with pytest.raises(ModelError, match="Model B lacks files that its repository a/b should have"):
        fetch(model, ("vae",), silent)


def test_a_disk_too_small_is_told_before_anything_is_downloaded(
    online: Hub, model: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ModelError, match=r"Model B needs 0\.0 GB more on the disk, and 0\.0 GB are free"):
        fetch(model, None, silent)
    assert online.asked == []


def test_a_disk_that_fills_up_is_a_sentence(online: Hub, model: ModelEntry) -> None:
    def fill(event: Loading) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match="Model B could not be downloaded: the disk is full"):
        fetch(model, None, fill)


def test_names_of_the_listing_cannot_leave_the_cache(online: Hub, model: ModelEntry, tmp_path: Path) -> None:
    online.etags["unet/config.json"] = "../../../outside"
    with pytest.raises(ModelError, match="the Hub's listing of a/b is damaged"):
        fetch(model, None, silent)
    online.etags.clear()
    fetch(model, None, silent)
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
    assert not any(".." in name or name.startswith("/") for name in online.asked)


# With the environment that a host sets


def run(code: str, home: Path, **environment: str) -> str:
    """What a fresh interpreter prints that knows nothing of this one's Hub."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT + code],
        cwd=PROJECT,
        env={**kept, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


SCRIPT = f"""
import sys
from pipelines.components.hub import fetch, is_cached
from pipelines.schema.errors import ModelError
from pipelines.schema.models import ModelEntry

sockets = []
sys.addaudithook(lambda event, args: sockets.append(event) if event in ("socket.connect", "socket.getaddrinfo") else 0)
model = ModelEntry(name="b", title="Model B", source="a/b", revision={COMMIT!r}, variant="fp16")

def attempt():
    try:
        return fetch(model, ("vae",), lambda event: None).name
    except ModelError as error:
        return str(error)

"""


def test_offline_works_with_what_is_cached_and_opens_no_connection(served: Hub, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{served.port}"
    code = "print(is_cached(model, ('vae',)), attempt(), is_cached(model, ('vae',)), bool(sockets))"
    assert run(code, tmp_path, HF_ENDPOINT=endpoint) == f"False {COMMIT} True True"
    assert run(code, tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1") == f"True {COMMIT} True False"


def test_offline_without_a_cache_is_a_sentence(tmp_path: Path) -> None:
    answer = run("print(attempt(), sockets)", tmp_path, HF_HUB_OFFLINE="1")
    assert answer == "Model B is not on this disk, and downloads are switched off (HF_HUB_OFFLINE) []"


def test_a_hub_that_cannot_be_reached_is_a_sentence(tmp_path: Path) -> None:
    answer = run("print(attempt())", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert answer.startswith("Model B is not on this disk as a whole, and the Hub cannot be reached; what was")
