"""Uploads and masks on their way to a request."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from pipelines.schema.errors import PictureError
from ui.painter import COLOUR, FOLDER, PREFIX, read_mask
from ui.pictures import read_picture, show_mask, start_painting

CLIENT: Any = SimpleNamespace(headers={})


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "picture.png"
    Image.new("RGB", (40, 24), "navy").save(path)
    return str(path)


def upload(path: object) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_an_upload_is_handed_on_unread(tmp_path: Path) -> None:
    bomb = tmp_path / "no picture.png"
    bomb.write_text("not a picture")
    assert read_picture(upload(bomb)) == str(bomb)
    assert read_picture(None) is None


def test_a_painted_mask_is_handed_on_unread() -> None:
    mask = read_mask({"picture": None, "mask": PREFIX + base64.b64encode(b"any bytes").decode()})
    assert Path(mask or "").read_bytes() == b"any bytes"


@pytest.mark.parametrize("value", [None, {}, {"mask": None}, {"mask": ""}, "mask"])
def test_nothing_painted_is_no_mask(value: Any) -> None:
    assert read_mask(value) is None


@pytest.mark.parametrize("mask", ["/etc/passwd", "data:text/html;base64,aGk=", PREFIX + "%%%", 5, {"path": "a"}])
def test_what_no_painter_sends_is_refused(mask: Any) -> None:
    with pytest.raises(PictureError, match=r"^mask_image must be a PNG picture, got "):
        read_mask({"mask": mask})


def test_an_uploaded_mask_is_shown_as_paint_of_the_same_strength(tmp_path: Path, picture: str) -> None:
    grey = Image.new("L", (40, 24), 0)
    grey.paste(77, (3, 3, 9, 9))
    grey.save(tmp_path / "mask.png")
    shown = show_mask(CLIENT, upload(tmp_path / "mask.png"), upload(picture))
    assert shown["picture"]["path"] == picture
    with Image.open(shown["paint"]["path"]) as paint:
        assert np.array_equal(np.asarray(paint)[..., 3], np.asarray(grey))


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path, picture: str) -> None:
    Image.new("L", (32, 32)).save(tmp_path / "mask.png")
    with pytest.raises(gr.Error, match=r"mask_image must .*40x24.*32x32"):
        show_mask(CLIENT, upload(tmp_path / "mask.png"), upload(picture))


def test_a_picture_opens_the_brush_and_none_closes_it(picture: str) -> None:
    empty, painting, painter = start_painting(CLIENT, upload(picture))
    assert (empty["visible"], painting["visible"]) == (False, True)
    assert (painter["picture"], painter["paint"], painter["mask"]) == (upload(picture), None, None)
    assert painter["titles"]["undo"] == "Undo"
    empty, painting, painter = start_painting(CLIENT, None)
    assert (empty["visible"], painting["visible"], painter["picture"]) == (True, False, None)


def test_server_and_browser_paint_in_the_same_colour() -> None:
    assert f'"{COLOUR}"' in (FOLDER / "painter.js").read_text(encoding="utf-8")
