"""Text to image: noise to picture; below `denoising_end` 1 the refiner draws the last part."""

from pipelines.diffusion.latents import make_generators, make_noise
from pipelines.diffusion.run import Run, Segment
from pipelines.diffusion.schedulers import begin_at, make_scheduler, split_timesteps
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import TextToImageRequest
from pipelines.tasks.task import Condition, Task, fill_size, keep_drawn


def admit(request: TextToImageRequest, model: ModelEntry) -> tuple[TextToImageRequest, None]:
    """Fills in the size; refuses a second expert that the model does not have."""
    if request.denoising_end < 1 and model.refiner is None:
        raise InvalidRequest("denoising_end", f"must be 1, because {model.title} has no refiner", request.denoising_end)
    return fill_size(request, model), None


def prepare(request: TextToImageRequest, _inputs: None, condition: Condition) -> Run:
    """One segment, or two: an ensemble of experts (SDXL, arXiv:2307.01952, section 2.5).

    The refiner takes over the base's latents undecoded, with a scheduler that starts where the base's stopped.
    """
    # 1. components and prompts
    base, conditioning = condition("base")
    device = base.device

    # 2. timesteps
    scheduler = make_scheduler(request.scheduler, base.scheduler_config, request.num_inference_steps, device)
    base_timesteps, refiner_timesteps = split_timesteps(scheduler, request.denoising_end)
    if len(base_timesteps) == 0:
        raise InvalidRequest("denoising_end", "must leave the base at least one step", request.denoising_end)
    segments = [Segment(base, scheduler, base_timesteps, conditioning)]

    # 3. the second expert
    if len(refiner_timesteps) > 0:
        refiner, conditioning = condition("refiner")
        scheduler = make_scheduler(request.scheduler, refiner.scheduler_config, request.num_inference_steps, device)
        segments.append(Segment(refiner, scheduler, begin_at(scheduler, len(base_timesteps)), conditioning))

    # 4. first latents
    generators = make_generators(request.seeds)
    noise = make_noise(generators, request.size, base)
    return Run(segments, noise * segments[0].scheduler.init_noise_sigma, generators)


TASK = Task(TextToImageRequest, admit, prepare, keep_drawn)
