"""A finished picture polished by the refiner."""

from pipelines.schema.requests import RefineRequest
from ui.advanced import build_advanced
from ui.combining import build_combinations
from ui.fields import Fields, section
from ui.loras import build_embeddings
from ui.pictures import build_picture
from ui.prompts import bind_prompts, build_prompts
from ui.refiner import build_refiner_choice
from ui.sampling import build_sampling
from ui.shapes import build_shape
from ui.tab import Tab


def build(fields: Fields) -> None:
    """Draws the inputs."""
    build_picture(fields)
    build_prompts(fields)
    fields.slider("strength", step=0.05, lowest=0.05)
    build_shape(fields, follows_picture=True)
    fields.choice("resize_mode")
    fields.count()
    build_combinations(fields)
    build_sampling(fields)
    build_embeddings(fields)
    fields.seed()
    with section("refiner"):
        build_refiner_choice(fields)
    build_advanced(fields, encoders=1)
    bind_prompts(fields)


REFINE = Tab(RefineRequest, build)
