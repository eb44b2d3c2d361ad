"""Pictures become files: whole ones, with their request inside and names that nobody can guess."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.media import save
from pipelines.media.metadata import read_settings
from pipelines.media.save import Caption, save_pictures
from pipelines.schema.errors import RunError
from pipelines.schema.requests import TextToImageRequest

REQUESTS = tuple(TextToImageRequest(prompt=f"a fox, number {seed}", seed=seed) for seed in (5, 6))
CAPTION = Caption("demo")


def make_pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (count, 24, 16, 3), dtype=np.uint8)
    return [Image.fromarray(picture) for picture in noise]


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_each_picture_is_a_png_of_its_own_pixels_and_request(tmp_path: Path):
    pictures = make_pictures(2)
    files = save_pictures(pictures, REQUESTS, CAPTION, tmp_path)
    assert len(files) == 2
    for file, picture, request in zip(files, pictures, REQUESTS, strict=True):
        with Image.open(file) as saved:
            assert saved.format == "PNG"
            assert saved.tobytes() == picture.tobytes()
        settings = read_settings(file)
        assert (settings["request"]["prompt"], settings["request"]["seed"]) == (request.prompt, request.seed)
        assert settings["model"] == "demo"


def test_files_stand_in_a_folder_of_the_day_under_names_that_cannot_be_guessed(tmp_path: Path):
    output = tmp_path / "not" / "there yet"
    files = save_pictures(make_pictures(2), REQUESTS[:1] * 2, CAPTION, output)
    randoms = set()
    for file in files:
        assert file.parent.parent == output
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", file.parent.name)
        name = re.fullmatch(r"\d{6}-5-([0-9a-f]{16})\.png", file.name)
        assert name is not None
        randoms.add(name[1])
    assert len(randoms) == 2
    assert sorted(all_files(output)) == sorted(files)


def test_pictures_and_requests_must_be_as_many(tmp_path: Path):
    with pytest.raises(ValueError, match="shorter"):
        save_pictures(make_pictures(2), REQUESTS[:1], CAPTION, tmp_path)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "disk is full: make room in the output folder"),
        (errno.EDQUOT, "disk is full: make room in the output folder"),
        (errno.EROFS, "cannot be written: allow it, or start the studio with another --output-dir"),
        (errno.EIO, r"\(Input/output error\): check the output folder"),
    ],
)
def test_a_disk_that_fails_midway_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
):
    def fail(image: Image.Image, path: Path, **_) -> None:
        path.write_bytes(b"half a pict")
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(RunError, match=advice) as caught:
        save_pictures(make_pictures(1), REQUESTS[:1], CAPTION, tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert all_files(tmp_path) == []


def test_a_name_is_seen_only_when_its_file_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moved = []

    def replace(unfinished: Path, file: Path) -> None:
        assert not file.exists()
        with Image.open(unfinished) as image:
            image.load()
        moved.append(file)
        unfinished.rename(file)

    monkeypatch.setattr(save.os, "replace", replace)
    assert save_pictures(make_pictures(2), REQUESTS, CAPTION, tmp_path) == tuple(moved)


def test_an_output_folder_that_is_a_file_is_a_sentence(tmp_path: Path):
    blocked = tmp_path / "outputs"
    blocked.write_text("not a folder")
    with pytest.raises(RunError, match="another --output-dir"):
        save_pictures(make_pictures(1), REQUESTS[:1], CAPTION, blocked)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path):
    locked = tmp_path / "outputs"
    locked.mkdir(mode=0o500)
    with pytest.raises(RunError, match="another --output-dir"):
        save_pictures(make_pictures(1), REQUESTS[:1], CAPTION, locked)
