"""What is done when memory or precision does not suffice, so that a picture comes about all the same.

Memory: a fixed ladder of rungs, each of which puts more aside, then the job again from its seed. Numbers that
overflowed: the stage again in float32. Weights that were damaged in memory are read anew. When the job has left,
everything is as it was before.
"""

import weakref
from dataclasses import dataclass, field

import torch

from pipelines.components.cache import ComponentCache
from pipelines.line import Turn
from pipelines.schema.errors import MemoryShort, NumericalError
from pipelines.schema.events import Notice


@dataclass
class Healing:
    """What was done for one job."""

    notices: list[Notice] = field(default_factory=list)
    dtype: torch.dtype | None = None
    """The precision of its denoising, where it is not the studio's."""
    decoding_dtype: torch.dtype | None = None
    """The precision of its VAE, where it is not the VAE's own."""
    has_climbed: bool = False


class Healer:
    """Decides what to try next. Used by the device's thread alone."""

    def __init__(self, components: ComponentCache) -> None:
        self.components = components
        self._healings: weakref.WeakKeyDictionary[Turn, Healing] = weakref.WeakKeyDictionary()

    def dtype(self, turn: Turn) -> torch.dtype | None:
        """The precision that the job has to be drawn in, where it is not the studio's."""
        return self._of(turn).dtype

    def decoding_dtype(self, turn: Turn) -> torch.dtype | None:
        """The precision that its pictures have to be decoded in, where it is not the VAE's own."""
        return self._of(turn).decoding_dtype

    def notices(self, turn: Turn) -> tuple[Notice, ...]:
        """What was done for the job so far."""
        return tuple(self._of(turn).notices)

    def heal(self, turn: Turn, failure: Exception, decoded_in: torch.dtype | None) -> Notice:
        """Changes what has to be changed before the job is tried again; raises a `RunError` when nothing is left.

        `decoded_in` is the VAE's own precision, where a decode has failed.
        """
        healing = self._of(turn)
        if isinstance(failure, NumericalError):
            notice = self._mend_numbers(healing, failure, decoded_in)
        else:
            notice = self._climb(healing)
        healing.notices.append(notice)
        return notice

    def forget(self, turn: Turn) -> None:
        """The job has left: undoes what was done for it, unless another job needs it too."""
        healing = self._healings.pop(turn, None)
        if healing is None:
            return
        self.relax()
        if healing.dtype or healing.decoding_dtype:
            self.components.trim()

    def relax(self) -> None:
        """Takes back what the ladder put aside, once no job on the device needs it. To be tried before each job: what
        did not fit when the last one left may fit by now."""
        if self.components.memory.rungs and not any(healing.has_climbed for healing in self._healings.values()):
            self.components.memory.relax()

    def _of(self, turn: Turn) -> Healing:
        return self._healings.setdefault(turn, Healing())

    def _climb(self, healing: Healing) -> Notice:
        self.components.adapters.clear()  # those that no job uses any more go; the others are read again
        notice = self.components.memory.climb()
        healing.has_climbed = True
        if notice is None:
            raise MemoryShort("the device's memory does not suffice for this; try a smaller size or fewer pictures")
        return notice

    def _mend_numbers(self, healing: Healing, failure: NumericalError, decoded_in: torch.dtype | None) -> Notice:
        if "weights_reloaded" not in healing.notices and self.components.drop_damaged():
            return "weights_reloaded"
        if failure.stage == "pixels" and torch.float32 not in (decoded_in, healing.decoding_dtype):
            healing.decoding_dtype = torch.float32
            return "decoded_in_float32"
        if failure.stage == "latents" and (healing.dtype or self.components.dtype) != torch.float32:
            healing.dtype = torch.float32
            return "denoised_in_float32"
        raise failure


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the machine ran out of memory; a CPU allocator says so in words alone."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
