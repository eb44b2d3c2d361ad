"""What the picture shows and what it should not, each with its length below; and styles to put around them."""

import gradio as gr

from ui.counting import bind_counting, build_counter
from ui.fields import Fields, section
from ui.i18n import word
from ui.styles import bind_styles, build_styles


def build_prompts(fields: Fields) -> None:
    """The prompt and, folded, the negative prompt and the styles."""
    with gr.Column(elem_classes=["prompt-part"]):
        prompt = gr.Textbox(
            value="", label=word("label.prompt"), placeholder=word("placeholder.prompt"), lines=3, max_lines=12,
            elem_classes=["prompt"],
        )  # fmt: skip
        fields.add("prompt", prompt)
        build_counter(fields, "prompt")
    with section("negative_prompt"):
        info = word(f"help.{fields.task}.negative_prompt")
        with gr.Column(elem_classes=["prompt-part"]):
            fields.add("negative_prompt", gr.Textbox("", show_label=False, info=info, lines=2, max_lines=8))
            build_counter(fields, "negative_prompt")
    build_styles(fields)


def build_second_prompts(fields: Fields) -> None:
    """Other words for the second text encoder."""
    for name in ("prompt_2", "negative_prompt_2"):
        with gr.Column(elem_classes=["prompt-part"]):
            fields.add(name, gr.Textbox("", lines=2, max_lines=8, **fields.labels(name)))
            build_counter(fields, name)


def bind_prompts(fields: Fields) -> None:
    """Lets counters and styles work on the prompts; the tab has drawn all its inputs before."""
    bind_counting(fields)
    bind_styles(fields)
