"""A request as the text that A1111's web UI writes under a picture, which galleries and model sites read too."""

from collections.abc import Mapping
from typing import Any, Protocol

from pipelines.media.readers.a1111 import make_tag
from pipelines.media.readers.infotext import quote
from pipelines.media.readers.words import NOT_MASKED, ONLY_MASKED, OWN, SPACINGS, own_words
from pipelines.schema.requests import PROMPT_FIELDS, GenerationRequest
from pipelines.schema.schedulers import SCHEDULE_TITLES, SCHEDULER_TITLES

VERSION = "0.1.0"
"""The studio's version, as in pyproject.toml."""
TEMPLATES = {"prompt": "Template", "negative_prompt": "Negative Template"}
"""Where others write what a prompt was drawn from."""


class Texts(Protocol):
    """The prompts as they were drawn, with the words of the styles around them; a request is one too."""

    @property
    def prompt(self) -> str:
        """What the picture shows."""
        ...

    @property
    def negative_prompt(self) -> str:
        """What it should not show."""
        ...

    @property
    def prompt_2(self) -> str:
        """For the second text encoder; empty: the same."""
        ...

    @property
    def negative_prompt_2(self) -> str:
        """For the second text encoder; empty: the same."""
        ...


def make_infotext(
    request: GenerationRequest,
    *,
    seed: int,
    model: str,
    texts: Texts | None = None,
    template: Mapping[str, str] | None = None,
) -> str:
    """The request in A1111's words: prompt with the LoRAs' tags, negative prompt, and one line of settings.

    `texts` and `template` as for `make_text_chunks`. What is left at its default is mostly left out.
    """
    drawn = texts or request
    settings = {
        "Steps": request.num_inference_steps,
        "Sampler": SCHEDULER_TITLES[request.scheduler],
        "Schedule type": _name_schedule(request),
        "CFG scale": request.guidance_scale,
        "Seed": seed,
        "Size": f"{request.width}x{request.height}" if request.width is not None else "",
        "Model": model,
        **_choices_in_words(request),
        **_own_choices(request, drawn),
        **{word: (template or {}).get(field, "") for field, word in TEMPLATES.items()},
        "Version": f"{OWN} {VERSION}",
    }
    tags = [make_tag(lora.name, _write(lora.weight)) for lora in request.loras]
    lines = [" ".join(part for part in (drawn.prompt, *tags) if part)]
    if drawn.negative_prompt:
        lines.append(f"Negative prompt: {drawn.negative_prompt}")
    lines.append(", ".join(f"{key}: {quote(_write(value))}" for key, value in settings.items() if value != ""))
    return "\n".join(lines).replace("\0", "").strip()  # a zero byte would end the chunk for other readers


def _name_schedule(request: GenerationRequest) -> str:
    if request.timesteps != "default" or request.sigmas != "default":
        return SCHEDULE_TITLES.get(request.timesteps) or SCHEDULE_TITLES[request.sigmas]
    return SPACINGS.get(request.timestep_spacing, "")


def _choices_in_words(request: GenerationRequest) -> dict[str, Any]:
    """What A1111 has a word for beside the usual, empty where it is left at its default."""
    share = getattr(request, "denoising_end", 1.0)
    return {
        "VAE": request.vae,
        "Denoising strength": getattr(request, "strength", ""),
        "Clip skip": request.clip_skip + 2 if request.clip_skip else "",  # SDXL always skips one; A1111 counts from 1
        "CFG Rescale": request.guidance_rescale or "",
        "Skip Early CFG": request.guidance_start or "",
        "Refiner": request.refiner or ("own" if share < 1 else ""),
        "Refiner switch at": share if share < 1 else "",
        "Mask mode": NOT_MASKED if getattr(request, "invert_mask", False) else "",
        "Inpaint area": ONLY_MASKED if getattr(request, "inpaint_area", "whole") == "masked" else "",
        "Masked area padding": getattr(request, "padding_mask_crop", ""),
        "Styles": ", ".join(request.styles),
        "Loras": ", ".join(f"{lora.name}: {_write(lora.weight)}" for lora in request.loras),
    }


def _own_choices(request: GenerationRequest, drawn: Texts) -> dict[str, Any]:
    """The other fields that are not at their defaults, and a task that strength does not tell; A1111 ignores them."""
    has_other_sigmas = request.sigmas != "default" and request.timestep_spacing != "default"
    choices = {
        "Task": request.task if request.task in ("inpaint", "refine") else "",
        "Timestep spacing": request.timestep_spacing if has_other_sigmas else "",
    }
    fields = type(request).model_fields
    for word, field in own_words().items():
        if field in fields:
            value = getattr(drawn if field in PROMPT_FIELDS else request, field)
            choices[word] = value if value != fields[field].default else ""
    return choices


def _write(value: Any) -> str:
    """A number without a needless ".0", a pair as "512, 640"."""
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
