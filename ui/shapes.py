"""The picture's shape: chips for the common ones, all of SDXL's trained sizes, and free numbers.

Everything fills the same two boxes, in the browser alone; a typed size shows no chip as chosen.
"""

import gradio as gr
from gradio.i18n import I18nData

from pipelines.schema.buckets import Bucket, load_buckets, nearest_bucket
from ui.fields import Fields, read_number, section
from ui.i18n import word

COMMON_SHAPES = ((1, 1), (3, 4), (4, 3), (9, 16), (16, 9))
AS_PICTURE = "x"
"""What a chip holds when both boxes are empty: the engine follows the uploaded picture."""

TO_SIDES = "(size) => String(size).split('x')"
TO_CHIPS = "(width, height) => { const size = `${width}x${height}`; return [size, size]; }"
SWAP = "(width, height) => [height, width]"


def build_shape(fields: Fields, *, follows_picture: bool = False) -> None:
    """Inputs for `width` and `height`; with `follows_picture` they start empty."""
    native = fields.model.native_size
    chosen = AS_PICTURE if follows_picture else _size(nearest_bucket(1, 1, native))
    chips = gr.Radio(
        _common_choices(native, follows_picture), value=chosen, label=word("label.shape"),
        elem_classes=["chips", "aspects", "aspects-follow" if follows_picture else "aspects-common"],
    )  # fmt: skip
    with section("sizes"):
        with gr.Row(elem_classes=["size-row"]):
            side = "" if follows_picture else str(native)
            width = gr.Textbox(side, label=word("label.width"), max_lines=1, min_width=80)
            swap = gr.Button(word("button.swap"), elem_classes=["swap", "sign"], scale=0, min_width=44)
            height = gr.Textbox(side, label=word("label.height"), max_lines=1, min_width=80)
        every = gr.Radio(
            _trained_choices(native), value=chosen,
            label=word("label.every_size"), elem_classes=["chips", "aspects", "aspects-every"],
        )  # fmt: skip
    fields.follow(chips, lambda model, _: gr.update(choices=_common_choices(model.native_size, follows_picture)))
    fields.follow(every, lambda model, _: gr.update(choices=_trained_choices(model.native_size)))
    fields.add("width", width, read=read_number)
    fields.add("height", height, read=read_number)
    for choice in (chips, every):
        choice.input(None, choice, [width, height], js=TO_SIDES, api_visibility="private")
    swap.click(None, [width, height], [width, height], js=SWAP, api_visibility="private")
    for side_input in (width, height):
        side_input.change(None, [width, height], [chips, every], js=TO_CHIPS, api_visibility="private")


def draw_aspects(native_size: int) -> str:
    """CSS that draws beside each choice a small outline of its shape."""
    every = load_buckets(native_size)
    common = [nearest_bucket(width, height, native_size) for width, height in COMMON_SHAPES]
    return "\n".join(
        [_outline("aspects-every", index, bucket) for index, bucket in enumerate(every, 1)]
        + [_outline("aspects-common", index, bucket) for index, bucket in enumerate(common, 1)]
        + [_outline("aspects-follow", index, bucket) for index, bucket in enumerate(common, 2)]
    )


def _common_choices(native_size: int, follows_picture: bool) -> list[tuple[str | I18nData, str]]:
    buckets = [((w, h), nearest_bucket(w, h, native_size)) for w, h in COMMON_SHAPES]
    choices: list[tuple[str | I18nData, str]] = [(f"{w}:{h}", _size(bucket)) for (w, h), bucket in buckets]
    return [(word("choice.shape.as_picture"), AS_PICTURE), *choices] if follows_picture else choices


def _trained_choices(native_size: int) -> list[tuple[str, str]]:
    return [(f"{bucket.width} × {bucket.height}", _size(bucket)) for bucket in load_buckets(native_size)]


def _size(bucket: Bucket) -> str:
    return f"{bucket.width}x{bucket.height}"


def _outline(group: str, index: int, bucket: Bucket) -> str:
    longest = 18 / max(bucket.width, bucket.height)
    width, height = round(bucket.width * longest), round(bucket.height * longest)
    return f".{group} label:nth-of-type({index})::before {{ width: {width}px; height: {height}px; }}"
