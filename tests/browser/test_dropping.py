"""Files and texts of settings that are dropped on the page or pasted into the prompt, and what the visitor is told."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from pipelines.media.metadata import make_text_chunks
from pipelines.schema.requests import TextToImageRequest, make_request
from tests.browser.test_keeping import Server, come_to, prompt_of, told, undo
from tests.browser.test_studio import visible
from tests.media.samples import COMFYUI_PLAIN, FOOOCUS_JSON

KINDS = {".png": "image/png", ".txt": "text/plain"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Server(tmp_path_factory.mktemp("dropping"))
    try:
        server.start()
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    come_to(page, address)
    yield page
    context.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a picture of ours, one without settings, and a text."""
    request = make_request(TextToImageRequest, {"prompt": "a heron", "vae": "lost", "width": 64, "height": 64})
    Image.new("RGB", (64, 64)).save(tmp_path / "heron.png", pnginfo=make_text_chunks(request, seed=7, model="demo"))
    Image.new("RGB", (64, 64)).save(tmp_path / "bare.png")
    (tmp_path / "notes.txt").write_text("a fox", encoding="utf-8")
    return tmp_path


def drop(page: Page, *files: Path) -> None:
    given = [(file.name, KINDS[file.suffix], base64.b64encode(file.read_bytes()).decode()) for file in files]
    transfer = page.evaluate_handle(
        """(given) => {
            const transfer = new DataTransfer();
            for (const [name, type, data] of given) {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type }));
            }
            return transfer;
        }""",
        given,
    )
    page.dispatch_event(".stage:visible", "drop", {"dataTransfer": transfer})


def paste(page: Page, text: str) -> None:
    prompt_of(page).focus()
    page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+V")


def note_of(page: Page) -> Locator:
    return visible(page, ".restored-note")


def test_a_message_says_what_was_read_and_leads_to_the_list_and_back(page: Page, files: Path) -> None:
    prompt_of(page).fill("mine")
    drop(page, files / "heron.png")
    expect(prompt_of(page)).to_have_value("a heron")
    expect(told(page)).to_contain_text("Read from SDXL Studio")
    expect(told(page)).to_contain_text("Not taken over: 1.")
    expect(prompt_of(page)).to_be_in_viewport()
    told(page).get_by_role("button", name="Show the list").click()
    expect(note_of(page)).to_contain_text("VAE: lost is not in this studio")
    expect(note_of(page)).to_be_in_viewport()
    expect(told(page)).to_have_count(0)
    drop(page, files / "bare.png")
    expect(told(page)).to_contain_text("file must hold settings")
    expect(told(page).get_by_role("button", name="Undo")).to_have_count(0)
    visible(page, ".restored-undo").click()
    expect(prompt_of(page)).to_have_value("mine")
    drop(page, files / "heron.png")
    expect(prompt_of(page)).to_have_value("a heron")
    undo(page)
    expect(prompt_of(page)).to_have_value("mine")


def test_no_dropped_file_is_passed_over_in_silence(page: Page, files: Path) -> None:
    drop(page, files / "notes.txt")
    expect(told(page)).to_have_text("Settings are read from PNG, JPEG and WebP files, not from notes.txt.×")
    drop(page, files / "notes.txt", files / "heron.png", files / "bare.png")
    expect(prompt_of(page)).to_have_value("a heron")
    expect(told(page)).to_contain_text("of these files only heron.png was read")
    drop(page, files / "heron.png")
    expect(told(page)).not_to_contain_text("of these files")


def test_json_is_read_where_it_is_pasted_if_it_holds_settings(page: Page) -> None:
    for text in ("{a|b} fox", '{"a": 1, "b": null}', "null", '{"prompt": "a fox"}'):
        paste(page, text)
        expect(prompt_of(page)).to_have_value(text)
    expect(told(page)).to_have_count(0)
    paste(page, json.dumps(FOOOCUS_JSON, indent=2))
    expect(prompt_of(page)).to_have_value("A sunflower field")
    paste(page, json.dumps(COMFYUI_PLAIN))
    expect(told(page)).to_contain_text("Read from ComfyUI")
    expect(prompt_of(page)).to_have_value(re.compile("^beautiful scenery nature"))
