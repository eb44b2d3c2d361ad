"""The tree of everything that can go wrong on purpose.

    PipelineError
    ├── InvalidRequest      a field breaks a rule                    (the visitor can mend it)
    │   └── PictureError    an upload is no picture we accept
    ├── QueueFull           too many jobs wait                       (try again later)
    ├── ModelError          a model is missing, cut short or foreign (the host can mend it)
    ├── RunError            the device failed while drawing
    │   ├── NumericalError  NaN or infinity instead of a picture
    │   └── MemoryShort     the device's memory does not suffice, in whatever mode
    └── Cancelled           somebody pressed Stop

Every message is one sentence fit for a person; `InvalidRequest` also carries its three parts.
"""

from typing import Any, Literal

VALUE_LENGTH = 80


class PipelineError(Exception):
    """Base of every error the studio raises on purpose; `str()` is a sentence for the visitor."""


class InvalidRequest(PipelineError):
    """A request's field breaks a rule: `str()` reads "width must be a multiple of 8, got 1020"."""

    def __init__(self, field: str, rule: str, value: Any) -> None:
        self.field = field
        self.rule = rule
        self.value = value
        super().__init__(f"{field} {rule}, got {shorten(value)}")


class PictureError(InvalidRequest):
    """An uploaded file is not a picture the studio accepts."""


class QueueFull(PipelineError):
    """The queue holds as many jobs as the host allows."""


class ModelError(PipelineError):
    """A model's files are missing, incomplete or of another kind."""


class RunError(PipelineError):
    """The device failed while a picture was drawn."""


class NumericalError(RunError):
    """A stage produced NaN or infinity instead of a picture."""

    def __init__(self, message: str, stage: Literal["latents", "pixels"]) -> None:
        self.stage = stage
        super().__init__(message)


class MemoryShort(RunError):
    """The device's memory ran out, and nothing was left to put aside."""


class Cancelled(PipelineError):
    """The job was stopped before it had a result."""


class Plain(str):
    """A value that stands in a sentence without quotes: "got 512x512"."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shorten(value: Any) -> str:
    """`repr(value)`, cut so that a sentence stays a sentence whatever was sent."""
    if isinstance(value, str) and len(value) > VALUE_LENGTH:
        return f"{value[: VALUE_LENGTH // 2]!r}… ({len(value)} characters)"
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits refuses to be printed
        return "a number too long to print"
    return text if len(text) <= VALUE_LENGTH else text[:VALUE_LENGTH] + "…"
