"""Text to image: noise to picture; below `denoising_end` 1 the refiner draws the last part."""

from pipelines.diffusion.latents import make_generators, make_noise
from pipelines.diffusion.run import Run
from pipelines.schema.models import Selection
from pipelines.schema.requests import TextToImageRequest
from pipelines.tasks.experts import check_experts, make_segments
from pipelines.tasks.task import Condition, Task, fill_size, keep_drawn


def admit(request: TextToImageRequest, selection: Selection) -> tuple[TextToImageRequest, None]:
    """Fills in the size; raises `InvalidRequest` for experts that cannot draw from words."""
    check_experts(request, selection, "base")
    return fill_size(request, selection.model), None


def prepare(request: TextToImageRequest, _inputs: None, condition: Condition) -> Run:
    """Starts from pure noise at the first timestep."""
    segments = make_segments(request, condition)
    generators = make_generators(request.seeds)
    noise = make_noise(generators, request.size, segments[0].expert, request.offset_noise)
    return Run(segments, noise * segments[0].scheduler.init_noise_sigma, generators)


TASK = Task(TextToImageRequest, admit, prepare, keep_drawn)
