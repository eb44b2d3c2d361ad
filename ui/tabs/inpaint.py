"""A picture redrawn where it is painted over."""

from pipelines.schema.requests import InpaintRequest
from ui.fields import Fields, section
from ui.pictures import build_painted_picture
from ui.sampling import build_sampling
from ui.shapes import build_shape
from ui.tab import Tab


def build(fields: Fields) -> None:
    """Draws the inputs."""
    build_painted_picture(fields)
    fields.prompts()
    fields.slider("strength", step=0.05, lowest=0.05)
    fields.choice("inpaint_area")
    with section("mask"):
        fields.switch("invert_mask")
        fields.slider("mask_grow", step=1)
        fields.slider("mask_feather", step=1)
        fields.slider("padding_mask_crop", step=8)
    build_shape(fields, follows_picture=True)
    fields.count()
    build_sampling(fields)
    fields.seed()
    fields.size_conditioning()


INPAINT = Tab(InpaintRequest, build)
