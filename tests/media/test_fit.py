"""A picture of any size at the size that is drawn."""

import numpy as np
import pytest
from PIL import Image

from pipelines.media.fit import extend_edges, fit_picture


def make_noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def make_thirds(width: int, height: int) -> Image.Image:
    """Red, green and blue from left to right."""
    image = Image.new("RGB", (width, height), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, width // 3, height))
    image.paste((0, 0, 255), (width - width // 3, 0, width, height))
    return image


@pytest.mark.parametrize("resize_mode", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(64, 48), (1000, 20), (20, 1000), (257, 256)])
def test_every_mode_gives_the_size_asked_for(resize_mode, size: tuple[int, int]):
    fitted = fit_picture(make_noise(*size), 96, 64, resize_mode)
    assert (fitted.size, fitted.mode) == ((96, 64), "RGB")


@pytest.mark.parametrize("resize_mode", ["crop", "pad", "stretch"])
def test_a_picture_of_the_right_size_keeps_its_pixels(resize_mode):
    picture = make_noise(96, 64)
    assert fit_picture(picture, 96, 64, resize_mode).tobytes() == picture.tobytes()


def test_crop_keeps_the_middle():
    fitted = fit_picture(make_thirds(300, 100), 100, 100, "crop")
    assert np.asarray(fitted)[:, 5:-5].reshape(-1, 3).tolist() == [[0, 255, 0]] * (100 * 90)


def test_pad_shows_all_and_repeats_the_edge():
    image = make_thirds(96, 32)
    image.paste((255, 255, 255), (0, 0, 96, 6))
    fitted = np.asarray(fit_picture(image, 96, 96, "pad"))
    assert np.array_equal(fitted[32:64], np.asarray(image))
    assert np.array_equal(fitted[:32], np.broadcast_to(fitted[32], (32, 96, 3)))
    assert np.array_equal(fitted[64:], np.broadcast_to(fitted[63], (32, 96, 3)))


def test_stretch_shows_all_without_an_edge():
    fitted = fit_picture(make_thirds(300, 100), 90, 90, "stretch")
    assert [fitted.getpixel((x, 45)) for x in (10, 45, 80)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_thread_of_a_picture_is_padded_too():
    assert fit_picture(make_noise(16, 5000), 64, 64, "pad").size == (64, 64)


def test_extended_edges_work_for_grey_pictures():
    grey = extend_edges(Image.new("L", (2, 2), 7), 1, 0, width=5, height=4)
    assert (grey.size, grey.getextrema()) == ((5, 4), (7, 7))
