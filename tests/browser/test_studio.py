"""What a visitor does: draw in each tab, paint, stop, pass pictures on, make mistakes, come back."""

import io
import re
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

PROMPT = "a fox on a blue background"


def open_tab(page: Page, title: str) -> None:
    page.get_by_role("tab", name=title, exact=True).click()
    expect(page.get_by_role("tab", name=title, exact=True)).to_have_attribute("aria-selected", "true")
    expect(visible(page, ".prompt textarea")).to_be_visible()


def visible(page: Page, selector: str) -> Locator:
    """The one of the four tabs' elements that is on screen."""
    return page.locator(selector).locator("visible=true").first


def set_steps(page: Page, steps: int) -> None:
    page.wait_for_timeout(400)  # a section that was left open opens by itself just after its tab
    if not visible(page, ".section-sampling input[type=number]").is_visible():
        visible(page, ".section-sampling > .label-wrap").click()
    box = visible(page, ".section-sampling input[type=number]")
    box.fill(str(steps))
    box.press("Tab")


def generate(page: Page, prompt: str = PROMPT, steps: int = 6) -> np.ndarray:
    """Draws and returns the picture that the page shows."""
    visible(page, ".prompt textarea").fill(prompt)
    set_steps(page, steps)
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    return shown_picture(page)


def shown_picture(page: Page) -> np.ndarray:
    """The pixels of the file behind the picture on the stage."""
    image = visible(page, ".result [data-testid=detailed-image]")
    expect(image).to_be_visible()
    with urllib.request.urlopen(image.get_attribute("src") or "", timeout=10) as answer:
        data = answer.read()
    assert data.startswith(b"\x89PNG"), "the saved file is shown, not a copy in another format"
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def put_in(page: Page, picture: Path) -> None:
    page.locator(".picture-input:visible input[type=file]").set_input_files(picture)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    """A picture whose every row and column differs, as an upload of a size that is no bucket."""
    pixels = np.zeros((200, 240, 3), np.uint8)
    pixels[..., 0] = np.linspace(20, 240, 240, dtype=np.uint8)[None, :]
    pixels[..., 1] = np.linspace(240, 20, 200, dtype=np.uint8)[:, None]
    pixels[..., 2] = 90
    Image.fromarray(pixels).save(tmp_path / "upload.png")
    return tmp_path / "upload.png"


def test_a_prompt_becomes_a_picture_and_its_facts(page: Page) -> None:
    picture = generate(page, steps=12)
    assert picture.shape == (256, 256, 3)
    border = np.median(np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]]), axis=0)
    assert border[2] > border[0] + 40, "the background is blue"
    facts = visible(page, ".facts")
    expect(facts).to_contain_text("Euler")
    expect(facts).to_contain_text("256 × 256")
    expect(facts).to_contain_text(re.compile(r"Seed\s*\d+"))


def test_an_example_draws_with_one_click(page: Page) -> None:
    page.locator(".card:visible").first.click()
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=60_000)
    assert visible(page, ".prompt textarea").input_value() == "a fox in the snow"


def test_while_it_draws_there_is_a_preview_and_a_line_and_stop_ends_it(page: Page) -> None:
    visible(page, ".prompt textarea").fill(PROMPT)
    set_steps(page, 150)
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text(re.compile(r"step \d+ of 150 · [\d.]+ it/s · \d+ s left"))
    expect(visible(page, ".frame img")).to_be_visible()
    expect(visible(page, "button.generate")).to_be_disabled()
    expect(read_aloud(page)).to_have_text("starting")
    page.keyboard.press("Escape")
    expect(visible(page, ".sentence")).to_contain_text("Stopped", timeout=5_000)
    expect(read_aloud(page)).to_contain_text("Stopped")
    expect(visible(page, "button.generate")).to_be_enabled()
    expect(page.locator(".idle:visible")).to_be_visible()
    assert generate(page).shape == (256, 256, 3), "the next picture is unaffected"


def read_aloud(page: Page) -> Locator:
    """What a screen reader says of a run."""
    return page.locator("body > [role=status]:not(.told-box)")


