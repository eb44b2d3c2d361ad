"""Uploads become pictures: decoded by their content, within limits that are checked before a pixel is read.

A file that a stranger sends may be a bomb (a small file of a huge picture), cut short, or no picture at all. Whatever
it is, the answer is a `PictureError` that names the field and the file, never the folder where the server keeps it.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageChops

from pipelines.schema.errors import PictureError, Plain

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_FILE_BYTES = 32 * 2**20
MAX_PIXELS = 40_000_000
MIN_SIDE = 16

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)
"""What Pillow's readers raise on a damaged file; warnings too, for a host that turns them into errors."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation and what undoes it."""


def load_picture(path: Path, field: str) -> Image.Image:
    """The picture in `path`, upright, RGB, 8 bits, what is transparent on white; raises `PictureError`."""
    image = _load(path, field)
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, layers)
    return _without_info(image.convert("RGB"))


def load_mask(path: Path, field: str, size: tuple[int, int]) -> Image.Image:
    """The mask in `path` as mode L: luminance times alpha, so that what was not painted is black.

    Raises `PictureError`, also when the mask is not of the picture's `size` (width, height).
    """
    image = _load(path, field)
    if image.size != size:
        rule = f"must have the picture's size {format_size(size)}"
        raise PictureError(field, rule, Plain(format_size(image.size)))
    mask = image.convert("L")
    if image.has_transparency_data:
        mask = ImageChops.multiply(mask, image.convert("RGBA").getchannel("A"))
    return _without_info(mask)


@contextmanager
def open_picture(path: Path, field: str) -> Iterator[Image.Image]:
    """Opens a file that is small enough and a picture by its content; only the header is read."""
    try:
        is_file = path.is_file()
        file = path.open("rb") if is_file else None
    except (OSError, ValueError):  # a name too long, a folder not ours, a zero byte in the name
        file = None
    if file is None:
        raise PictureError(field, "must be a file that exists and can be read", path.name)
    with file:
        file_bytes = os.fstat(file.fileno()).st_size
        if file_bytes > MAX_FILE_BYTES:
            rule = f"must be a file of at most {MAX_FILE_BYTES // 2**20} MB"
            raise PictureError(field, rule, Plain(f"{file_bytes / 2**20:.1f} MB"))
        try:
            image = Image.open(file, formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise PictureError(field, _PIXEL_RULE, path.name) from error
        except UNREADABLE as error:
            raise PictureError(field, "must be a PNG, JPEG or WebP picture", path.name) from error
        with image:
            yield image


_PIXEL_RULE = f"must have at most {MAX_PIXELS // 1_000_000} megapixels"


def format_size(size: tuple[int, int]) -> str:
    """Width x height, as in "640x480"."""
    return f"{size[0]}x{size[1]}"


def _load(path: Path, field: str) -> Image.Image:
    """The decoded picture, upright and of 8 bits, in any mode Pillow has for that."""
    with open_picture(path, field) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:  # asked of the header: decoding is what a bomb waits for
            raise PictureError(field, _PIXEL_RULE, Plain(format_size(opened.size)))
        if min(width, height) < MIN_SIDE:
            rule = f"must be at least {MIN_SIDE} pixels wide and high"
            raise PictureError(field, rule, Plain(format_size(opened.size)))
        try:
            opened.load()
        except UNREADABLE as error:
            raise PictureError(field, "must be a whole picture, not cut short or damaged", path.name) from error
        image = _to_8_bits(opened)
        orientation = _read_orientation(opened)
        return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _to_8_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):
        return image.copy()
    values = np.asarray(image)  # Pillow's own conversion clips 16 bits at 255 and shows white
    return Image.fromarray((values // 257).astype(np.uint8))


def _read_orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; a picture whose EXIF is damaged stands as it is."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except UNREADABLE:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _without_info(image: Image.Image) -> Image.Image:
    """Drops what else the upload held (places, thumbnails), so that it is not saved with the result."""
    image.info.clear()
    return image
