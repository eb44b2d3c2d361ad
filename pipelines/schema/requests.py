"""The four requests: frozen, closed, and the one source of limits and help texts.

Sliders, API documentation, presets and PNG metadata are all read from these models, so a limit or a
description is written once, here. Sizes follow the model where they are left out (`None`).
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipelines.schema.errors import VALUE_LENGTH, InvalidRequest
from pipelines.schema.rules import RULES, field_and_rule
from pipelines.schema.schedulers import SchedulerName, SigmasName, SpacingName, TimestepsName, check_sampling
from pipelines.schema.types import (
    MAX_LORAS,
    MAX_SEED,
    MAX_STYLES,
    AestheticScore,
    Loras,
    Name,
    NotBool,
    OptionalPair,
    Pair,
    Prompt,
    ResizeMode,
    Share,
    Side,
    Styles,
    Syntax,
    Weighting,
    Zero,
)

PROMPT_FIELDS = ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2")


class GenerationRequest(BaseModel):
    """What the four tasks share. Field names are diffusers' own."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: ClassVar[str]

    prompt: Prompt = Field(default="", description="What the picture shows.")
    negative_prompt: Prompt = Field(default="", description="What the picture should not show.")
    width: Side | None = Field(
        default=None,
        description="Width in pixels, a multiple of 8; empty: the model's own, or the nearest to the upload's shape.",
    )
    height: Side | None = Field(
        default=None,
        description="Height in pixels, a multiple of 8; empty: the model's own, or the nearest to the upload's shape.",
    )
    num_inference_steps: Annotated[int, Field(ge=1, le=150), NotBool] = Field(
        default=30, description="Denoising steps: more take longer and add detail up to a point."
    )
    guidance_scale: Annotated[float, Field(ge=1, le=30, allow_inf_nan=False), NotBool] = Field(
        default=5.0,
        description="How closely to follow the prompt; 1 ignores the negative prompt and takes half the time.",
    )
    scheduler: SchedulerName = Field(default="euler", description="The sampler that walks from noise to the picture.")
    timestep_spacing: SpacingName = Field(
        default="default", description="Where the steps lie among the trained timesteps; default: as the model says."
    )
    sigmas: SigmasName = Field(
        default="default", description="How noise falls from step to step; default: as the model was trained."
    )
    timesteps: TimestepsName = Field(
        default="default",
        description="The steps' places: even, or those of Align Your Steps (arXiv:2404.14507), good with 10 steps.",
    )
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED), NotBool] = Field(
        default=-1, description="The same seed and settings draw the same picture; -1 draws a new one each time."
    )
    num_images_per_prompt: Annotated[int, Field(ge=1, le=8), NotBool] = Field(
        default=1, description="Pictures to draw; picture k uses seed + k."
    )
    model: Name = Field(default="", description="Name of the checkpoint; empty: the one the studio started with.")
    refiner: Name = Field(default="", description="Name of the refiner; empty: the checkpoint's own.")
    vae: Name = Field(default="", description="Name of a VAE in place of the checkpoint's own.")
    loras: Loras = Field(
        default=(), description=f"Up to {MAX_LORAS} LoRAs, each with its name and a weight from -4 to 4."
    )
    prompt_2: Prompt = Field(default="", description="Another prompt for the second text encoder; empty: the same.")
    negative_prompt_2: Prompt = Field(
        default="", description="Another negative prompt for the second text encoder; empty: the same."
    )
    prompt_syntax: Syntax = Field(
        default="auto", description="Whose signs the prompts are written in: A1111's, compel's, or whichever is seen."
    )
    prompt_weighting: Weighting = Field(
        default="auto",
        description="How weighted words act: as in A1111, as in compel, or as in the syntax they are written in.",
    )
    styles: Styles = Field(
        default=(),
        description=f"Names of up to {MAX_STYLES} styles whose words are put around the prompts, the first innermost.",
    )
    all_combinations: bool = Field(
        default=False,
        description="Draw every combination of wildcards and {a|b}, at most 64 pictures, instead of one by chance.",
    )
    clip_skip: Annotated[int, Field(ge=0, le=10), NotBool] = Field(
        default=0,
        description="Layers of the text encoders that the prompt skips, beside the last that SDXL always skips.",
    )
    guidance_rescale: Zero = Field(
        default=0.0,
        description="Brings the contrast of strongly guided pictures back (arXiv:2305.08891); 0 is off, 0.7 usual.",
    )
    dynamic_thresholding_ratio: Annotated[float, Field(ge=0.5, le=1, allow_inf_nan=False), NotBool] = Field(
        default=1.0,
        description="Clamps the latents' extremes at this share of their values, for high guidance "
        "(Imagen, arXiv:2205.11487); 1 is off, 0.995 usual.",
    )
    guidance_start: Zero = Field(
        default=0.0, description="Share of the steps before guidance begins (arXiv:2404.07724)."
    )
    guidance_end: Zero = Field(
        default=1.0, description="Share of the steps after which guidance ends; steps without it take half the time."
    )
    deep_cache_interval: Annotated[int, Field(ge=1, le=10), NotBool] = Field(
        default=1,
        description="Computes the UNet's deep blocks only in every nth step (DeepCache, arXiv:2312.00858): "
        "faster, and less exact; 1 is off, 3 usual.",
    )
    draft: bool = Field(
        default=False,
        description="Decodes with a small autoencoder (TAESD, github.com/madebyollin/taesd): sooner done, and softer.",
    )
    original_size: OptionalPair = Field(
        default=None,
        description="Micro-conditioning: height, width the picture claims to come from; empty: its own size.",
    )
    crops_coords_top_left: Pair = Field(
        default=(0, 0), description="Micro-conditioning: top, left of the crop the picture claims to be; 0, 0 centres."
    )
    target_size: OptionalPair = Field(
        default=None, description="Micro-conditioning: height, width the picture is meant for; empty: its own size."
    )
    negative_original_size: OptionalPair = Field(
        default=None, description="original_size of what to move away from; empty: the same."
    )
    negative_crops_coords_top_left: OptionalPair = Field(
        default=None, description="crops_coords_top_left of what to move away from; empty: the same, 0, 0 when refined."
    )
    negative_target_size: OptionalPair = Field(
        default=None, description="target_size of what to move away from; empty: the same."
    )
    aesthetic_score: AestheticScore = Field(
        default=6.0, description="For the refiner: the score of a picture as it should become, 0 to 10."
    )
    negative_aesthetic_score: AestheticScore = Field(
        default=2.5, description="For the refiner: the score of a picture to avoid, 0 to 10."
    )
    offset_noise: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False), NotBool] = Field(
        default=0.0, description="Added to each channel of the first noise: pictures may become darker or brighter."
    )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels; raises `ValueError` before a size has been chosen or filled in."""
        if self.width is None or self.height is None:
            raise ValueError("this request leaves its size to the model")
        return self.width, self.height

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each picture: `seed`, `seed` + 1, ...; around the end to 0."""
        return tuple((self.seed + k) % (MAX_SEED + 1) for k in range(self.num_images_per_prompt))

    @model_validator(mode="after")
    def _check_size_is_whole(self) -> "GenerationRequest":
        if (self.width is None) != (self.height is None):
            missing, given = ("width", "height") if self.width is None else ("height", "width")
            raise PydanticCustomError(
                "half_a_size",
                "must be set when {given} is",
                {"given": given, "field": missing},
            )
        return self

    @model_validator(mode="after")
    def _check_guidance_ends_after_its_start(self) -> "GenerationRequest":
        if self.guidance_start >= self.guidance_end:
            raise PydanticCustomError(
                "guidance_never",
                "must be more than guidance_start ({start})",
                {"start": self.guidance_start, "field": "guidance_end"},
            )
        return self

    @model_validator(mode="after")
    def _check_scheduler_knows_its_options(self) -> "GenerationRequest":
        check_sampling(self.scheduler, self.timestep_spacing, self.sigmas, self.timesteps, self.num_inference_steps)
        return self

    @model_validator(mode="after")
    def _check_strength_leaves_a_step(self) -> "GenerationRequest":
        strength = getattr(self, "strength", 1.0)
        if int(self.num_inference_steps * strength) < 1:
            raise PydanticCustomError(
                "no_step_left",
                "must leave at least one step: strength times num_inference_steps ({steps}) must be 1 or more",
                {"steps": self.num_inference_steps, "field": "strength"},
            )
        return self


