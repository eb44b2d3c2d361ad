"""A picture redrawn where it is painted over."""

from pipelines.schema.requests import InpaintRequest
from ui.advanced import build_advanced
from ui.combining import build_combinations
from ui.fields import Fields, section
from ui.loras import build_loras
from ui.pictures import build_painted_picture
from ui.prompts import bind_prompts, build_prompts
from ui.refiner import build_refiner
from ui.sampling import build_sampling
from ui.shapes import build_shape
from ui.tab import Tab


def build(fields: Fields) -> None:
    """Draws the inputs."""
    build_painted_picture(fields)
    build_prompts(fields)
    fields.slider("strength", step=0.05, lowest=0.05)
    fields.choice("inpaint_area")
    with section("mask"):
        fields.switch("invert_mask")
        fields.slider("mask_grow", step=1)
        fields.slider("mask_feather", step=1)
        fields.slider("padding_mask_crop", step=8)
    build_shape(fields, follows_picture=True)
    fields.count()
    build_combinations(fields)
    build_sampling(fields)
    build_loras(fields)
    fields.seed()
    build_refiner(fields)
    build_advanced(fields)
    bind_prompts(fields)


INPAINT = Tab(InpaintRequest, build)
