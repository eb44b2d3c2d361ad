"""The studio's own look: one accent, one neutral scale, one radius, system fonts, in light and dark."""

import gradio as gr
from gradio.themes.utils.colors import Color

ACCENT = Color(
    name="accent",
    c50="#f3f2fd", c100="#e6e4fb", c200="#cfcbf7", c300="#b1abf1", c400="#9087ea", c500="#7065df",
    c600="#5b4fd0", c700="#4b40b0", c800="#3d358c", c900="#332d70", c950="#1f1b45",
)  # fmt: skip
NEUTRAL = Color(
    name="neutral",
    c50="#fafafb", c100="#f3f3f5", c200="#e4e4e9", c300="#d1d1d9", c400="#9d9daa", c500="#72727f",
    c600="#5a5a66", c700="#3e3e48", c800="#25252c", c900="#19191e", c950="#111115",
)  # fmt: skip
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK SC", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def make_theme() -> gr.themes.Base:
    """The theme for `launch(theme=...)`; contrast of text is AA in both modes."""
    theme = gr.themes.Base(
        primary_hue=ACCENT, secondary_hue=ACCENT, neutral_hue=NEUTRAL,
        radius_size=gr.themes.sizes.radius_md, spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md, font=FONTS, font_mono=MONO,
    )  # fmt: skip
    return theme.set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_50",
        background_fill_secondary_dark="*neutral_800",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_padding="0",
        block_label_text_size="13px",
        block_label_text_weight="600",
        block_title_text_size="13px",
        block_title_text_weight="600",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_200",
        block_info_text_size="12px",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        border_color_primary="*neutral_200",
        border_color_primary_dark="#32323b",
        input_background_fill="white",
        input_background_fill_dark="*neutral_950",
        input_border_color="*neutral_300",
        input_border_color_dark="#3a3a44",
        input_border_width="1px",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        input_shadow_focus="0 0 0 3px rgba(112, 101, 223, .25)",
        input_text_size="14px",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#3a3a44",
        button_cancel_background_fill="white",
        button_cancel_background_fill_dark="*neutral_800",
        button_cancel_text_color="*neutral_900",
        button_cancel_text_color_dark="*neutral_100",
        button_cancel_border_color="*neutral_300",
        button_cancel_border_color_dark="#3a3a44",
        button_border_width="1px",
        button_large_text_weight="600",
        button_large_text_size="15px",
        button_small_text_size="13px",
        button_small_text_weight="500",
        button_large_radius="*radius_md",
        button_small_radius="*radius_md",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        error_text_color="#b3261e",
        error_text_color_dark="#ff9d94",
    )
