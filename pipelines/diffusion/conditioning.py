"""What a UNet is told besides the noisy latents: the prompts, and SDXL's micro-conditioning."""

from dataclasses import dataclass

import torch

from pipelines.components.cache import ComponentCache
from pipelines.components.expert import Expert
from pipelines.components.loading import Report
from pipelines.prompts.cache import EmbeddingCache
from pipelines.prompts.encoding import PromptEncoder
from pipelines.schema.requests import GenerationRequest

AESTHETIC_SCORE = 6.0
NEGATIVE_AESTHETIC_SCORE = 2.5
"""The scores diffusers gives the refiner where nobody chose others."""


@dataclass(frozen=True)
class Conditioning:
    """Rows for one UNet call: the negative ones first with guidance, else the positive ones alone.

    `prompt_embeds`: (rows, 77*k, width); `text_embeds`: (rows, projection), pooled; `time_ids`: (rows, 6),
    or (rows, 5) for the refiner, whose last number is the aesthetic score instead of the target size.
    """

    prompt_embeds: torch.Tensor
    text_embeds: torch.Tensor
    time_ids: torch.Tensor
    guidance_scale: float

    @property
    def has_guidance(self) -> bool:
        """Whether each picture takes two rows (classifier-free guidance, arXiv:2207.12598)."""
        return self.guidance_scale > 1


class Conditioner:
    """Loads experts when they are first wanted and turns requests into their conditioning."""

    def __init__(self, components: ComponentCache) -> None:
        self.components = components
        self.embeddings = EmbeddingCache()
        self._encoders: dict[str, PromptEncoder] = {}

    def condition(self, request: GenerationRequest, name: str, report: Report) -> tuple[Expert, Conditioning]:
        """The expert called `name` and the request's conditioning for it; raises `PipelineError`."""
        expert = self.components.expert(name, report)
        if name not in self._encoders:
            self._encoders[name] = PromptEncoder(expert, self.embeddings)
        return expert, make_conditioning(expert, self._encoders[name], request)


def make_conditioning(expert: Expert, encoder: PromptEncoder, request: GenerationRequest) -> Conditioning:
    """Encodes the request's prompts and sizes for one expert, repeated for each of its pictures."""
    prompt_embeds, text_embeds = encoder.encode_pair(request.prompt, request.negative_prompt)
    time_ids = make_time_ids(expert, request).to(device=expert.device, dtype=prompt_embeds.dtype)
    if request.guidance_scale <= 1:
        prompt_embeds, text_embeds, time_ids = prompt_embeds[1:], text_embeds[1:], time_ids[1:]
    count = request.num_images_per_prompt
    return Conditioning(
        prompt_embeds=prompt_embeds.repeat_interleave(count, dim=0),
        text_embeds=text_embeds.repeat_interleave(count, dim=0),
        time_ids=time_ids.repeat_interleave(count, dim=0),
        guidance_scale=request.guidance_scale,
    )


def make_time_ids(expert: Expert, request: GenerationRequest) -> torch.Tensor:
    """Micro-conditioning, (2, 6) or (2, 5), negative row first (SDXL, arXiv:2307.01952, section 2.2).

    `original_size` and `target_size` are (height, width) and follow the picture's size unless set.
    """
    width, height = request.size
    original_size = request.original_size or (height, width)
    if not expert.requires_aesthetics_score:
        row = [*original_size, *request.crops_coords_top_left, *(request.target_size or (height, width))]
        return torch.tensor([row, row])
    negative = getattr(request, "negative_aesthetic_score", NEGATIVE_AESTHETIC_SCORE)
    positive = getattr(request, "aesthetic_score", AESTHETIC_SCORE)
    # as in diffusers, what the refiner moves away from is never cropped
    return torch.tensor([[*original_size, 0, 0, negative], [*original_size, *request.crops_coords_top_left, positive]])
