"""Files of a repository on the Hugging Face Hub brought into the Hub's own cache: each byte once, also after a cut."""

import errno
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from huggingface_hub import HfApi, ModelInfo, constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers, get_session, hf_raise_for_status
from huggingface_hub.utils.sha import git_hash, sha_fileobj

from pipelines.schema.errors import ModelError
from pipelines.schema.events import Loading
from pipelines.schema.models import Entry

TRIES = 5
"""Attempts in a row that may bring no byte before a download counts as cut."""
PAUSE_SECONDS = 1.0
"""Between two attempts."""
REPORT_SECONDS = 0.25
"""Between two events of progress."""

Report = Callable[[Loading], None]
"""Called a few times a second; what it raises ends the download, and what is there stays."""
Place = Callable[[str], int | None]
"""When a file of a repository is brought, by its path there; `None` for what is left there."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository."""

    name: str
    """Its path in the repository."""
    size: int
    etag: str
    """Hexadecimal: the SHA-256 of its content where the Hub keeps it as a large file, else git's SHA-1."""


def download(entry: Entry, place: Place, report: Report) -> None:
    """Brings every file of the entry's repository that has a place into the Hub's cache, from where the last attempt
    ended; raises `ModelError`."""
    with _as_sentences(entry):
        _bring_all(entry, place, report)


class _Progress:
    """Bytes that are there of all that are wanted, told now and then."""

    def __init__(self, title: str, total_bytes: int, report: Report) -> None:
        self._title = title
        self._total_bytes = total_bytes
        self._report = report
        self._told_at = -REPORT_SECONDS
        self.done_bytes = 0

    def tell(self, now: bool = False) -> None:
        """Reports, unless it was done a moment ago."""
        if now or time.monotonic() - self._told_at >= REPORT_SECONDS:
            self._told_at = time.monotonic()
            fraction = self.done_bytes / self._total_bytes if self._total_bytes else 1.0
            self._report(Loading(self._title, min(fraction, 1.0), self.done_bytes, self._total_bytes))


def _bring_all(entry: Entry, place: Place, report: Report) -> None:
    info = HfApi().model_info(entry.source, revision=entry.revision, files_metadata=True)
    files = _wanted_files(info, entry, place)
    storage = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=entry.source, repo_type="model")
    blobs = storage / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    there = {file: _bytes_there(blobs, file) for file in files}
    total_bytes = sum(file.size for file in files)
    _check_space(entry, total_bytes - sum(there.values()), blobs)

    progress = _Progress(entry.title, total_bytes, report)
    for file in files:
        before = progress.done_bytes
        progress.done_bytes += there[file]
        progress.tell()
        url = hf_hub_url(entry.source, file.name, revision=info.sha)
        _bring(url, file, blobs, storage.parent / ".locks" / storage.name, progress)
        progress.done_bytes = before + file.size
        hf_hub_download(entry.source, file.name, revision=entry.revision)  # only links: the content is there
    progress.tell(now=True)


def _wanted_files(info: ModelInfo, entry: Entry, place: Place) -> list[RemoteFile]:
    """The listing's wanted files in the order of their places."""
    wanted: list[tuple[int, str, RemoteFile]] = []
    for sibling in info.siblings or ():
        position = place(sibling.rfilename)
        if position is None:
            continue
        etag = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
        if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", etag or ""):  # it becomes the name of a file
            raise ModelError(f"{entry.title}: the Hub's listing of {entry.source} is damaged")
        wanted.append((position, sibling.rfilename, RemoteFile(sibling.rfilename, sibling.size or 0, etag or "")))
    return [file for *_, file in sorted(wanted, key=lambda item: item[:2])]


def _bytes_there(blobs: Path, file: RemoteFile) -> int:
    for path in (blobs / file.etag, blobs / f"{file.etag}.incomplete"):
        if path.exists():
            return min(path.stat().st_size, file.size)
    return 0


def _check_space(entry: Entry, needed_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise ModelError(
            f"{entry.title} needs {_in_words(needed_bytes)} more on the disk, and {_in_words(free_bytes)} are free"
        )


def _bring(url: str, file: RemoteFile, blobs: Path, locks: Path, progress: _Progress) -> None:
    """Downloads one file's content under its digest; `hf_hub_download` would begin anew after a cut."""
    blob, partial = blobs / file.etag, blobs / f"{file.etag}.incomplete"
    locks.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        _take(stack, locks / f"{file.etag}.lock", progress)
        if blob.exists():
            return
        partial.touch()
        failures = 0
        while (size := partial.stat().st_size) < file.size:
            problem: Exception = ConnectionError("the connection was closed early")
            try:
                _receive(url, partial, file.size, progress)
            except HTTPError as error:
                if isinstance(error, HfHubHTTPError) and error.response.status_code in range(400, 500):
                    raise
                problem = error
            failures = 0 if partial.stat().st_size > size else failures + 1
            if failures == TRIES:
                raise problem
            if partial.stat().st_size < file.size:
                progress.tell()
                time.sleep(PAUSE_SECONDS)
        if _digest(partial, file) != file.etag:
            partial.unlink()
            raise ModelError(f"{file.name} arrived damaged and was thrown away; try again")
        partial.replace(blob)


def _take(stack: ExitStack, lock: Path, progress: _Progress) -> None:
    """Waits for another process that downloads the same file; the lock is the one huggingface_hub takes."""
    while True:
        try:
            stack.enter_context(WeakFileLock(lock, timeout=1))
            return
        except TimeoutError:
            progress.tell()


def _receive(url: str, partial: Path, size: int, progress: _Progress) -> None:
    """Appends to `partial` what one connection brings, at most up to `size` bytes in all."""
    start = partial.stat().st_size
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response, partial.open("ab") as target:
        hf_raise_for_status(response)
        if start and response.status_code != 206:  # the whole file comes again
            target.truncate(0)
            target.seek(0)
            progress.done_bytes -= start
        for chunk in response.iter_bytes():
            rest = chunk[: size - target.tell()]
            target.write(rest)
            progress.done_bytes += len(rest)
            progress.tell()
            if len(rest) < len(chunk):
                return


def _digest(path: Path, file: RemoteFile) -> str:
    """What the file's name in the cache must be, computed from its content."""
    if len(file.etag) < sha256().digest_size * 2:
        return git_hash(path.read_bytes())
    with path.open("rb") as content:
        return sha_fileobj(content).hex()


# Sentences


@contextmanager
def _as_sentences(entry: Entry) -> Iterator[None]:
    """Every way in which a download fails, as a `ModelError`."""
    title, source = entry.title, entry.source
    try:
        yield
    except GatedRepoError as error:
        where = entry.page or f"{constants.ENDPOINT}/{source}"
        raise ModelError(f"{title} asks for its licence to be accepted at {where}, then `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"{title}: the Hub has no repository {source}, or keeps it private") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{title}: the Hub's repository {source} has no revision {entry.revision}") from error
    except HFValidationError as error:
        raise ModelError(f"{title}: {source!r} is no folder on this disk and no repository's name") from error
    except HfHubHTTPError as error:
        raise ModelError(f"{title}: the Hub answered {error.response.status_code}; try again later") from error
    except (HTTPError, ConnectionError) as error:
        raise ModelError(
            f"{title} is not on this disk as a whole, and the Hub cannot be reached; "
            "what was downloaded is kept, and the next attempt goes on from there"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(f"{title} could not be downloaded: the disk is full") from error
        raise ModelError(f"{title} could not be downloaded: {error.strerror or 'the Hub cannot be reached'}") from error


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
