"""Previews are JPEGs small enough to be sent every few steps."""

import io

import numpy as np
from PIL import Image

from pipelines.media.preview import encode_preview


def test_a_preview_is_a_small_jpeg_of_the_array():
    across, down = np.meshgrid(np.linspace(0, 255, 128), np.linspace(0, 255, 96))
    rgb = np.dstack([across, down, np.full_like(across, 60)]).astype(np.uint8)
    data = encode_preview(rgb)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (128, 96), "RGB")
        assert np.abs(np.asarray(image, dtype=int) - rgb).mean() < 4
    assert len(data) < 8000
