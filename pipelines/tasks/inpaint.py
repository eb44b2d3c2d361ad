"""Inpaint: redraw what is under the mask, with the rest of the picture held in place at every step."""

from dataclasses import dataclass

from PIL import Image

from pipelines.diffusion.latents import encode_picture, make_generators, make_noise, shrink_mask
from pipelines.diffusion.run import KeptArea, Run, Segment
from pipelines.diffusion.schedulers import begin_with_strength, make_scheduler
from pipelines.media.decode import load_mask, load_picture
from pipelines.media.mask import make_mask
from pipelines.media.region import InpaintRegion, make_region
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import InpaintRequest
from pipelines.tasks.task import Condition, Task, fill_size


@dataclass(frozen=True)
class InpaintInputs:
    """The upload with its mask, and what is cut out of both at the size that is drawn."""

    upload: Image.Image
    upload_mask: Image.Image
    region: InpaintRegion
    picture: Image.Image
    mask: Image.Image


def admit(request: InpaintRequest, model: ModelEntry) -> tuple[InpaintRequest, InpaintInputs]:
    """Decodes picture and mask, and cuts out the area that will be drawn."""
    picture = load_picture(request.image, "image")
    painted = load_mask(request.mask_image, "mask_image", picture.size)
    mask = make_mask(painted, request.invert_mask, request.mask_grow, request.mask_feather)
    request = fill_size(request, model, picture.size)
    region = make_region(picture.size, mask, *request.size, request.inpaint_area, request.padding_mask_crop)
    return request, InpaintInputs(picture, mask, region, region.crop(picture), region.crop_mask(mask))


def prepare(request: InpaintRequest, inputs: InpaintInputs, condition: Condition) -> Run:
    """Starts from noise at strength 1, else from the noised picture; keeps what the mask does not cover."""
    # 1. components and prompts
    base, conditioning = condition("base")

    # 2. timesteps
    scheduler = make_scheduler(request.scheduler, base.scheduler_config, request.num_inference_steps, base.device)
    timesteps = begin_with_strength(scheduler, request.strength)

    # 3. latents: first the picture's, then noise, the order in which diffusers draws from the generators
    generators = make_generators(request.seeds)
    picture = encode_picture(base, inputs.picture, generators).contiguous()  # else the UNet runs in another layout
    noise = make_noise(generators, request.size, base)
    if request.strength == 1:
        latents = noise * scheduler.init_noise_sigma
    else:
        latents = scheduler.add_noise(picture, noise, timesteps[:1].repeat(len(generators)))

    # diffusers samples the masked picture's latents here, which only a 9-channel UNet reads; drawing as many
    # numbers keeps the generators, and so schedulers that add noise, equal to its own.
    make_noise(generators, request.size, base)

    # 4. what stays
    mask = shrink_mask(inputs.mask, base)
    if not mask.any():
        rule = "must cover more: at the size that is drawn nothing is left of it; grow it, or draw the masked area only"
        raise InvalidRequest("mask_image", rule, request.mask_image.name)
    kept = KeptArea(picture, noise, mask)
    return Run([Segment(base, scheduler, timesteps, conditioning)], latents, generators, kept)


def finish(inputs: InpaintInputs, picture: Image.Image) -> Image.Image:
    """The drawn area pasted into the upload; pixels outside the feathered mask keep their bytes."""
    return inputs.region.paste(inputs.upload, picture, inputs.upload_mask)


TASK = Task(InpaintRequest, admit, prepare, finish)
