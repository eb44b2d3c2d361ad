"""A finished picture polished by the second expert."""

from pipelines.schema.requests import RefineRequest
from ui.fields import Fields, section
from ui.pictures import build_picture
from ui.sampling import build_sampling
from ui.shapes import build_shape
from ui.tab import Tab


def build(fields: Fields) -> None:
    """Draws the inputs."""
    build_picture(fields)
    fields.prompts()
    fields.slider("strength", step=0.05, lowest=0.05)
    with section("aesthetic_scores"):
        fields.slider("aesthetic_score", step=0.1)
        fields.slider("negative_aesthetic_score", step=0.1)
    build_shape(fields, follows_picture=True)
    fields.choice("resize_mode")
    fields.count()
    build_sampling(fields)
    fields.seed()
    fields.size_conditioning()


REFINE = Tab(RefineRequest, build)
