"""The same API over the embedded model: real pictures, and uploads that are none."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from pipelines.manager import PipelineManager
from pipelines.schema.settings import Settings
from tests.api.conftest import Studio, serve

PROMPT = "a fox on a blue background"


def pixels_of(file: Path | str) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("outputs")
    yield from serve(PipelineManager(Settings(model="demo", device="cpu", dtype="float32", output_dir=folder)))


@pytest.fixture(scope="module")
def fox(demo: Studio) -> Path:
    files, info = demo.client.predict(prompt=PROMPT, seed=1, num_inference_steps=12, api_name="/text_to_image")
    assert info["request"]["width"] == 256
    return Path(files[0])


def test_a_fox_is_orange_on_blue(fox: Path) -> None:
    pixels = pixels_of(fox)
    border = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), axis=0)
    assert border[2] > border[0] + 40
    middle = np.median(pixels[96:160, 96:160].reshape(-1, 3), axis=0)
    assert middle[0] > middle[2] + 40


def test_a_seed_draws_the_same_picture_again(demo: Studio, fox: Path) -> None:
    files, info = demo.client.predict(prompt=PROMPT, seed=1, num_inference_steps=12, api_name="/text_to_image")
    assert np.array_equal(pixels_of(files[0]), pixels_of(fox))
    assert info["seeds"] == [1]


def test_image_to_image_and_refine_answer(demo: Studio, fox: Path) -> None:
    for task in ("image_to_image", "refine"):
        files, info = demo.client.predict(
            image=handle_file(fox), prompt=PROMPT, num_inference_steps=4, strength=0.5, api_name=f"/{task}"
        )
        assert pixels_of(files[0]).shape == (256, 256, 3)
        assert sum(info["steps"].values()) == 2


def test_inpainting_keeps_every_pixel_outside_the_mask(demo: Studio, fox: Path, tmp_path: Path) -> None:
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (96, 96, 160, 160))
    mask.save(tmp_path / "mask.png")
    files, _ = demo.client.predict(
        image=handle_file(fox), mask_image=handle_file(tmp_path / "mask.png"), prompt="a cat on a blue background",
        num_inference_steps=4, api_name="/inpaint",
    )  # fmt: skip
    before, after = pixels_of(fox), pixels_of(files[0])
    changed = (before != after).any(axis=-1)
    assert changed[110:146, 110:146].mean() > 0.5
    changed[80:176, 80:176] = False
    assert not changed.any()


def write_png(path: Path, width: int, height: int) -> None:
    """A small file that claims to be a huge black picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width // 8 + 2) * height), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_what_is_no_picture_is_answered_with_a_sentence(demo: Studio, fox: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(fox.read_bytes()[:5000])
    write_png(tmp_path / "huge.png", 13300, 13300)
    for name in ("text.png", "empty.png", "cut.png", "huge.png"):
        with pytest.raises(AppError, match=r"^image must ") as refused:
            demo.client.predict(image=handle_file(tmp_path / name), prompt=PROMPT, api_name="/image_to_image")
        assert "/" not in str(refused.value)
    assert demo.client.predict(prompt=PROMPT, num_inference_steps=1, api_name="/text_to_image")


def test_a_mask_of_another_size_is_answered_with_both_sizes(demo: Studio, fox: Path, tmp_path: Path) -> None:
    Image.new("L", (128, 128), 255).save(tmp_path / "mask.png")
    with pytest.raises(AppError, match=r"mask_image must .*256x256.*128x128"):
        demo.client.predict(
            image=handle_file(fox), mask_image=handle_file(tmp_path / "mask.png"), prompt=PROMPT, api_name="/inpaint"
        )
