"""The contract of a task: how a request becomes a run, and how drawn pictures become its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PIL import Image

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioning
from pipelines.diffusion.run import Run
from pipelines.schema.buckets import nearest_bucket
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import GenerationRequest

RequestT = TypeVar("RequestT", bound=GenerationRequest)
InputsT = TypeVar("InputsT")

Condition = Callable[[str], tuple[Expert, Conditioning]]
"""Gives the expert of that name, loaded, and the request's conditioning for it."""


@dataclass(frozen=True)
class Task(Generic[RequestT, InputsT]):
    """Three functions. `admit` and `finish` touch no device and run outside its thread."""

    request_class: type[RequestT]
    admit: Callable[[RequestT, ModelEntry], tuple[RequestT, InputsT]]
    """Fills in the size and decodes the uploads; raises `PipelineError` while the visitor still listens."""
    prepare: Callable[[RequestT, InputsT, Condition], Run]
    """On the device: conditioning, first latents, timesteps."""
    finish: Callable[[InputsT, list[Image.Image]], list[Image.Image]]
    """Turns the drawn pictures into those that the visitor gets."""


def fill_size(request: RequestT, model: ModelEntry, picture_size: tuple[int, int] | None = None) -> RequestT:
    """`request` with a size: its own, else the bucket of the picture's aspect, else the model's native square."""
    if request.width is not None:
        return request
    size: dict[str, Any] = {"width": model.native_size, "height": model.native_size}
    if picture_size is not None:
        bucket = nearest_bucket(*picture_size, native_size=model.native_size)
        size = {"width": bucket.width, "height": bucket.height}
    return request.model_copy(update=size)


def keep_drawn(_inputs: Any, pictures: list[Image.Image]) -> list[Image.Image]:
    """The `finish` of a task whose pictures are done as they were drawn."""
    return pictures
