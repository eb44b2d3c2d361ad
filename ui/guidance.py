"""What can be done about guidance beside its scale, folded."""

from ui.fields import Fields, section


def build_guidance(fields: Fields) -> None:
    """Sliders for rescaled and thresholded guidance, and for the part of the steps that is guided at all."""
    with section("guidance"):
        fields.slider("guidance_rescale", step=0.05)
        fields.slider("dynamic_thresholding_ratio", step=0.005)
        fields.slider("guidance_start", step=0.05)
        fields.slider("guidance_end", step=0.05)
