"""The contract of a task: how a request becomes a run, and how drawn pictures become its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PIL import Image

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioning
from pipelines.diffusion.run import Run
from pipelines.schema.buckets import nearest_bucket
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import ModelEntry, Selection
from pipelines.schema.requests import GenerationRequest

RequestT = TypeVar("RequestT", bound=GenerationRequest)
InputsT = TypeVar("InputsT")

MAX_AREA = 4
"""Pixels of one picture, as a multiple of the model's native square: twice its side each way."""
MAX_BATCH_AREA = 8
"""Pixels of all pictures of a request together, likewise."""

Condition = Callable[[str], tuple[Expert, Conditioning]]
"""Gives the expert of that name, loaded, and the request's conditioning for it."""


@dataclass(frozen=True)
class Task(Generic[RequestT, InputsT]):
    """Three functions. `admit` and `finish` touch no device and run outside its thread."""

    request_class: type[RequestT]
    admit: Callable[[RequestT, Selection], tuple[RequestT, InputsT]]
    """Fills in the size and decodes the uploads; raises `PipelineError` while the visitor still listens."""
    prepare: Callable[[RequestT, InputsT, Condition], Run]
    """On the device: conditioning, first latents, timesteps."""
    finish: Callable[[InputsT, Image.Image], Image.Image]
    """Turns a drawn picture into the one that the visitor gets."""


def fill_size(request: RequestT, model: ModelEntry, picture_size: tuple[int, int] | None = None) -> RequestT:
    """`request` with a size: its own, else the bucket of the picture's aspect, else the model's native square.

    Raises `InvalidRequest` for more pixels than the model is made for: a step cannot be stopped halfway, and
    others wait for it.
    """
    if request.width is None:
        size: dict[str, Any] = {"width": model.native_size, "height": model.native_size}
        if picture_size is not None:
            bucket = nearest_bucket(*picture_size, native_size=model.native_size)
            size = {"width": bucket.width, "height": bucket.height}
        request = request.model_copy(update=size)
    _check_pixels(request, model)
    return request


def most_area(model: ModelEntry) -> int:
    """Latent positions in all rows of a UNet call together: as many as one request may ask for, with guidance."""
    return 2 * MAX_BATCH_AREA * (model.native_size // 8) ** 2


def _check_pixels(request: GenerationRequest, model: ModelEntry) -> None:
    (width, height), native = request.size, model.native_size
    if width * height > MAX_AREA * native**2:
        rule = f"times height must be at most {MAX_AREA * native**2} pixels for {model.title}"
        raise InvalidRequest("width", rule, f"{width}x{height}")
    most = MAX_BATCH_AREA * native**2 // (width * height)
    if request.num_images_per_prompt > most:
        rule = f"must be at most {most} at {width}x{height} for {model.title}"
        raise InvalidRequest("num_images_per_prompt", rule, request.num_images_per_prompt)


def keep_drawn(_inputs: Any, picture: Image.Image) -> Image.Image:
    """The `finish` of a task whose pictures are done as they were drawn."""
    return picture
