"""The promise of inpainting: the upload's size, its bytes where nothing was masked, the drawn picture where it was."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.media.mask import make_mask
from pipelines.media.region import make_region

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIDES = st.integers(16, 150)
WORKING_SIDES = st.integers(1, 16).map(lambda n: n * 8)
AREAS = st.sampled_from(["whole", "masked"])


def make_noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def make_box_mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    return mask


@st.composite
def uploads_with_masks(draw: st.DrawFn) -> tuple[Image.Image, Image.Image]:
    """An upload of any shape, and a mask of one or two boxes, grown and feathered like a visitor's."""
    width, height = draw(SIDES), draw(SIDES)
    mask = Image.new("L", (width, height), 0)
    for _ in range(draw(st.integers(1, 2))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        mask.paste(255, (left, top, right, bottom))
    mask = make_mask(mask, False, draw(st.integers(0, 5)), draw(st.integers(0, 9)))
    return make_noise(width, height, seed=draw(st.integers(0, 9))), mask


@QUICK
@given(uploads_with_masks(), WORKING_SIDES, WORKING_SIDES, AREAS, st.integers(0, 64))
def test_what_is_not_masked_stays_byte_for_byte_and_the_size_is_the_uploads(pair, width, height, area, padding):
    upload, mask = pair
    before = np.asarray(upload).copy()
    region = make_region(upload.size, mask, width, height, area, padding)
    drawn = Image.new("RGB", (width, height), (1, 2, 3))
    result = region.paste(upload, drawn, mask)
    kept = np.asarray(mask) == 0
    assert result.size == upload.size
    assert np.array_equal(np.asarray(result)[kept], before[kept])
    assert (np.asarray(result)[np.asarray(mask) == 255] == (1, 2, 3)).all()
    assert np.array_equal(np.asarray(upload), before)


@QUICK
@given(uploads_with_masks(), WORKING_SIDES, WORKING_SIDES, AREAS, st.integers(0, 64))
def test_the_region_holds_the_mask_inside_the_upload_at_the_working_aspect(pair, width, height, area, padding):
    upload, mask = pair
    region = make_region(upload.size, mask, width, height, area, padding)
    left, top, right, bottom = region.source
    painted = mask.getbbox()
    assert painted is not None
    assert 0 <= left <= painted[0] < painted[2] <= right <= upload.width
    assert 0 <= top <= painted[1] < painted[3] <= bottom <= upload.height
    assert 0 <= region.place[0] < region.place[2] <= width
    assert 0 <= region.place[1] < region.place[3] <= height
    assert region.crop(upload).size == region.crop_mask(mask).size == (width, height)
    if (region.place[2] - region.place[0], region.place[3] - region.place[1]) == (width, height):
        box_width, box_height = right - left, bottom - top
        one_working_pixel = max(1, box_width / width, box_height / height)  # in pixels of the upload
        assert abs(box_width * height / width - box_height) <= max(1, height / width) * one_working_pixel


@pytest.mark.parametrize("area", ["whole", "masked"])
def test_an_upload_of_the_working_size_is_not_resampled(area):
    upload = make_noise(64, 48)
    mask = make_box_mask((64, 48), (0, 0, 64, 48) if area == "masked" else (8, 8, 24, 24))
    region = make_region(upload.size, mask, 64, 48, area, 0)
    assert region.crop(upload).tobytes() == upload.tobytes()
    assert region.crop_mask(mask).tobytes() == mask.tobytes()
    drawn = make_noise(64, 48, seed=1)
    everywhere = Image.new("L", (64, 48), 255)
    assert region.paste(upload, drawn, everywhere).tobytes() == drawn.tobytes()


def test_a_masked_area_of_the_working_size_is_not_resampled():
    upload = make_noise(200, 150)
    mask = make_box_mask(upload.size, (60, 50, 124, 98))
    region = make_region(upload.size, mask, 64, 48, "masked", 0)
    assert region.source == (60, 50, 124, 98)
    assert region.crop(upload).tobytes() == upload.crop((60, 50, 124, 98)).tobytes()


def test_the_whole_of_a_wide_upload_is_extended_above_and_below():
    upload = make_noise(64, 32)
    mask = make_box_mask(upload.size, (0, 0, 64, 32))
    region = make_region(upload.size, mask, 64, 64, "whole", 0)
    working = np.asarray(region.crop(upload))
    assert np.array_equal(working[16:48], np.asarray(upload))
    assert np.array_equal(working[:16], np.broadcast_to(working[16], (16, 64, 3)))
    assert np.array_equal(working[48:], np.broadcast_to(working[47], (16, 64, 3)))
    working_mask = np.asarray(region.crop_mask(mask))
    assert (working_mask[16:48] == 255).all()
    assert (working_mask[:16] == 0).all()
    assert (working_mask[48:] == 0).all()


def test_the_masked_area_is_centred_with_its_padding_and_the_aspect():
    mask = make_box_mask((400, 400), (100, 200, 120, 220))
    region = make_region((400, 400), mask, 128, 64, "masked", 10)
    assert region.source == (70, 190, 150, 230)  # 40 high with the padding, so 80 wide, around (110, 210)


@pytest.mark.parametrize(
    ("box", "corner"), [((0, 0, 10, 10), (0, 0)), ((390, 390, 400, 400), (320, 360)), ((0, 390, 10, 400), (0, 360))]
)
def test_a_masked_area_at_the_border_is_moved_inside(box, corner):
    region = make_region((400, 400), make_box_mask((400, 400), box), 128, 64, "masked", 30)
    left, top, right, bottom = region.source
    assert (left, top) == corner
    assert (right - left, bottom - top) == (80, 40)
    assert region.place == (0, 0, 128, 64)


def test_a_masked_area_wider_than_the_upload_is_extended():
    upload = make_noise(40, 200)
    region = make_region(upload.size, make_box_mask(upload.size, (0, 50, 40, 150)), 64, 32, "masked", 0)
    assert region.source == (0, 50, 40, 150)
    left, _, right, _ = region.place
    assert (left, right) == (26, 38)  # 40 of 200 pixels, in the middle of 64


@pytest.mark.parametrize("size", [(500, 300), (300, 500), (123, 77)])
@pytest.mark.parametrize("area", ["whole", "masked"])
def test_what_is_drawn_comes_back_where_it_was_taken_from(size: tuple[int, int], area):
    """A smooth upload that goes to the working size and back stays itself: nothing is shifted."""
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    upload = Image.fromarray(np.dstack([across, down, across]).astype(np.uint8))
    mask = make_box_mask(size, (20, 20, 70, 60))
    region = make_region(size, mask, 256, 256, area, 8)
    result = region.paste(upload, region.crop(upload), mask)
    difference = np.abs(np.asarray(result, dtype=int) - np.asarray(upload, dtype=int))
    assert difference.max() <= 8
    assert difference.mean() < 1


def test_a_soft_edge_blends_the_drawn_picture_over_the_upload():
    upload, drawn = Image.new("RGB", (64, 64), (0, 0, 0)), Image.new("RGB", (64, 64), (200, 200, 200))
    mask = make_mask(make_box_mask((64, 64), (0, 0, 20, 64)), False, 0, 10)
    row = np.asarray(make_region((64, 64), mask, 64, 64, "whole", 0).paste(upload, drawn, mask))[32, :, 0].astype(int)
    assert (row[:20] == 200).all()
    assert (np.diff(row[19:30]) < 0).all()
    assert (row[29:] == 0).all()


def test_a_thread_of_an_upload_takes_no_square_of_its_length():
    """16 x 200000 pixels, drawn whole: laid out at the upload's scale it would be 40 gigapixels."""
    upload = Image.new("RGB", (16, 200_000), (9, 9, 9))
    mask = make_box_mask(upload.size, (0, 1000, 16, 2000))
    region = make_region(upload.size, mask, 64, 64, "whole", 0)
    assert region.crop(upload).size == (64, 64)
    result = region.paste(upload, Image.new("RGB", (64, 64), (200, 0, 0)), mask)
    assert result.getpixel((8, 1500)) == (200, 0, 0)
    assert result.getpixel((8, 2500)) == (9, 9, 9)


def test_a_picture_of_another_size_is_not_pasted():
    mask = make_box_mask((64, 64), (0, 0, 8, 8))
    region = make_region((64, 64), mask, 32, 32, "whole", 0)
    with pytest.raises(ValueError, match="size"):
        region.paste(make_noise(64, 64), make_noise(40, 40), mask)


def test_a_black_mask_has_no_masked_area():
    with pytest.raises(ValueError, match="black all over"):
        make_region((64, 64), Image.new("L", (64, 64)), 32, 32, "masked", 0)
