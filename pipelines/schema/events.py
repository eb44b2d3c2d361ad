"""What a job says while it lives: one stream, read alike by the interface, the API and the tests.

Queued* -> Loading* -> Step* -> Saving -> Done | Failed | Stopped

with `Noticed` wherever the engine healed itself, after which the job may load and step anew. A job of several draws
(the texts of its pictures differ) steps through one after the other, and may load between them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.schema.errors import PipelineError
from pipelines.schema.requests import GenerationRequest

Notice = Literal[
    "denoised_in_float32",
    "decoded_in_float32",
    "decoded_by_vae",
    "weights_reloaded",
    "vae_tiled",
    "text_encoders_off",
    "model_offload",
    "sequential_offload",
]
"""What the engine did so that a picture came about: another precision or decoder after NaN, less memory after a
shortage."""


@dataclass(frozen=True)
class Result:
    """What a job leaves: files, and everything needed to make them again."""

    files: tuple[Path, ...]
    """PNG files in the order of `seeds`, each with its request inside."""
    seeds: tuple[int, ...]
    request: GenerationRequest
    """As asked for, with the seed and size that were really used; wildcards stand in it as they were typed."""
    elapsed_seconds: float
    """From the moment the device took the job until its last file was written."""
    steps: dict[str, int]
    """Steps that each expert ran for a picture, for example `{"base": 16, "refiner": 4}`."""
    model: str
    notices: tuple[Notice, ...] = ()
    """What had to be done on the way, in its order."""
    drawn: tuple[GenerationRequest, ...] = ()
    """For each picture the request that draws it alone: its text, its seed, one picture."""


@dataclass(frozen=True)
class Queued:
    """The job waits; `position` jobs are before it."""

    position: int


@dataclass(frozen=True)
class Loading:
    """A model is being downloaded or read from disk; `fraction` of it is there, 0 to 1."""

    what: str
    fraction: float
    done_bytes: int | None = None
    """How far a download is, `None` when files are read from disk."""
    total_bytes: int | None = None


@dataclass(frozen=True)
class Noticed:
    """Something went wrong and is being mended; the job goes on, from its first step where that is needed."""

    notice: Notice


@dataclass(frozen=True)
class Step:
    """Step `index` of `total` is done (1-based), counted over all draws of the job."""

    index: int
    total: int
    expert: str
    """"base" or "refiner"."""
    steps_per_second: float
    seconds_left: float
    preview: bytes | None = None
    """A small JPEG of the picture at hand so far, now and then."""


@dataclass(frozen=True)
class Saving:
    """The last step is done: the latents are being decoded and written."""


@dataclass(frozen=True)
class Done:
    """The job has its result."""

    result: Result


@dataclass(frozen=True)
class Failed:
    """The job could not be finished; the error's text is a sentence for the visitor."""

    error: PipelineError
    result: Result | None = None
    """The pictures that were finished before, `None` without one."""


@dataclass(frozen=True)
class Stopped:
    """The job was cancelled."""

    result: Result | None = None
    """The pictures that were finished before, `None` without one."""


Event = Queued | Loading | Noticed | Step | Saving | Done | Failed | Stopped
FINAL_EVENTS = (Done, Failed, Stopped)
