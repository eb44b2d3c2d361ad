"""Refine: a pass of the second expert over a finished picture, told which aesthetic score to aim for."""

from functools import partial

from PIL import Image

from pipelines.schema.errors import ModelError
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import RefineRequest
from pipelines.tasks import image_to_image
from pipelines.tasks.task import Task, keep_drawn


def admit(request: RefineRequest, model: ModelEntry) -> tuple[RefineRequest, Image.Image]:
    """As image to image, for a model that has a refiner; raises `ModelError` for one that has none."""
    if model.refiner is None:
        raise ModelError(f"{model.title} has no refiner; image to image with a low strength comes close")
    return image_to_image.admit(request, model)


TASK = Task(RefineRequest, admit, partial(image_to_image.prepare, expert_name="refiner"), keep_drawn)
