"""Uploads: what is accepted, as which pixels, and the sentence for what is not."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.media.decode import MAX_FILE_BYTES, load_mask, load_picture
from pipelines.schema.errors import PictureError

SIZE = (48, 32)


def make_picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture whose four corners differ, so that no turn or flip goes unseen."""
    width, height = size
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([red, green, np.full_like(red, 40)]).astype(np.uint8))


def write(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def make_bomb(path: Path, width: int, height: int) -> Path:
    """A sound PNG of one bit a pixel, all black: hundreds of megapixels in a few hundred kilobytes or less."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


def refusal(path: Path, field: str = "image") -> PictureError:
    with pytest.raises(PictureError) as caught:
        load_picture(path, field)
    assert caught.value.field == field
    assert str(path.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_each_accepted_format_is_read_whatever_the_file_is_called(tmp_path: Path, file_format: str):
    path = write(tmp_path / "upload.txt", make_picture(), format=file_format)
    picture = load_picture(path, "image")
    assert (picture.mode, picture.size) == ("RGB", SIZE)
    difference = np.abs(np.asarray(picture, dtype=int) - np.asarray(make_picture(), dtype=int))
    assert difference.mean() < (0.01 if file_format == "PNG" else 6)


def test_a_phones_jpeg_of_several_frames_shows_its_first(tmp_path: Path):
    path = write(
        tmp_path / "phone.jpg", make_picture(), format="MPO", save_all=True, append_images=[Image.new("RGB", SIZE)]
    )
    assert np.asarray(load_picture(path, "image")).mean() > 60


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "PPM", "EPS"])
def test_another_format_is_refused_even_when_its_name_says_png(tmp_path: Path, file_format: str):
    path = write(tmp_path / "upload.png", make_picture(), format=file_format)
    assert str(refusal(path)) == "image must be a PNG, JPEG or WebP picture, got 'upload.png'"


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file\n" * 20, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "upload.png"
    path.write_bytes(content)
    assert refusal(path).rule == "must be a PNG, JPEG or WebP picture"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_cut_short_is_refused(tmp_path: Path, file_format: str, share: float):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "cut", Image.fromarray(noise), format=file_format)
    whole = path.read_bytes()
    load_picture(path, "image")
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "must be a" in refusal(path).rule


def test_a_damaged_png_is_refused(tmp_path: Path):
    path = write(tmp_path / "damaged.png", make_picture())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = b"\xff" * 20
    path.write_bytes(content)
    assert refusal(path).rule == "must be a whole picture, not cut short or damaged"


@pytest.mark.parametrize("name", ["missing.png", ".", "a" * 5000, "zero\0byte.png"])
def test_what_is_no_readable_file_is_refused(tmp_path: Path, name: str):
    assert refusal(tmp_path / name).rule == "must be a file that exists and can be read"


def test_a_device_is_refused():
    with pytest.raises(PictureError, match="must be a file that exists"):
        load_picture(Path("/dev/zero"), "image")


def test_a_file_of_too_many_bytes_is_refused_unread(tmp_path: Path):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 2**20)
    assert str(refusal(path)) == "image must be a file of at most 32 MB, got 33.0 MB"


@pytest.mark.parametrize("size", [(15, 40), (40, 15), (1, 1)])
def test_a_picture_of_too_few_pixels_is_refused(tmp_path: Path, size: tuple[int, int]):
    path = write(tmp_path / "small.png", Image.new("RGB", size))
    assert str(refusal(path)) == f"image must be at least 16 pixels wide and high, got {size[0]}x{size[1]}"


def test_the_smallest_picture_is_accepted(tmp_path: Path):
    assert load_picture(write(tmp_path / "small.png", Image.new("RGB", (16, 16))), "image").size == (16, 16)


def test_a_picture_just_over_the_limit_of_pixels_is_refused_with_its_size(tmp_path: Path):
    path = make_bomb(tmp_path / "large.png", 8000, 5001)
    assert str(refusal(path)) == "image must have at most 40 megapixels, got 8000x5001"


@pytest.mark.parametrize("side", [13300, 20000])
def test_a_bomb_is_refused_when_warnings_are_errors(tmp_path: Path, side: int):
    assert refusal(make_bomb(tmp_path / "bomb.png", side, side)).rule == "must have at most 40 megapixels"


def test_a_bomb_is_refused_without_memory(tmp_path: Path):
    """In a process of its own, as a host runs it: warnings are no errors there, and memory is measured."""
    path = make_bomb(tmp_path / "bomb.png", 13300, 13300)
    code = f"""
import resource, sys
from pathlib import Path
from pipelines.media.decode import load_picture
from pipelines.schema.errors import PictureError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_picture(Path({str(path)!r}), "image")
except PictureError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    sentence, grown_megabytes = done.stdout.splitlines()
    assert sentence == "image must have at most 40 megapixels, got 13300x13300"
    assert int(grown_megabytes) < 10  # decoded, its one-byte pixels alone would take 169


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_stands_upright(tmp_path: Path, orientation: int):
    turns = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    upright = np.asarray(make_picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    path = write(tmp_path / "photo.png", stored, exif=exif)
    assert np.array_equal(np.asarray(load_picture(path, "image")), upright)


def test_a_damaged_exif_does_not_cost_the_picture(tmp_path: Path):
    path = write(tmp_path / "photo.jpg", make_picture(), exif=b"Exif\0\0not a directory at all")
    assert load_picture(path, "image").size == SIZE


def test_nothing_but_pixels_is_taken_over(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F] = "a camera's maker"
    path = write(tmp_path / "photo.jpg", make_picture(), exif=exif, comment=b"home address", dpi=(300, 300))
    with Image.open(path) as stored:
        assert stored.info
    assert load_picture(path, "image").info == {}


def test_sixteen_bits_keep_their_greys(tmp_path: Path):
    greys = np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype(np.uint16)
    path = write(tmp_path / "deep.png", Image.fromarray(greys))
    shown = np.asarray(load_picture(path, "image")).astype(int)
    assert np.abs(shown - (greys / 257)[..., None]).max() <= 1
    assert np.abs(np.asarray(load_mask(path, "mask_image", SIZE)).astype(int) - greys / 257).max() <= 1


@pytest.mark.parametrize(("mode", "file_format"), [("P", "PNG"), ("1", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG")])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, file_format: str):
    path = write(tmp_path / "upload", make_picture().convert(mode), format=file_format)
    picture = np.asarray(load_picture(path, "image").convert("L"), dtype=float)
    assert picture[:, -8:].mean() > picture[:, :8].mean() + 30  # the ramp from left to right is still there


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_stands_on_white(tmp_path: Path, mode: str):
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 24, 32))
    path = write(tmp_path / "cutout.png", image.convert(mode))
    picture = load_picture(path, "image")
    assert picture.getpixel((5, 5)) == (0, 0, 0)
    assert picture.getpixel((40, 5)) == (255, 255, 255)


def test_a_transparent_palette_colour_stands_on_white(tmp_path: Path):
    image = Image.new("P", SIZE, 1)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(0, (0, 0, 24, 32))
    path = write(tmp_path / "palette.png", image, transparency=1)
    picture = load_picture(path, "image")
    assert picture.getpixel((5, 5)) == (200, 0, 0)
    assert picture.getpixel((40, 5)) == (255, 255, 255)


def test_a_mask_is_its_luminance_times_its_alpha(tmp_path: Path):
    image = Image.new("RGBA", SIZE, (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 10, 32))
    image.paste((255, 255, 255, 128), (10, 0, 20, 32))
    image.paste((0, 0, 0, 255), (20, 0, 30, 32))
    mask = load_mask(write(tmp_path / "mask.png", image), "mask_image", SIZE)
    assert mask.mode == "L"
    assert [mask.getpixel((x, 5)) for x in (5, 15, 25, 40)] == [255, 128, 0, 0]


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path):
    path = write(tmp_path / "mask.png", Image.new("L", (512, 512)))
    with pytest.raises(PictureError) as caught:
        load_mask(path, "mask_image", (640, 480))
    assert str(caught.value) == "mask_image must have the picture's size 640x480, got 512x512"
    assert caught.value.value == "512x512"


def test_the_picture_outlives_its_file(tmp_path: Path):
    path = write(tmp_path / "upload.png", make_picture())
    picture = load_picture(path, "image")
    path.unlink()
    assert picture.getpixel((47, 31)) == (255, 255, 40)
