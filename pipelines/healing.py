"""What is done when memory or precision does not suffice, so that a picture comes about all the same.

Memory: a fixed ladder of rungs, each of which puts more aside, then the draw at hand again from its seed. Numbers that
overflowed: the stage again in float32; a draft's decoding first by the model's own VAE. Weights that were damaged in
memory are read anew. What was done holds for the job's other draws too; when it has left, everything is as before.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from pipelines.components.cache import ComponentCache
from pipelines.components.expert import Expert
from pipelines.components.tiny import TinyDecoders
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
    leaves_draft: bool = False
    """Whether the VAE decodes it although it is a draft."""
    has_climbed: bool = False


class Healer:
    """Decides what to try next. Used by the device's thread alone."""

    def __init__(self, components: ComponentCache, decoders: TinyDecoders) -> None:
        self.components = components
        self.decoders = decoders
        self._healings: weakref.WeakKeyDictionary[Turn, Healing] = weakref.WeakKeyDictionary()

    def dtype(self, turn: Turn) -> torch.dtype | None:
        """The precision that the job has to be drawn in, where it is not the studio's."""
        return self._of(turn).dtype

    def decoding_dtype(self, turn: Turn) -> torch.dtype | None:
        """The precision that its pictures have to be decoded in, where it is not the VAE's own."""
        return self._of(turn).decoding_dtype

    def leaves_draft(self, turn: Turn) -> bool:
        """Whether its pictures have to be decoded by the model's own VAE although it is a draft."""
        return self._of(turn).leaves_draft

    def notices(self, turn: Turn) -> tuple[Notice, ...]:
        """What was done for the job so far."""
        return tuple(self._of(turn).notices)

    def heal(self, turn: Turn, failure: Exception, experts: Sequence[Expert], *, is_drawn: bool) -> Notice:
        """Changes what has to be changed before the job is tried again; raises a `RunError` when nothing is left.

        `experts` were drawing; `is_drawn` when a decode has failed.
        """
        healing = self._of(turn)
        if isinstance(failure, NumericalError):
            is_draft = turn.selection.tiny is not None and not healing.leaves_draft
            if failure.stage == "pixels" and is_draft:
                notice = self._leave_draft(healing)
            else:
                notice = self._mend_numbers(healing, failure, experts, is_drawn)
        else:
            healing.has_climbed = True
            notice = self.climb()
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

    def note_tiles(self, turn: Turn) -> None:
        """A picture was decoded: says so where that happened in tiles for the sake of another job."""
        notices = self._of(turn).notices
        if "vae_tiled" in self.components.memory.rungs and "vae_tiled" not in notices:
            notices.append("vae_tiled")

    def note_reload(self, turn: Turn) -> None:
        """The job's weights were dropped for the sake of another job, and it is drawn anew."""
        self._of(turn).notices.append("weights_reloaded")

    def relax(self) -> None:
        """Takes back what the ladder put aside, once no job on the device needs it. To be tried before each job: what
        did not fit when the last one left may fit by now."""
        if self.components.memory.rungs and not any(healing.has_climbed for healing in self._healings.values()):
            self.components.memory.relax()

    def _of(self, turn: Turn) -> Healing:
        return self._healings.setdefault(turn, Healing())

    def climb(self) -> Notice:
        """Takes the next rung of the ladder; raises `MemoryShort` when there is none."""
        self.components.adapters.clear()  # those that no job uses any more go; the others are read again
        notice = self.components.memory.climb()
        if notice is None:
            raise MemoryShort("the device's memory does not suffice for this; try a smaller size or fewer pictures")
        return notice

    def _leave_draft(self, healing: Healing) -> Notice:
        self.decoders.drop_damaged()
        healing.leaves_draft = True
        return "decoded_by_vae"

    def _mend_numbers(
        self, healing: Healing, failure: NumericalError, experts: Sequence[Expert], is_drawn: bool
    ) -> Notice:
        if "weights_reloaded" not in healing.notices:
            were_dropped = not all(map(self.components.holds, experts))  # another job has found the damage first
            if self.components.drop_damaged() or were_dropped:
                return "weights_reloaded"
        decoded_in = experts[-1].vae_dtype if is_drawn else None
        if failure.stage == "pixels" and torch.float32 not in (decoded_in, healing.decoding_dtype):
            healing.decoding_dtype = torch.float32
            return "decoded_in_float32"
        if failure.stage == "latents" and (healing.dtype or self.components.dtype) != torch.float32:
            healing.dtype = torch.float32
            return "denoised_in_float32"
        raise failure
