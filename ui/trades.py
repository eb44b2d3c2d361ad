"""What makes a picture sooner and less exact, folded; guidance for a part of the steps stands with guidance."""

from ui.fields import Fields, section


def build_trades(fields: Fields) -> None:
    """How often the UNet's deep blocks are computed, and who decodes."""
    with section("trades"):
        fields.slider("deep_cache_interval", step=1)
        fields.switch("draft")
