"""The geometry of inpainting: which part of the upload is drawn, at which size, and the way back.

The model draws at a size of its own (`width` x `height`), the upload has any size. A region pairs a rectangle of the
upload with the rectangle where it stands in the working picture. Where the working aspect asks for more than the
upload has, the working picture continues the upload's edge pixels and the mask is black.
"""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from pipelines.media.fit import RESAMPLING, extend_edges

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels, right and bottom outside."""


@dataclass(frozen=True)
class InpaintRegion:
    """A rectangle of the upload and its place in the working picture; both ways use the same two rectangles."""

    width: int
    height: int
    """Size of the working picture."""
    source: Box
    """The part of the upload that is drawn, inside the upload."""
    place: Box
    """Where that part stands in the working picture; beyond it, the edge is repeated."""

    def crop(self, image: Image.Image) -> Image.Image:
        """The working picture of an upload; not resampled where the sizes agree."""
        left, top, *_ = self.place
        part = image.crop(self.source).resize(_size(self.place), RESAMPLING)
        return extend_edges(part, left, top, width=self.width, height=self.height)

    def crop_mask(self, mask: Image.Image) -> Image.Image:
        """The working mask of a mask that has the upload's size; 0 where the upload ends."""
        part = mask.crop(self.source).resize(_size(self.place), Image.Resampling.BILINEAR)
        working = Image.new("L", (self.width, self.height), 0)
        working.paste(part, self.place)
        return working

    def paste(self, original: Image.Image, drawn: Image.Image, mask: Image.Image) -> Image.Image:
        """The upload with the drawn working picture under its mask (mode L, of the upload's size).

        A pixel whose mask is 0 is byte for byte the upload's; one whose mask is 255 is the drawn picture's.
        """
        if drawn.size != (self.width, self.height) or mask.size != original.size:
            raise ValueError(f"drawn {drawn.size} or mask {mask.size} is not of this region's size")
        part = drawn.crop(self.place).resize(_size(self.source), RESAMPLING)
        result = original.copy()
        result.paste(part, self.source, mask.crop(self.source))
        return result


def make_region(
    size: tuple[int, int],
    mask: Image.Image,
    width: int,
    height: int,
    area: Literal["whole", "masked"],
    padding: int,
) -> InpaintRegion:
    """The region of an upload of `size` (width, height) that is drawn at `width` x `height`.

    "whole" is the upload, extended on both sides to the working aspect. "masked" is what the mask holds, `padding`
    pixels around it, extended to the working aspect and moved inside the upload where it fits. Sides are whole
    pixels, so that the aspect is met to within one pixel. The mask is `make_mask`'s, with its soft edge.
    """
    wanted: Box = (0, 0, *size)
    if area == "masked":
        painted = mask.getbbox()
        if painted is None:
            raise ValueError("the mask is black all over: make_mask refuses such a mask")
        left, top, right, bottom = painted
        wanted = (
            max(left - padding, 0),
            max(top - padding, 0),
            min(right + padding, size[0]),
            min(bottom + padding, size[1]),
        )
    box_width, box_height = _extend_to_aspect(_size(wanted), width, height)
    left, right, place_left, place_right = _lay(wanted[0], wanted[2], box_width, size[0], width)
    top, bottom, place_top, place_bottom = _lay(wanted[1], wanted[3], box_height, size[1], height)
    return InpaintRegion(
        width=width,
        height=height,
        source=(left, top, right, bottom),
        place=(place_left, place_top, place_right, place_bottom),
    )


def _extend_to_aspect(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The smallest size of the aspect `width`:`height` that holds `size`."""
    if size[0] * height < size[1] * width:
        return -(-size[1] * width // height), size[1]
    return size[0], -(-size[0] * height // width)


def _lay(start: int, stop: int, length: int, limit: int, working: int) -> tuple[int, int, int, int]:
    """Along one axis: the part of the upload [0, `limit`) and its place in [0, `working`).

    `start` to `stop` is widened on both sides to `length`, then moved inside the upload or, too long for that, put
    around its middle.
    """
    start -= (length - (stop - start)) // 2
    if length > limit:
        start = (limit - length) // 2
        place_start = min(round(-start * working / length), working - 1)
        place_stop = max(round((limit - start) * working / length), place_start + 1)
        return 0, limit, place_start, place_stop
    start = min(max(start, 0), limit - length)
    return start, start + length, 0, working


def _size(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]
