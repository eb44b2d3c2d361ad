"""What few need: another VAE, how the picture is framed, guidance, faster ways, the text encoders one by one."""

from ui.fields import Fields, section
from ui.framing import build_framing
from ui.guidance import build_guidance
from ui.prompts import build_second_prompts
from ui.trades import build_trades


def build_advanced(fields: Fields, *, encoders: int = 2) -> None:
    """One fold that holds all of it; where only one of the text encoders reads, it has no prompt of its own."""
    with section("advanced"):
        build_framing(fields)
        build_guidance(fields)
        build_trades(fields)
        with section("text_encoders"):
            if encoders > 1:
                build_second_prompts(fields)
            fields.choice("prompt_syntax")
            fields.choice("prompt_weighting")
            fields.slider("clip_skip", step=1)
        fields.entry("vae", "vae", "choice.vae.own")
        fields.slider("offset_noise", step=0.01)
