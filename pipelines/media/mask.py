"""What somebody painted becomes the mask that the inpainting uses: inverted, grown, its edge softened.

255 is redrawn, 0 is kept byte for byte, values between blend the drawn picture over the upload.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from pipelines.schema.errors import InvalidRequest, Plain

BLACK_UP_TO = 15
"""JPEG's noise in black would otherwise make the whole picture count as masked."""
WHITE_FROM = 240
SOLID_FROM = 128
"""A model's mask has no greys: from here on a pixel is redrawn. Growing and feathering start from these."""

UNIT, DIAGONAL, KNIGHT = 5, 7, 11
"""Chamfer distance in fifths of a pixel, within 2 % of the true one (Borgefors 1986)."""


def make_mask(mask: Image.Image, invert: bool, grow: int, feather: int) -> Image.Image:
    """The mask (mode L) to inpaint with: first inverted, then wider by `grow` pixels, then soft.

    The soft edge lies outside: what was white stays white, `feather` pixels further out it is 0.
    Raises `InvalidRequest` when nothing is left to redraw.
    """
    if invert:
        mask = ImageChops.invert(mask)
    mask = mask.point([_snap(value) for value in range(256)])
    solid = mask.point([255 if value >= SOLID_FROM else 0 for value in range(256)])
    box = solid.getbbox()
    if box is None:
        colour, reason = ("black", ", because invert_mask is on") if invert else ("white", "")
        rule = f"must be {colour} where the picture is to be redrawn{reason}"
        raise InvalidRequest("mask_image", rule, Plain(f"a mask without {colour}"))
    reach = grow + feather
    if reach == 0:
        return mask
    # Only the painted part and its surroundings are looked at: most masks are small.
    left, top, right, bottom = box
    box = (
        max(left - reach, 0),
        max(top - reach, 0),
        min(right + reach, mask.width),
        min(bottom + reach, mask.height),
    )
    widened = _widen(np.asarray(solid.crop(box)) > 0, grow, feather)
    mask.paste(ImageChops.lighter(mask.crop(box), Image.fromarray(widened)), box)
    return mask


def _snap(value: int) -> int:
    if value <= BLACK_UP_TO:
        return 0
    return 255 if value >= WHITE_FROM else value


def _widen(solid: NDArray[np.bool_], grow: int, feather: int) -> NDArray[np.uint8]:
    """255 up to `grow` pixels away from what is solid, falling to 0 over the next `feather` pixels."""
    rows_are_short = solid.shape[0] > solid.shape[1]
    # The distance is made row by row: of a very long picture, along its length.
    distance = _measure_distance(solid.T if rows_are_short else solid)
    distance -= UNIT * grow
    np.clip(distance, 0, UNIT * max(feather, 1), out=distance)
    if feather:
        distance *= 255
        distance //= UNIT * feather
        np.subtract(255, distance, out=distance)
        widened = distance.astype(np.uint8)
    else:
        widened = np.where(distance > 0, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(widened.T if rows_are_short else widened)


def _measure_distance(solid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Distance of each pixel to the nearest solid one, in fifths of a pixel, whatever the distance in one time."""
    far = 2**28  # further than any picture is wide, and no overflow when steps are added
    distance = np.full(solid.shape, far, dtype=np.int32)
    distance[solid] = 0
    _sweep_down(distance)
    _sweep_down(distance[::-1])
    return distance


def _sweep_down(distance: NDArray[np.int32]) -> None:
    """Lowers each row, in place, to what the two rows above it and its own other pixels allow."""
    along = UNIT * np.arange(distance.shape[1], dtype=np.int32)
    for y, row in enumerate(distance):
        if y >= 1:
            above = distance[y - 1]
            np.minimum(row, above + UNIT, out=row)
            _lower_sideways(row, above + DIAGONAL, 1)
            _lower_sideways(row, above + KNIGHT, 2)
        if y >= 2:
            _lower_sideways(row, distance[y - 2] + KNIGHT, 1)
        row -= along
        np.minimum.accumulate(row, out=row)
        row += 2 * along
        np.minimum.accumulate(row[::-1], out=row[::-1])
        row -= along


def _lower_sideways(row: NDArray[np.int32], other: NDArray[np.int32], by: int) -> None:
    """Lowers `row` to `other` shifted by so many pixels to either side."""
    np.minimum(row[by:], other[:-by], out=row[by:])
    np.minimum(row[:-by], other[by:], out=row[:-by])
