"""What a visitor reads while a picture is on its way."""

from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from pipelines.schema.events import Loading, Notice, Queued, Result, Saving, Step
from pipelines.schema.requests import InpaintRequest, TextToImageRequest
from ui.i18n import load_words
from ui.progress import describe_event, describe_result, say_notice, share_done, show_canvas, show_status

STEP = Step(index=12, total=30, expert="base", steps_per_second=4.14, seconds_left=4.6)


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (Queued(2), "waiting, 2 before you"),
        (Queued(0), "starting"),
        (Loading("SDXL base", 0.624), "loading SDXL base, 62 %"),
        (Loading("SDXL base 1.0", 0.17, 1_200_000_000, 6_900_000_000), "downloading SDXL base 1.0 · 1.2 of 6.9 GB"),
        (Loading("TAESDXL", 0.5, 4_900_000, 9_800_000), "downloading TAESDXL · 5 of 10 MB"),
        (STEP, "step 12 of 30 · 4.1 it/s · 5 s left"),
        (Step(1, 4, "refiner", 0.0, 0.0), "refiner, step 1 of 4"),
        (Saving(), "decoding and saving"),
    ],
)
def test_an_event_is_a_sentence(event: object, sentence: str) -> None:
    assert describe_event(event, "en") == sentence


def test_the_line_is_as_long_as_what_is_done() -> None:
    assert share_done(STEP) == pytest.approx(0.4)
    assert 'aria-valuenow="40"' in show_status("x", share_done(STEP))


def test_the_line_of_a_download_is_its_share_of_bytes() -> None:
    assert share_done(Loading("SDXL", 0.9, 1, 4)) == pytest.approx(0.25)
    assert share_done(Loading("SDXL", 0.9)) == pytest.approx(0.9)


def test_facts_name_the_schedule_the_loras_and_the_steps_of_each_expert(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    request = TextToImageRequest.model_validate(
        {"scheduler": "dpmpp_2m", "sigmas": "karras", "loras": [{"name": "paper", "weight": 0.5}]}
    )
    facts = describe_result(Result((tmp_path / "a.png",), (7,), request, 1.0, {"base": 24, "refiner": 6}, "demo"), "en")
    for part in ("DPM++ 2M · Karras", "paper 0.5", "24 + 6 by the refiner"):
        assert part in facts


def test_every_notice_has_words_in_every_language() -> None:
    for language in load_words():
        assert all(say_notice(notice, language) for notice in get_args(Notice))


def test_a_wait_of_unknown_length_claims_no_share() -> None:
    assert share_done(Queued(3)) is None
    assert "aria-valuenow" not in show_status("waiting")


def test_the_line_has_a_name_and_the_fast_sentence_is_not_read_aloud() -> None:
    for share in (None, 0.4):
        assert 'role="progressbar" aria-label="step 12"' in show_status("step 12", share)
    assert 'aria-live="off"' in show_status("step 12", 0.4)
    assert "progressbar" not in show_status("Done in 3 s", kind="done")


def test_the_size_is_the_saved_files_own(tmp_path: Path) -> None:
    Image.new("RGB", (240, 200)).save(tmp_path / "a.png")
    request = InpaintRequest(image=Path("a.png"), mask_image=Path("b.png"), width=256, height=208)
    facts = describe_result(Result((tmp_path / "a.png",), (7,), request, 1.0, {"base": 4}, "demo"), "en")
    assert "240 × 200" in facts
    assert "256" not in facts


def test_a_prompt_in_a_sentence_is_no_html() -> None:
    assert "<script>" not in show_status("got '<script>'", kind="error")


def test_the_frame_has_the_final_shape_before_the_first_preview() -> None:
    assert "aspect-ratio: 256 / 192" in show_canvas(None, 256, 192, "en")
    assert "<img" not in show_canvas(None, 256, 192, "en")
    assert "data:image/jpeg;base64,YWI=" in show_canvas(b"ab", 256, 192, "en")
