"""What a UNet is told besides the noisy latents: the prompts, and SDXL's micro-conditioning."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pipelines.components.expert import Expert
from pipelines.components.unet.told import Rows, Share, Told
from pipelines.diffusion.guidance import GuidanceSettings, make_guidance
from pipelines.diffusion.schedulers import make_scheduler
from pipelines.prompts.drawing import final_texts
from pipelines.prompts.encoding import PromptEncoder, Side
from pipelines.prompts.limits import check_stages
from pipelines.prompts.reading import Reading
from pipelines.prompts.styles import Style
from pipelines.prompts.syntax import Prompt, parse
from pipelines.schema.requests import PROMPT_FIELDS, GenerationRequest

KEPT_STAGES = 4
"""Stages whose projections a run keeps; at SDXL's size 51 MB in float16 for each chunk of 77 tokens."""

Schedule = tuple[tuple[int, Reading], ...]
"""What a prompt says up to and with each of these steps, from 1."""
Pair = tuple[Side, Side]
"""What the prompts say, and the negative ones."""


@dataclass(frozen=True)
class Stage:
    """What the prompts say up to and with `last_step`, counted from 1: a negative and a positive row, in this order.

    `prompt_embeds`: (2, 77*k, width); `text_embeds`: (2, projection), pooled.
    """

    last_step: int
    prompt_embeds: torch.Tensor
    text_embeds: torch.Tensor


@dataclass(frozen=True)
class Conditioning:
    """What one run tells one expert's UNet.

    `time_ids`: (2, 6), or (2, 5) for the refiner, whose last number is the aesthetic score instead of the target size.
    """

    stages: tuple[Stage, ...]
    """One, unless a prompt changes on the way."""
    time_ids: torch.Tensor
    guidance: GuidanceSettings
    pictures: int = 1

    _told: OrderedDict[int, Told] = field(default_factory=OrderedDict, repr=False, compare=False)

    def share(self, guided: bool, step: int = 1) -> Share:
        """What the UNet is told at a step, from 1: two rows for each picture, or the positive ones alone."""
        stage = next((stage for stage in self.stages if step <= stage.last_step), self.stages[-1])
        key = id(stage.prompt_embeds)  # stages that say the same hold the same
        if key not in self._told:
            self._told[key] = Told(stage.prompt_embeds, stage.text_embeds, self.time_ids)
            if len(self._told) > KEPT_STAGES:
                self._told.popitem(last=False)
        self._told.move_to_end(key)
        counts = (self.pictures, self.pictures)
        return Share(self._told[key], 0, counts) if guided else Share(self._told[key], 1, counts[1:])

    def told(self, guided: bool = True, step: int = 1) -> dict[str, Any]:
        """What `share` says, in the words of diffusers' UNet."""
        return Rows([self.share(guided, step)]).arguments

    def forget(self) -> None:
        """Lets go of what was told, and with it of what the UNet has made of the prompts."""
        self._told.clear()

    def forget_made(self) -> None:
        """Lets go of what the UNet has made of the prompts; it is made again where it is wanted."""
        for told in self._told.values():
            told.forget()


def make_conditioning(
    expert: Expert, encoder: PromptEncoder, request: GenerationRequest, styles: Mapping[str, Style]
) -> Conditioning:
    """Encodes the request's prompts, with its styles around them, and its sizes for one expert.

    Raises `InvalidRequest`.
    """
    prompts = read_prompts(request, styles, encoder.inversions.rewrite)
    stages = make_stages(encoder, prompts, count_steps(prompts, request, lambda: expert.scheduler_config))
    time_ids = make_time_ids(expert, request).to(device=expert.device, dtype=stages[0].prompt_embeds.dtype)
    return Conditioning(stages, time_ids, make_guidance(request), request.num_images_per_prompt)


def read_prompts(
    request: GenerationRequest, styles: Mapping[str, Style], rewrite: Callable[[str], str]
) -> dict[str, Prompt]:
    """The request's prompts by their fields, with its styles around them, textual inversions rewritten."""
    texts = final_texts(request, styles)
    return {field: parse(rewrite(getattr(texts, field)), request.prompt_syntax) for field in PROMPT_FIELDS}


