"""Image to image: the picture's latents are noised by `strength`, then denoised toward the prompt (SDEdit)."""

from typing import TypeVar

from PIL import Image

from pipelines.diffusion.latents import encode_pixels, make_generators, make_noise, make_pixels
from pipelines.diffusion.run import Run
from pipelines.diffusion.schedulers import add_noise
from pipelines.media.decode import load_picture
from pipelines.media.fit import fit_picture
from pipelines.schema.models import ModelEntry, Selection
from pipelines.schema.requests import ImageToImageRequest, RefineRequest
from pipelines.tasks.experts import check_experts, make_segments
from pipelines.tasks.task import Condition, Task, fill_size, keep_drawn

FromPictureT = TypeVar("FromPictureT", ImageToImageRequest, RefineRequest)


def admit(request: ImageToImageRequest, selection: Selection) -> tuple[ImageToImageRequest, Image.Image]:
    """Reads the upload; raises `InvalidRequest` for experts that cannot start from a picture."""
    check_experts(request, selection, "base")
    return read_upload(request, selection.model)


def read_upload(request: FromPictureT, model: ModelEntry) -> tuple[FromPictureT, Image.Image]:
    """Decodes the upload and fits it to the size asked for, or to the bucket of its own aspect."""
    picture = load_picture(request.image, "image")
    request = fill_size(request, model, picture.size)
    return request, fit_picture(picture, *request.size, request.resize_mode)


def prepare(request: FromPictureT, picture: Image.Image, condition: Condition, expert_name: str = "base") -> Run:
    """Starts from the upload, noised to where `strength` enters the schedule (arXiv:2108.01073)."""
    segments = make_segments(request, condition, expert_name)
    first = segments[0]

    # first the picture's latents, then noise: the order in which diffusers draws from the generators
    generators = make_generators(request.seeds)
    latents = encode_pixels(first.expert, make_pixels(picture), generators)
    noise = make_noise(generators, request.size, first.expert, request.offset_noise)
    noised = add_noise(first.scheduler, latents, noise, first.timesteps[:1].repeat(len(generators)))
    return Run(segments, noised, generators)


TASK = Task(ImageToImageRequest, admit, prepare, keep_drawn)
