"""Refine: a pass of the second expert over a finished picture, told which aesthetic score to aim for."""

from functools import partial

from PIL import Image

from pipelines.schema.errors import InvalidRequest, ModelError
from pipelines.schema.models import Selection
from pipelines.schema.requests import RefineRequest
from pipelines.tasks import image_to_image
from pipelines.tasks.experts import check_refiner
from pipelines.tasks.task import Task, keep_drawn


def admit(request: RefineRequest, selection: Selection) -> tuple[RefineRequest, Image.Image]:
    """As image to image, by the refiner's measures; raises `ModelError` for a model that has none."""
    if selection.refiner is None:
        title = selection.model.title
        raise ModelError(f"{title} has no refiner; image to image with a low strength comes close")
    check_refiner(selection.refiner, selection.model)
    if request.loras:
        raise InvalidRequest(
            "loras", "must be empty: they are made for a base, and a refiner takes none", len(request.loras)
        )
    for name in ("prompt_2", "negative_prompt_2"):
        if getattr(request, name):
            raise InvalidRequest(name, "must be empty: a refiner has one text encoder", getattr(request, name))
    return image_to_image.read_upload(request, selection.refiner)


TASK = Task(RefineRequest, admit, partial(image_to_image.prepare, expert_name="refiner"), keep_drawn)
