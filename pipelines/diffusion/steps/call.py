"""What a run asks of its UNet for one step, and how several runs are answered by one call."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch

from pipelines.components.unet.model import KeepingUNet
from pipelines.components.unet.told import Rows, Share, Told
from pipelines.diffusion.steps.lanes import Lanes, Tensors


@dataclass
class DeepCache:
    """One run's deep features, computed in every `interval`-th step alone (DeepCache, arXiv:2312.00858)."""

    interval: int
    features: torch.Tensor | None = field(default=None, repr=False)
    """(rows, channels, h/8, w/8): what came into the UNet's last block when they were computed."""
    told: Told | None = field(default=None, repr=False)
    """What the UNet was told then."""

    def serves(self, position: int, share: Share) -> bool:
        """Whether a step, from 0, does with the features of an earlier one: not where the prompt says something new."""
        is_there = self.features is not None and len(share) <= len(self.features) and share.told is self.told
        return is_there and position % self.interval != 0

    def note(self, features: torch.Tensor, share: Share) -> None:
        """Takes in what was computed."""
        self.features, self.told = features, share.told

    def forget(self) -> None:
        """Lets go of it."""
        self.features = self.told = None


@dataclass(frozen=True)
class Call:
    """One run's question for one step.

    `sample`: (rows, channels, h/8, w/8), scaled for the UNet; with guidance the negative rows before the positive ones.
    `timestep`: a scalar, where the UNet computes.
    """

    unet: KeepingUNet
    sample: torch.Tensor
    timestep: torch.Tensor
    share: Share
    deep_cache: DeepCache | None = None
    is_shallow: bool = False
    """Whether the step takes its deep features from the cache."""

    @property
    def kind(self) -> Hashable:
        """What calls must have in common to be one: UNet, size, precision, depth, and the length of their prompts."""
        length = self.share.told.prompt_embeds.shape[1]
        return self.unet.identity, self.sample.shape[1:], self.sample.dtype, length, self.is_shallow


def predict(calls: Sequence[Call], lanes: Lanes | None = None, keeps: bool = True) -> list[torch.Tensor]:
    """The UNet's prediction for each call of one kind, as (rows, 4, h/8, w/8).

    A single call without lanes is the very call that diffusers makes. `keeps`: whether projections stay for the next.
    """
    unet, first = calls[0].unet, calls[0]
    counts = [len(call.sample) for call in calls]
    rows = Rows([call.share for call in calls], keeps)
    gives_deep = not first.is_shallow and any(call.deep_cache for call in calls)
    sample, timestep, deep = first.sample, first.timestep, _deep_features(calls) if first.is_shallow else None
    if len(calls) > 1:
        sample = torch.cat([call.sample for call in calls])
        timestep = torch.cat([call.timestep.float().expand(len(call.sample)) for call in calls])

    def part(start: int, end: int) -> Tensors:
        times = timestep[start:end] if timestep.ndim else timestep
        below = None if deep is None else deep[start:end]
        answer = unet(sample[start:end], times, rows=rows.cut(start, end), deep=below, gives_deep=gives_deep)
        return answer if gives_deep else (answer,)

    prediction, *features = part(0, len(sample)) if lanes is None else lanes.run(part, len(sample), first.kind)
    for of_call, call in zip(features[0].split(counts) if features else (), calls, strict=False):
        if call.deep_cache is not None:
            call.deep_cache.note(of_call if len(calls) == 1 else of_call.clone(), call.share)
    return list(prediction.split(counts)) if len(calls) > 1 else [prediction]


def _deep_features(calls: Sequence[Call]) -> torch.Tensor:
    """What the cache holds of each call's rows, one after the other."""
    parts = [call.deep_cache.features[-len(call.sample) :] for call in calls]  # type: ignore[union-attr, index]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
