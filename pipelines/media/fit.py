"""A picture of any size becomes one of the size that is drawn."""

import numpy as np
from PIL import Image, ImageOps

from pipelines.schema.types import ResizeMode

RESAMPLING = Image.Resampling.LANCZOS


def fit_picture(image: Image.Image, width: int, height: int, resize_mode: ResizeMode) -> Image.Image:
    """The picture at `width` x `height`; one that has this size already comes back with the same pixels.

    "crop" fills the size and cuts what overhangs on both sides, "pad" shows all of the picture and repeats its edge
    pixels around it (a plain colour would be drawn as a frame), "stretch" changes its proportions.
    """
    if image.size == (width, height):
        return image
    if resize_mode == "crop":
        return ImageOps.fit(image, (width, height), RESAMPLING)
    if resize_mode == "stretch":
        return image.resize((width, height), RESAMPLING)
    scale = min(width / image.width, height / image.height)
    inner_width = min(width, max(1, round(image.width * scale)))
    inner_height = min(height, max(1, round(image.height * scale)))
    inner = image.resize((inner_width, inner_height), RESAMPLING)
    return extend_edges(inner, (width - inner_width) // 2, (height - inner_height) // 2, width=width, height=height)


def extend_edges(image: Image.Image, left: int, top: int, *, width: int, height: int) -> Image.Image:
    """A picture of `width` x `height` with `image` at (`left`, `top`) and its edge pixels repeated all around."""
    if (left, top) == (0, 0) and image.size == (width, height):
        return image
    right, bottom = width - left - image.width, height - top - image.height
    channels = ((0, 0),) * (len(image.getbands()) > 1)
    return Image.fromarray(np.pad(np.asarray(image), ((top, bottom), (left, right), *channels), mode="edge"))
