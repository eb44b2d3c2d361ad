"""The mask: inverted, grown, softened outward."""

import time

import numpy as np
import pytest
from PIL import Image

from pipelines.media.mask import make_mask
from pipelines.schema.errors import InvalidRequest


def make_square(side: int = 101, half: int = 5) -> Image.Image:
    """A white square around the middle of black."""
    mask = Image.new("L", (side, side), 0)
    middle = side // 2
    mask.paste(255, (middle - half, middle - half, middle + half + 1, middle + half + 1))
    return mask


def make_point(side: int, at: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", (side, side), 0)
    mask.putpixel(at, 255)
    return mask


def true_distance(mask: Image.Image) -> np.ndarray:
    """Distance to the nearest white pixel, by trying them all."""
    white = np.argwhere(np.asarray(mask) == 255)
    every = np.indices((mask.height, mask.width)).transpose(1, 2, 0)
    return np.sqrt(((every[:, :, None] - white) ** 2).sum(-1)).min(-1)


def test_a_mask_that_nothing_is_asked_of_stays_as_it_is():
    mask = make_square()
    assert make_mask(mask, False, 0, 0).tobytes() == mask.tobytes()


def test_the_given_mask_is_not_changed():
    mask = make_square()
    before = mask.tobytes()
    make_mask(mask, False, 7, 3)
    assert mask.tobytes() == before


def test_inverting_swaps_what_is_redrawn():
    mask = np.asarray(make_mask(make_square(), True, 0, 0))
    assert (mask[50, 50], mask[0, 0]) == (0, 255)


@pytest.mark.parametrize("grow", [1, 2, 7, 30])
def test_growing_reaches_so_many_pixels_in_every_direction(grow: int):
    square = make_square()
    distance = true_distance(square)
    grown = np.asarray(make_mask(square, False, grow, 0))
    assert set(np.unique(grown)) == {0, 255}
    assert (grown[distance <= grow * 0.97] == 255).all()
    assert (grown[distance > grow * 1.03] == 0).all()
    assert grown[50, 55 + grow] == 255
    assert grown[50, 55 + grow + 1] == 0


def test_a_grown_point_is_round():
    grown = np.asarray(make_mask(make_point(301, (150, 150)), False, 100, 0)) == 255
    assert grown.sum() == pytest.approx(np.pi * 100**2, rel=0.03)


def test_a_grown_mask_does_not_depend_on_how_the_picture_lies():
    mask = Image.new("L", (150, 60), 0)
    mask.paste(255, (10, 20, 15, 50))
    turned = mask.transpose(Image.Transpose.TRANSPOSE)
    result = make_mask(turned, False, 9, 9).transpose(Image.Transpose.TRANSPOSE)
    assert result.tobytes() == make_mask(mask, False, 9, 9).tobytes()


@pytest.mark.parametrize(("grow", "feather"), [(0, 4), (0, 20), (6, 10)])
def test_the_soft_edge_lies_outside_and_ends_where_it_says(grow: int, feather: int):
    square = make_square()
    distance = true_distance(square)
    soft = np.asarray(make_mask(square, False, grow, feather)).astype(int)
    assert (soft[distance <= grow * 0.97] == 255).all()
    assert (soft[distance >= (grow + feather) * 1.03] == 0).all()
    outward = soft[50, 55 + grow : 55 + grow + feather + 1]
    assert (np.diff(outward) < 0).all()
    assert (outward[0], outward[-1]) == (255, 0)
    assert outward[feather // 2] == pytest.approx(128, abs=2)


def test_greys_stay_soft_when_nothing_is_asked():
    mask = make_square()
    mask.paste(100, (0, 0, 10, 10))
    assert make_mask(mask, False, 0, 0).getpixel((5, 5)) == 100
    assert make_mask(mask, False, 2, 2).getpixel((5, 5)) == 100


def test_the_noise_of_a_jpeg_is_black_or_white():
    noise = np.random.default_rng(0).integers(0, 12, (101, 101))
    mask = np.abs(np.asarray(make_square()).astype(int) - noise).astype(np.uint8)
    assert make_mask(Image.fromarray(mask), False, 0, 0).tobytes() == make_square().tobytes()


@pytest.mark.parametrize("at", [(0, 0), (63, 0), (0, 63), (63, 63)])
def test_a_mask_at_the_border_grows_inward(at: tuple[int, int]):
    grown = np.asarray(make_mask(make_point(64, at), False, 10, 5))
    assert grown[at[1], at[0]] == 255
    assert (grown > 0).sum() == pytest.approx(np.pi * 15**2 / 4, rel=0.25)


@pytest.mark.parametrize("value", [0, 10, 100])
def test_a_mask_without_white_is_refused_with_what_to_do(value: int):
    with pytest.raises(InvalidRequest) as caught:
        make_mask(Image.new("L", (32, 32), value), False, 8, 8)
    assert str(caught.value) == (
        "mask_image must be white where the picture is to be redrawn, got a mask without white"
    )
    assert caught.value.field == "mask_image"


def test_a_white_mask_that_is_inverted_is_refused_for_that_reason():
    with pytest.raises(InvalidRequest, match="because invert_mask is on, got a mask without black"):
        make_mask(Image.new("L", (32, 32), 255), True, 0, 0)


def test_the_widest_edge_of_a_large_mask_takes_no_longer_than_a_step():
    mask = Image.new("L", (2048, 2048), 0)
    mask.paste(255, (900, 900, 1100, 1100))
    started = time.process_time()
    make_mask(mask, False, 256, 256)
    assert time.process_time() - started < 3  # 0.3 s here; trying each of 512 pixels in turn took minutes