class EnsembleRequest(GenerationRequest):
    """A request that the refiner may finish as second expert."""

    denoising_end: Share = Field(
        default=1.0, description="Share of the schedule that the base draws; below 1 the refiner draws the rest."
    )


class TextToImageRequest(EnsembleRequest):
    """A picture from words alone, optionally finished by the refiner as second expert."""

    task: ClassVar[str] = "text_to_image"


class PictureRequest(GenerationRequest):
    """A request that starts from an uploaded picture."""

    image: Path = Field(description="The picture to start from: PNG, JPEG or WebP.")


class ImageToImageRequest(EnsembleRequest, PictureRequest):
    """A new picture in the shape of an old one."""

    task: ClassVar[str] = "image_to_image"

    strength: Share = Field(
        default=0.6, description="How far to move away from the picture: near 0 keeps it, 1 ignores it."
    )
    resize_mode: ResizeMode = Field(
        default="crop", description="How the picture is fitted to the size: crop, pad or stretch."
    )


class InpaintRequest(EnsembleRequest, PictureRequest):
    """A picture redrawn where the mask is white; the rest stays byte for byte."""

    task: ClassVar[str] = "inpaint"

    mask_image: Path = Field(description="The mask, as large as the picture: white is redrawn, black is kept.")
    strength: Share = Field(default=1.0, description="How far to move away from what is under the mask: 1 ignores it.")
    invert_mask: bool = Field(default=False, description="Redraw what is black in the mask instead.")
    mask_grow: Annotated[int, Field(ge=0, le=256), NotBool] = Field(
        default=0, description="Widen the mask by so many pixels."
    )
    mask_feather: Annotated[int, Field(ge=0, le=256), NotBool] = Field(
        default=4, description="Soften the mask's edge outward over so many pixels."
    )
    inpaint_area: Literal["whole", "masked"] = Field(
        default="whole", description="Draw the whole picture at the chosen size, or only the masked area at that size."
    )
    padding_mask_crop: Annotated[int, Field(ge=0, le=512), NotBool] = Field(
        default=32, description="Pixels around the masked area that the model sees, when only that area is drawn."
    )


class RefineRequest(PictureRequest):
    """A pass of the refiner over a finished picture."""

    task: ClassVar[str] = "refine"

    strength: Share = Field(
        default=0.3, description="How much the refiner may change: 0.2 polishes, above 0.5 redraws."
    )
    resize_mode: ResizeMode = Field(
        default="crop", description="How the picture is fitted to the size: crop, pad or stretch."
    )


REQUESTS: dict[str, type[GenerationRequest]] = {
    request.task: request for request in (TextToImageRequest, ImageToImageRequest, InpaintRequest, RefineRequest)
}
"""The request of each task, in the order of the tabs."""

RequestT = TypeVar("RequestT", bound=GenerationRequest)


def make_request(request_class: type[RequestT], values: dict[str, Any]) -> RequestT:
    """Validates `values` into a request; raises `InvalidRequest` naming the first field, rule and value."""
    for name in values:
        if name not in request_class.model_fields:  # pydantic would make an error of every one of them
            raise InvalidRequest(ascii(name)[1:-1][:VALUE_LENGTH], RULES["extra_forbidden"], values[name])
    try:
        return request_class.model_validate(values)
    except ValidationError as error:
        field, rule = field_and_rule(error)
        raise InvalidRequest(field, rule, values.get(field)) from error