def count_steps(
    prompts: Mapping[str, Prompt], request: GenerationRequest, scheduler_config: Callable[[], dict[str, Any]]
) -> int:
    """The steps that schedules in prompts are counted in: UNet calls of the whole path, whatever strength leaves of it.

    As in A1111, where solvers of second order also count twice, and step 1 is the first that is really taken. One where
    no prompt changes.
    """
    if not any(prompt.is_scheduled for prompt in prompts.values()):
        return 1
    return len(make_scheduler(request, scheduler_config()).timesteps)


def plan_stages(prompts: Mapping[str, Prompt], steps: int) -> dict[int, Pair]:
    """What the prompts and the negative ones say, by the last step of each run of steps in which all stay the same."""
    schedules = {field: prompt.stages(steps) for field, prompt in prompts.items()}
    ends = sorted({end for schedule in schedules.values() for end, _ in schedule})
    return {end: (_side(schedules, "prompt", end), _side(schedules, "negative_prompt", end)) for end in ends}


def check_pairs(prompts: Mapping[str, Prompt], pairs: Iterable[Pair], check: Callable[[Sequence[Side]], int]) -> None:
    """Raises `InvalidRequest` where the stages would hold too much of the device or of its memory.

    `check`: gives the chunks of the longest side, as `PromptEncoder.check` does.
    """
    distinct = list(dict.fromkeys(pairs))
    chunks = max(check([pair[side] for pair in distinct]) for side in (0, 1))
    field = next((field for field, prompt in prompts.items() if prompt.is_scheduled), "prompt")
    check_stages(len(distinct), chunks, field, prompts[field].text)


def make_stages(encoder: PromptEncoder, prompts: Mapping[str, Prompt], steps: int) -> tuple[Stage, ...]:
    """The prompts by their fields, encoded for each run of steps in which all of them stay the same.

    Raises `InvalidRequest` where the stages would hold too much of the device or of its memory.
    """
    pairs = plan_stages(prompts, steps)
    distinct = dict.fromkeys(pairs.values())
    if len(distinct) > 1:  # a single one is checked unless it is found in the cache
        check_pairs(prompts, distinct, encoder.check)
    encoded = {pair: encoder.encode_pair(*pair) for pair in distinct}
    return tuple(Stage(end, *encoded[pair]) for end, pair in pairs.items())


def _side(schedules: Mapping[str, Schedule], field: str, step: int) -> Side:
    """What the prompt of `field`, and the one for the second encoder, say at a step.

    A second prompt that is silent now and speaks at another step is silent: only one that never speaks is the first.
    """
    first, second = (next(reading for end, reading in schedules[name] if step <= end) for name in (field, f"{field}_2"))
    is_silent = all(reading.is_empty for _, reading in schedules[f"{field}_2"])
    return Side(field, first, None if is_silent else second)


def make_time_ids(expert: Expert, request: GenerationRequest) -> torch.Tensor:
    """Micro-conditioning, (2, 6) or (2, 5), negative row first (SDXL, arXiv:2307.01952, section 2.2).

    `original_size` and `target_size` are (height, width) and follow the picture's size unless set. The negative
    ones follow the positive ones; but, as in diffusers, what a refiner moves away from is not cropped.
    """
    width, height = request.size
    original_size = request.original_size or (height, width)
    target_size = request.target_size or (height, width)
    crop = request.crops_coords_top_left
    negative_original_size = request.negative_original_size or original_size
    negative_target_size = request.negative_target_size or target_size
    negative_crop = request.negative_crops_coords_top_left
    if expert.requires_aesthetics_score:
        negative = [*negative_original_size, *(negative_crop or (0, 0)), request.negative_aesthetic_score]
        return torch.tensor([negative, [*original_size, *crop, request.aesthetic_score]])
    negative = [*negative_original_size, *(negative_crop or crop), *negative_target_size]
    return torch.tensor([negative, [*original_size, *crop, *target_size]])
