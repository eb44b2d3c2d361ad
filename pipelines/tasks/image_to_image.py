"""Image to image: the picture's latents are noised by `strength`, then denoised toward the prompt (SDEdit)."""

from typing import TypeVar

from PIL import Image

from pipelines.diffusion.latents import encode_picture, make_generators, make_noise
from pipelines.diffusion.run import Run, Segment
from pipelines.diffusion.schedulers import begin_with_strength, make_scheduler
from pipelines.media.decode import load_picture
from pipelines.media.fit import fit_picture
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import ImageToImageRequest, RefineRequest
from pipelines.tasks.task import Condition, Task, fill_size, keep_drawn

FromPictureT = TypeVar("FromPictureT", ImageToImageRequest, RefineRequest)


def admit(request: FromPictureT, model: ModelEntry) -> tuple[FromPictureT, Image.Image]:
    """Decodes the upload and fits it to the size asked for, or to the bucket of its own aspect."""
    picture = load_picture(request.image, "image")
    request = fill_size(request, model, picture.size)
    return request, fit_picture(picture, *request.size, request.resize_mode)


def prepare(request: FromPictureT, picture: Image.Image, condition: Condition, expert_name: str = "base") -> Run:
    """Starts from the upload, noised to where `strength` enters the schedule (arXiv:2108.01073)."""
    # 1. components and prompts
    expert, conditioning = condition(expert_name)

    # 2. timesteps
    scheduler = make_scheduler(request.scheduler, expert.scheduler_config, request.num_inference_steps, expert.device)
    timesteps = begin_with_strength(scheduler, request.strength)

    # 3. latents: first the picture's, then noise, the order in which diffusers draws from the generators
    generators = make_generators(request.seeds)
    latents = encode_picture(expert, picture, generators)
    noise = make_noise(generators, request.size, expert)
    noised = scheduler.add_noise(latents, noise, timesteps[:1].repeat(len(generators)))
    return Run([Segment(expert, scheduler, timesteps, conditioning)], noised, generators)


TASK = Task(ImageToImageRequest, admit, prepare, keep_drawn)
