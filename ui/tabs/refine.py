"""A finished picture polished by the refiner."""

from pipelines.schema.requests import RefineRequest
from ui.advanced import build_advanced
from ui.fields import Fields, section
from ui.loras import build_embeddings
from ui.pictures import build_picture
from ui.refiner import build_refiner_choice
from ui.sampling import build_sampling
from ui.shapes import build_shape
from ui.tab import Tab


def build(fields: Fields) -> None:
    """Draws the inputs."""
    build_picture(fields)
    fields.prompts()
    fields.slider("strength", step=0.05, lowest=0.05)
    build_shape(fields, follows_picture=True)
    fields.choice("resize_mode")
    fields.count()
    build_sampling(fields)
    build_embeddings(fields)
    fields.seed()
    with section("refiner"):
        build_refiner_choice(fields)
    build_advanced(fields, encoders=1)


REFINE = Tab(RefineRequest, build)
