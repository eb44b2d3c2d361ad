"""What the manager says of itself: the model, where it runs, what is loaded and who waits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadedComponent:
    """One part of a model that is in memory, counted once however many tasks and checkpoints use it."""

    name: str
    """Its name in a diffusers folder, for example "text_encoder_2"; "lora" for an adapter."""
    source: str
    """The title of the entry that brought it."""
    component_bytes: int
    device: str
    """Where its weights are now, for example "cuda:0" or "cpu"."""
    dtype: str
    """The precision its weights are kept in, for example "float16"."""


@dataclass(frozen=True)
class Status:
    """A snapshot; nothing in it names a visitor or a prompt."""

    model: str
    """The title of the checkpoint drawn with last, at first that of the studio's own."""
    device: str
    device_name: str
    dtype: str
    memory: str
    """The memory mode in force: "full", "model", "group" or "sequential"."""
    components: tuple[LoadedComponent, ...]
    queued: int
    running: int
