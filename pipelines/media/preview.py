"""Previews of a picture under way, small enough to be sent every few steps."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 75


def encode_preview(rgb: NDArray[np.uint8]) -> bytes:
    """A JPEG of an (h, w, 3) uint8 array."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="JPEG", quality=QUALITY)
    return buffer.getvalue()
