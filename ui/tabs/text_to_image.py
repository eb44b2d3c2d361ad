"""A picture from words alone."""

from pipelines.schema.requests import TextToImageRequest
from ui.advanced import build_advanced
from ui.combining import build_combinations
from ui.fields import Fields
from ui.loras import build_loras
from ui.prompts import bind_prompts, build_prompts
from ui.refiner import build_refiner
from ui.sampling import build_sampling
from ui.shapes import build_shape
from ui.tab import Tab


def build(fields: Fields) -> None:
    """Draws the inputs."""
    build_prompts(fields)
    build_shape(fields)
    fields.count()
    build_combinations(fields)
    build_sampling(fields)
    build_loras(fields)
    fields.seed()
    build_refiner(fields)
    build_advanced(fields)
    bind_prompts(fields)


TEXT_TO_IMAGE = Tab(TextToImageRequest, build)
