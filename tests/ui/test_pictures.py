"""Uploads and masks on their way to a request."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from pipelines.schema.errors import PictureError
from tests.ui.fake_manager import FakeManager
from ui.headers import read_size
from ui.layout import build_app
from ui.painter import CANVAS_PIXELS, COLOUR, FOLDER, MAX_CHARACTERS, NO_MEMORY, PREFIX, read_mask
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


def test_a_mask_too_large_is_refused_before_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.painter.save_bytes_to_cache", lambda *_: pytest.fail("it was stored"))
    with pytest.raises(PictureError, match=r"^mask_image must be a file of at most 32 MB, got "):
        read_mask({"mask": PREFIX + "A" * MAX_CHARACTERS})


def test_a_browser_without_memory_for_the_mask_is_told_what_to_do() -> None:
    with pytest.raises(PictureError, match="must be painted on a smaller picture"):
        read_mask({"mask": NO_MEMORY})


def painted(mask: Image.Image, picture: str) -> dict[str, Any]:
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return {"picture": upload(picture), "mask": PREFIX + base64.b64encode(buffer.getvalue()).decode()}


def test_a_mask_painted_smaller_is_enlarged_to_a_picture_no_canvas_holds(
    picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Image.new("L", (20, 16))
    small.paste(255, (5, 4, 10, 8))
    monkeypatch.setattr("ui.painter.CANVAS_PIXELS", 500)
    with Image.open(read_mask(painted(small, picture)) or "") as mask:
        assert mask.size == (40, 24)
        assert mask.getbbox() == (10, 6, 20, 12)
        assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_a_mask_of_another_size_over_a_common_picture_is_left_to_the_engine(picture: str) -> None:
    with Image.open(read_mask(painted(Image.new("L", (20, 16)), picture)) or "") as mask:
        assert mask.size == (20, 16)


def test_server_and_browser_know_the_same_largest_canvas() -> None:
    assert f"MOST_PIXELS = {CANVAS_PIXELS:_};" in (FOLDER / "painter.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_size_is_read_from_the_header_as_the_picture_is_seen(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned.{suffix}"
    Image.effect_noise((400, 240), 50).save(path, exif=exif)
    path.write_bytes(path.read_bytes()[:2000])
    assert read_size(path, "image") == (240, 400)


def test_a_mask_upload_never_decodes_the_picture_below_it(tmp_path: Path) -> None:
    Image.effect_noise((400, 240), 50).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").write_bytes((tmp_path / "picture.png").read_bytes()[:2000])
    Image.new("L", (400, 240)).save(tmp_path / "mask.png")
    assert show_mask(CLIENT, upload(tmp_path / "mask.png"), upload(tmp_path / "picture.png"))["paint"]


def test_only_two_mask_uploads_are_decoded_at_once(manager: FakeManager) -> None:
    (shown,) = [fn for fn in build_app(manager).fns.values() if fn.fn is show_mask]
    assert (shown.queue, shown.concurrency_limit) == (True, 2)


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
