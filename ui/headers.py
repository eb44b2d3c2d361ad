"""What a picture file says of itself before a pixel is read."""

from pathlib import Path

from PIL import ExifTags, Image

from pipelines.media.decode import UNREADABLE, open_picture

TURNED = (5, 6, 7, 8)
"""EXIF's orientations that lay a picture on its side."""


def read_size(path: Path, field: str) -> tuple[int, int]:
    """Width and height of the picture as it is seen; raises `PictureError`."""
    with open_picture(path, field) as picture:
        try:
            # Not `picture.getexif()`: a PNG's decodes everything, for EXIF that may follow the pixels.
            orientation = Image.Image.getexif(picture).get(ExifTags.Base.Orientation)
        except UNREADABLE:
            orientation = 1
        width, height = picture.size
    return (height, width) if orientation in TURNED else (width, height)
