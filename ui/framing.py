"""SDXL's micro-conditioning (arXiv:2307.01952, section 2.2): what the picture claims to be cut from, and how large.

A chip holds the texts of all six boxes; they are filled in the browser alone, and a typed one shows no chip as chosen.
"""

from typing import Any

import gradio as gr

from pipelines.schema.models import ModelEntry
from ui.fields import Fields, section
from ui.i18n import word

BOXES = (
    "original_size", "crops_coords_top_left", "target_size",
    "negative_original_size", "negative_crops_coords_top_left", "negative_target_size",
)  # fmt: skip
MARK = ";"
TO_BOXES = f"(framing) => framing.split('{MARK}')"
TO_CHIP = f"(...boxes) => boxes.map((box) => box.trim()).join('{MARK}')"


def build_framing(fields: Fields) -> None:
    """Chips for three ways to frame a picture and, folded, the numbers behind them."""
    framings = list_framings(fields.model)
    chips = gr.Radio(
        framings, value=framings[0][1], label=word("label.framing"), info=word("info.framing"), elem_classes=["chips"]
    )
    with section("size_conditioning"):
        gr.HTML(word("info.framing_numbers"), elem_classes=["hint", "always"])
        for name, negative in zip(BOXES[:3], BOXES[3:], strict=True):
            with gr.Row(elem_classes=["pair-row"]):
                for part in (name, negative):
                    fields.pair(part, word(f"placeholder.{name}"))
    boxes = [fields.components[name] for name in BOXES]
    fields.follow(chips, lambda model, _: gr.update(choices=list_framings(model)))
    chips.input(None, chips, boxes, js=TO_BOXES, api_visibility="private")
    for box in boxes:
        box.change(None, boxes, chips, js=TO_CHIP, api_visibility="private")  # type: ignore[attr-defined]


def list_framings(model: ModelEntry) -> list[tuple[Any, str]]:
    """Chips by a model's size: the whole subject, a part of something larger, a picture that was once small."""
    quarter = model.native_size // 4
    framings = {
        "whole": {"crops_coords_top_left": "0, 0"},
        "close": {"crops_coords_top_left": f"{quarter}, {quarter}"},
        "soft": {"original_size": f"{quarter}, {quarter}", "crops_coords_top_left": "0, 0"},
    }
    return [
        (word(f"choice.framing.{name}"), MARK.join(boxes.get(box, "") for box in BOXES))
        for name, boxes in framings.items()
    ]
