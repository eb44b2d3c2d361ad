"""What the manager says of itself: the model, where it runs, what is loaded and who waits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadedComponent:
    """One part of a model that is in memory, counted once however many tasks use it."""

    name: str
    expert: str
    """"base" or "refiner", whichever loaded it."""
    component_bytes: int


@dataclass(frozen=True)
class Status:
    """A snapshot; nothing in it names a visitor or a prompt."""

    model: str
    device: str
    device_name: str
    dtype: str
    components: tuple[LoadedComponent, ...]
    queued: int
    running: int
