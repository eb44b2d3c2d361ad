"""Inpaint: redraw what is under the mask, with the rest of the picture held in place.

A UNet of 4 channels has the kept area put back after every step; one of 9 was trained to see mask and
masked picture beside the latents, and keeps the rest by itself.
"""

from dataclasses import dataclass, replace

import torch
from PIL import Image

from pipelines.components.expert import Expert
from pipelines.diffusion.latents import (
    encode_pixels,
    make_generators,
    make_mask_pixels,
    make_noise,
    make_pixels,
    shrink_mask,
)
from pipelines.diffusion.run import KeptArea, Run, Segment
from pipelines.diffusion.schedulers import add_noise, noise_levels
from pipelines.media.decode import load_mask, load_picture
from pipelines.media.mask import make_mask
from pipelines.media.region import InpaintRegion, make_region
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import Selection
from pipelines.schema.requests import InpaintRequest
from pipelines.tasks.experts import check_experts, make_segments
from pipelines.tasks.task import Condition, Task, fill_size

INPAINTING_CHANNELS = 9
"""Channels that an inpainting UNet takes: 4 of latents, 1 of mask, 4 of the masked picture."""


@dataclass(frozen=True)
class InpaintInputs:
    """The upload with its mask, and what is cut out of both at the size that is drawn."""

    upload: Image.Image
    upload_mask: Image.Image
    region: InpaintRegion
    picture: Image.Image
    mask: Image.Image


def admit(request: InpaintRequest, selection: Selection) -> tuple[InpaintRequest, InpaintInputs]:
    """Decodes picture and mask, and cuts out the area that will be drawn."""
    check_experts(request, selection, "base", "inpainting")
    picture = load_picture(request.image, "image")
    painted = load_mask(request.mask_image, "mask_image", picture.size)
    mask = make_mask(painted, request.invert_mask, request.mask_grow, request.mask_feather)
    request = fill_size(request, selection.model, picture.size)
    region = make_region(picture.size, mask, *request.size, request.inpaint_area, request.padding_mask_crop)
    return request, InpaintInputs(picture, mask, region, region.crop(picture), region.crop_mask(mask))


def prepare(request: InpaintRequest, inputs: InpaintInputs, condition: Condition) -> Run:
    """Starts from noise at strength 1, else from the noised picture; keeps what the mask does not cover."""
    # 1. components, prompts and timesteps
    segments = make_segments(request, condition)
    first, base = segments[0], segments[0].expert

    # 2. picture and mask
    pixels, covered = make_pixels(inputs.picture), make_mask_pixels(inputs.mask)
    mask = shrink_mask(covered, base)
    if not mask.any():
        rule = "must cover more: at the size that is drawn nothing is left of it; grow it, or draw the masked area only"
        raise InvalidRequest("mask_image", rule, request.mask_image.name)
    sees_mask = base.unet.config["in_channels"] == INPAINTING_CHANNELS

    # 3. latents: the picture's, then noise, the order in which diffusers draws from the generators
    generators = make_generators(request.seeds)
    picture = None
    if request.strength < 1 or not sees_mask:
        picture = encode_pixels(base, pixels, generators).contiguous()  # else the UNet runs in another layout
    noise = make_noise(generators, request.size, base, request.offset_noise)
    latents = _first_latents(first, picture if request.strength < 1 else None, noise)

    # 4. what stays
    if sees_mask:
        extra_channels = _show_mask(base, pixels, covered, mask, generators)
        return Run([replace(first, extra_channels=extra_channels), *segments[1:]], latents, generators)
    # diffusers samples the masked picture's latents here for any UNet; drawing as many numbers keeps the
    # generators, and so schedulers that add noise, equal to its own.
    make_noise(generators, request.size, base)
    if picture is None:
        return Run(segments, latents, generators)
    levels = noise_levels(first.scheduler, first.timesteps, picture.dtype)
    return Run(segments, latents, generators, KeptArea(picture, noise, mask, levels))


def finish(inputs: InpaintInputs, picture: Image.Image) -> Image.Image:
    """The drawn area pasted into the upload; pixels outside the feathered mask keep their bytes."""
    return inputs.region.paste(inputs.upload, picture, inputs.upload_mask)


def _first_latents(segment: Segment, picture: torch.Tensor | None, noise: torch.Tensor) -> torch.Tensor:
    """`noise` alone, or the picture's latents noised to where the segment begins."""
    if picture is None:
        return noise * segment.scheduler.init_noise_sigma
    return add_noise(segment.scheduler, picture, noise, segment.timesteps[:1].repeat(len(noise)))


def _show_mask(
    base: Expert, pixels: torch.Tensor, covered: torch.Tensor, mask: torch.Tensor, generators: list[torch.Generator]
) -> torch.Tensor:
    """Mask and latents of the picture with its covered part greyed out: (pictures, 5, h/8, w/8)."""
    masked = encode_pixels(base, pixels * (covered < 0.5), generators)
    return torch.cat([mask.repeat(len(generators), 1, 1, 1), masked], dim=1)


TASK = Task(InpaintRequest, admit, prepare, finish)