def test_escape_closes_a_list_before_it_stops_a_run(page: Page) -> None:
    visible(page, ".prompt textarea").fill(PROMPT)
    set_steps(page, 150)
    page.get_by_text("4", exact=True).locator("visible=true").first.click()
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text("step")
    visible(page, ".section-sampling [role=combobox]").click()
    expect(visible(page, "ul[role=listbox]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("ul[role=listbox]")).to_have_count(0)
    page.wait_for_timeout(1000)
    expect(visible(page, ".sentence")).to_contain_text("step")
    expect(visible(page, "button.stop")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(visible(page, ".sentence")).to_contain_text("Stopped", timeout=5_000)


def test_a_key_of_an_input_method_neither_draws_nor_stops(page: Page) -> None:
    visible(page, ".prompt textarea").fill(PROMPT)
    for options in ("isComposing: true", "repeat: true"):
        page.evaluate(
            f"document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Enter', ctrlKey: true,"
            f" bubbles: true, cancelable: true, {options}}}))"
        )
    page.wait_for_timeout(500)
    expect(visible(page, "button.generate")).to_be_enabled()
    expect(page.locator(".sentence:visible")).to_have_count(0)


def test_ctrl_enter_generates(page: Page) -> None:
    set_steps(page, 2)
    visible(page, ".prompt textarea").fill(PROMPT)
    visible(page, ".prompt textarea").press("Control+Enter")
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    assert visible(page, ".prompt textarea").input_value() == PROMPT


def test_shape_chips_fill_the_size(page: Page) -> None:
    visible(page, ".section-sizes > .label-wrap").click()
    page.get_by_label("16:9-radio-label").or_(page.get_by_text("16:9", exact=True)).first.click()
    width, height = (page.locator(f".size-row:visible input >> nth={index}") for index in (0, 1))
    expect(width).to_have_value("336")
    expect(height).to_have_value("192")
    visible(page, ".swap").click()
    expect(width).to_have_value("192")
    expect(page.locator(".aspects-common:visible label:has(input:checked)")).to_have_text("9:16")
    assert generate(page, steps=2).shape == (336, 192, 3)


def test_image_to_image_starts_from_the_upload(page: Page, upload: Path) -> None:
    open_tab(page, "Image to image")
    put_in(page, upload)
    expect(page.locator(".picture-input:visible img")).to_be_visible()
    assert generate(page).shape[0] % 8 == 0


def test_the_size_follows_the_picture_though_the_boxes_were_looked_at(page: Page, upload: Path) -> None:
    open_tab(page, "Image to image")
    put_in(page, upload)
    visible(page, ".section-sizes > .label-wrap").click()
    expect(page.locator(".size-row:visible input >> nth=0")).to_have_value("")
    picture = generate(page, steps=2)
    assert picture.shape[1] > picture.shape[0], "as the upload, it is wider than high"


def test_refine_polishes_an_upload(page: Page, upload: Path) -> None:
    open_tab(page, "Refine")
    put_in(page, upload)
    expect(page.locator(".picture-input:visible img")).to_be_visible()
    generate(page, steps=10)
    expect(visible(page, ".facts")).to_contain_text("refiner")


def easel(page: Page) -> Locator:
    """The canvas over a picture that has been loaded."""
    canvas = page.locator(".mask-editor:visible canvas[data-ready]")
    expect(canvas).to_be_visible()
    return canvas


def paint(page: Page) -> None:
    """A stroke across the middle of the picture."""
    canvas = easel(page)
    box = canvas.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.45, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, y, steps=8)
    page.mouse.up()


def test_only_what_is_painted_over_changes(page: Page, upload: Path) -> None:
    open_tab(page, "Inpaint")
    put_in(page, upload)
    paint(page)
    after = generate(page, "a cactus on a yellow background")
    before = np.asarray(Image.open(upload)).astype(int)
    assert after.shape == before.shape, "the result has the upload's own size"
    changed = (before != after).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 200
    assert changed.mean() < 0.6
    assert not changed[:20].any(), "far from the stroke every pixel is the upload's"
    assert not changed[-20:].any()
    assert abs(rows.mean() - 100) < 25
    assert abs(columns.mean() - 120) < 40


def test_one_finger_paints_on_a_phone(browser: Browser, address: str, upload: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, locale="en-GB")
    page = context.new_page()
    page.goto(address)
    expect(visible(page, "button.generate")).to_be_enabled()
    open_tab(page, "Inpaint")
    put_in(page, upload)
    easel(page).scroll_into_view_if_needed()
    visible(page, ".tools .width").fill("1")
    box = easel(page).bounding_box()
    assert box
    scrolled = page.evaluate("scrollY")
    first, second = ({"x": box["x"] + box["width"] * share, "y": box["y"] + box["height"] / 2} for share in (0.3, 0.7))
    touch = context.new_cdp_session(page)
    lower = {**first, "y": first["y"] + 30}
    for kind, fingers in (
        ("touchStart", [first]), ("touchStart", [first, second]), ("touchMove", [lower, second]), ("touchEnd", []),
    ):  # fmt: skip
        points = [{**finger, "id": number} for number, finger in enumerate(fingers)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert page.evaluate("scrollY") == scrolled, "the page stands still while a finger paints"
    painted = easel(page).evaluate(
        """(canvas) => [0.3, 0.7].map((share) => canvas.getContext('2d')
            .getImageData(canvas.width * share - 2, canvas.height / 2 - 2, 4, 4).data.some((value) => value > 0))"""
    )
    assert painted == [True, False], "a second finger paints nothing"
    visible(page, ".prompt textarea").fill(PROMPT)
    set_steps(page, 40)
    visible(page, "button.generate").click()
    expect(page.locator(".line:visible")).to_be_in_viewport()
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    expect(visible(page, ".facts")).to_contain_text("240 × 200")
    context.close()


def test_the_smallest_dab_on_a_large_picture_is_a_mask(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (1600, 1200), "navy").save(tmp_path / "large.png")
    open_tab(page, "Inpaint")
    put_in(page, tmp_path / "large.png")
    visible(page, ".tools .width").fill("1")
    box = easel(page).bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    visible(page, ".tools .eraser").click()
    page.mouse.click(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.7)
    page.get_by_text("Only the masked area", exact=True).locator("visible=true").first.click()
    assert generate(page, steps=1).shape == (1200, 1600, 3)


def test_paint_can_be_taken_back(page: Page, upload: Path) -> None:
    open_tab(page, "Inpaint")
    put_in(page, upload)
    paint(page)
    visible(page, ".tools .undo").click()
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence.error")).to_contain_text("Paint over what should be redrawn")
    paint(page)
    visible(page, ".tools .clear").click()
    paint(page)
    assert generate(page, steps=2).shape == (200, 240, 3)


def test_an_uploaded_mask_is_used_as_it_is(page: Page, upload: Path) -> None:
    mask = Image.new("L", (240, 200), 0)
    mask.paste(255, (16, 16, 80, 80))
    mask.save(upload.with_name("mask.png"))
    open_tab(page, "Inpaint")
    put_in(page, upload)
    easel(page)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a mask").click()
    chooser.value.set_files(upload.with_name("mask.png"))
    page.wait_for_function("""() => [...document.querySelectorAll('.mask-editor canvas')].some(
        (canvas) => canvas.width > 0 && canvas.getContext('2d').getImageData(40, 40, 1, 1).data[3] === 255)""")
    after = generate(page, "a cactus on a yellow background")
    changed = (np.asarray(Image.open(upload)).astype(int) != after).any(axis=-1)
    assert changed[24:72, 24:72].mean() > 0.8
    assert not changed[100:].any()
    assert not changed[:, 100:].any()


def test_a_missing_picture_is_asked_for_and_nothing_typed_is_lost(page: Page) -> None:
    open_tab(page, "Inpaint")
    visible(page, ".prompt textarea").fill("a cat")
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence.error")).to_have_text("Put in a picture first.")
    assert visible(page, ".prompt textarea").input_value() == "a cat"
    expect(visible(page, "button.generate")).to_be_enabled()


def test_a_wrong_size_is_answered_where_it_happened(page: Page) -> None:
    visible(page, ".section-sizes > .label-wrap").click()
    width = page.locator(".size-row:visible input >> nth=0")
    width.fill("100")
    width.press("Tab")
    visible(page, "button.generate").click()
    sentence = "width must be a multiple of 8, got 100"
    expect(visible(page, ".sentence.error")).to_have_text(sentence)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)
    expect(width).to_have_value("100")
    width.fill("128")
    width.press("Tab")
    assert generate(page, steps=2).shape == (256, 128, 3)


def test_a_picture_goes_from_tab_to_tab_with_its_settings(page: Page) -> None:
    generate(page, "a penguin on a pink background")
    seed = re.findall(r"Seed\s*(\d+)", visible(page, ".facts").inner_text())[0]
    page.get_by_role("button", name="To refine").locator("visible=true").click()
    expect(page.get_by_role("tab", name="Refine", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".picture-input:visible img")).to_be_visible()
    assert visible(page, ".prompt textarea").input_value() == "a penguin on a pink background"
    visible(page, ".section-seed > .label-wrap").click()
    expect(visible(page, ".section-seed input")).to_have_value(seed)
    refined = generate(page, "a penguin on a pink background")
    page.get_by_role("button", name="To inpaint").locator("visible=true").click()
    easel(page)
    paint(page)
    inpainted = generate(page, "a penguin on a pink background")
    assert inpainted.shape == refined.shape
    assert (inpainted[0] == refined[0]).all()


def test_a_saved_picture_fills_the_inputs_again(page: Page, outputs: Path) -> None:
    set_steps(page, 3)
    visible(page, ".prompt textarea").fill("a robot on a red background")
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    first = shown_picture(page)
    seed = re.findall(r"Seed\s*(\d+)", visible(page, ".facts").inner_text())[0]
    saved = max(outputs.rglob("*.png"), key=lambda file: file.stat().st_mtime)
    page.reload()
    expect(visible(page, "button.generate")).to_be_enabled()
    page.wait_for_timeout(400)
    visible(page, ".section-restore > .label-wrap").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Read a PNG").locator("visible=true").click()
    chooser.value.set_files(saved)
    expect(visible(page, ".prompt textarea")).to_have_value("a robot on a red background")
    visible(page, ".section-seed > .label-wrap").click()
    expect(visible(page, ".section-seed input")).to_have_value(seed)
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    assert (shown_picture(page) == first).all(), "the same settings draw the same picture"


def test_a_reload_keeps_open_what_was_opened_and_the_chosen_theme(page: Page) -> None:
    visible(page, ".section-seed > .label-wrap").click()
    expect(visible(page, ".section-seed input")).to_be_visible()
    page.locator(".theme-switch").click()
    was_dark = page.evaluate("document.body.classList.contains('dark')")
    page.wait_for_timeout(200)
    page.reload()
    expect(visible(page, "button.generate")).to_be_enabled()
    expect(visible(page, ".section-seed input")).to_be_visible()
    page.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=was_dark)
    assert generate(page, steps=2).shape == (256, 256, 3)


def test_a_closed_browser_tab_stops_its_job(browser: Browser, page: Page, address: str, outputs: Path) -> None:
    other = browser.new_context().new_page()
    other.goto(address)
    visible(other, ".prompt textarea").fill(PROMPT)
    set_steps(other, 150)
    other.get_by_text("8", exact=True).locator("visible=true").first.click()
    visible(other, "button.generate").click()
    expect(visible(other, ".sentence")).to_contain_text(re.compile(r"\d+ s left"))
    chips = page.locator(".status-chips")
    expect(chips).to_contain_text("1 running")  # the chips are looked up every ten seconds
    left = int(re.findall(r"(\d+) s left", visible(other, ".sentence").inner_text())[0])
    assert left > 20, "the run must be longer than the wait for its early end"
    before = set(outputs.rglob("*.png"))
    other.context.close()
    expect(chips).to_contain_text("0 running", timeout=15_000)
    assert set(outputs.rglob("*.png")) == before


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_nothing_scrolls_sideways_and_generate_is_in_view(
    browser: Browser, address: str, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB")
    page = context.new_page()
    page.goto(address)
    expect(visible(page, "button.generate")).to_be_enabled()
    for title in ("Text to image", "Image to image", "Inpaint", "Refine"):
        open_tab(page, title)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        expect(visible(page, "button.generate")).to_be_in_viewport(ratio=1)
    context.close()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_on_a_phone_generate_leads_to_what_comes_of_it(browser: Browser, address: str, motion: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion=motion, locale="en-GB")
    page = context.new_page()
    page.goto(address)
    expect(visible(page, "button.generate")).to_be_enabled()
    open_tab(page, "Image to image")
    scroll_away(page)
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence.error")).to_be_in_viewport(ratio=1)
    open_tab(page, "Text to image")
    visible(page, ".prompt textarea").fill(PROMPT)
    set_steps(page, 2)
    scroll_away(page)
    page.keyboard.press("Control+Enter")
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    expect(visible(page, ".result [data-testid=detailed-image]")).to_be_in_viewport(ratio=1)
    context.close()


def scroll_away(page: Page) -> None:
    """To the last of the inputs, where nothing is seen of the stage."""
    page.evaluate("scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' })")
    expect(visible(page, ".stage")).not_to_be_in_viewport()


def test_a_chinese_browser_reads_chinese(browser: Browser, address: str) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(address)
    expect(visible(page, "button.generate")).to_have_text("生成")
    expect(page.get_by_role("tab", name="局部重绘")).to_be_visible()
    expect(page.locator(".status-chips")).to_contain_text("队列")
    open_tab(page, "局部重绘")
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence.error")).to_have_text("请先放入一张图片。")
    context.close()
