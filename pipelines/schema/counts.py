"""What is known of a prompt before anything is drawn: its length, and what in it cannot be found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Hint:
    """Something in a prompt that may not mean what it looks like; `code` is a key of the interface's words."""

    code: str
    value: str = ""


@dataclass(frozen=True)
class WildcardCount:
    """A wildcard of a prompt; `options` is 0 for one that no file holds."""

    name: str
    options: int


@dataclass(frozen=True)
class EncoderCount:
    """What one text encoder gets to read."""

    tokens: int
    """Without each chunk's start, end and padding."""
    ends: tuple[str, ...]
    """The last words of each chunk, in order; there are as many chunks."""


@dataclass(frozen=True)
class PromptCount:
    """One prompt, counted."""

    dialect: str
    encoders: tuple[EncoderCount, ...]
    """In the order of the model's text encoders."""
    drawn: str
    """The text that was counted: wildcards drawn, styles put around it."""
    loras: tuple[str, ...] = ()
    """Named by tags in the text, and there."""
    unknown: tuple[str, ...] = ()
    """Named by tags in the text, or by `embedding:`, and not there."""
    wildcards: tuple[WildcardCount, ...] = ()
    combinations: int = 1
    """Different texts that wildcards and variants can become."""
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True)
class Known:
    """Names that prompts may use."""

    finds_lora: Callable[[str], bool] = lambda name: False
    """Whether a tag of that name means a LoRA."""
    embeddings: Mapping[str, int] = field(default_factory=dict)
    """With how many vectors each textual inversion has."""
