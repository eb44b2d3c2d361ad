"""A picture from words alone."""

from pipelines.schema.requests import TextToImageRequest
from ui.fields import Fields, section
from ui.sampling import build_sampling
from ui.shapes import build_shape
from ui.tab import Tab


def build(fields: Fields) -> None:
    """Draws the inputs."""
    fields.prompts()
    build_shape(fields)
    fields.count()
    build_sampling(fields)
    fields.seed()
    if fields.model.refiner:
        with section("second_expert"):
            fields.slider("denoising_end", step=0.05, lowest=0.05)
    fields.size_conditioning()


TEXT_TO_IMAGE = Tab(TextToImageRequest, build)
