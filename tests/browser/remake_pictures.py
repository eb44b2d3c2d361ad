"""Remakes the pictures of the page that the embedded model drew: `python -m tests.browser.remake_pictures`.

Run it after the model has been trained again: first the cards in `presets/examples/`, then `docs/screenshot.png`.
"""

import json
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from pipelines.manager import PipelineManager
from pipelines.schema.paths import PRESETS, PROJECT
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.settings import Settings
from tests.browser.conftest import FLAGS
from tests.conftest import BROWSERS
from ui.layout import build_app, launch_options

SEED = 1


def main() -> None:
    """Draws the cards, then opens the page that shows them."""
    with tempfile.TemporaryDirectory() as folder:
        manager = PipelineManager(Settings(model="demo", device="cpu", dtype="float32", output_dir=Path(folder)))
        try:
            draw_cards(manager)
            take_screenshot(manager)
        finally:
            manager.close()


def draw_cards(manager: PipelineManager) -> None:
    """One picture for each card of text to image; the other tabs' cards start from the same pictures."""
    examples = json.loads((PRESETS / "examples.json").read_text(encoding="utf-8"))
    for example in examples["demo"]["text_to_image"]:
        job = manager.submit(make_request(TextToImageRequest, {"prompt": example["prompt"], "seed": SEED}))
        shutil.copyfile(job.result(120).files[0], PRESETS / "examples" / example["picture"])


def take_screenshot(manager: PipelineManager) -> None:
    """The first tab with a finished run of four pictures."""
    app = build_app(manager)
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **launch_options(manager.model.native_size))
    executable = next(path for name in BROWSERS if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        draw_four(browser, address)
        browser.close()
    app.close(verbose=False)


def draw_four(browser: Browser, address: str) -> None:
    """What a visitor would see after one run."""
    page = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-GB")
    page.goto(address)
    page.locator("button.generate:visible").wait_for()
    page.locator(".numerals").locator("visible=true").get_by_text("4", exact=True).click()
    page.locator(".section-seed:visible > .label-wrap").click()
    page.locator(".section-seed input:visible").fill(str(SEED))
    page.locator(".prompt:visible textarea").fill("a unicorn on a purple gradient background")
    page.locator("button.generate:visible").click()
    page.locator(".facts:visible").wait_for(timeout=120_000)
    page.locator(".section-seed:visible > .label-wrap").click()
    page.mouse.move(900, 870)
    page.wait_for_timeout(6000)  # until the queue says that nothing runs
    page.locator(".section-presets:visible").scroll_into_view_if_needed()
    page.screenshot(path=PROJECT / "docs" / "screenshot.png")


if __name__ == "__main__":
    main()
