"""What stays the visitor's own: presets, last settings, links; and settings that come back from pictures and texts.

Over a manager that only pretends to draw, so that a server starts in a moment and can be started again.
"""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from pipelines.media.metadata import make_text_chunks
from pipelines.schema.requests import TextToImageRequest, make_request
from tests.browser.conftest import PROJECT, find_free_port, wait_for
from tests.browser.test_studio import open_tab, visible

INFOTEXT = """a heron in the reeds
Negative prompt: rain
Steps: 17, Sampler: Euler, CFG scale: 6.5, Seed: 99, Size: 512x768"""


class Server:
    """A studio in a process and on a port of its own, which can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = find_free_port()
        self.starts = 0
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self.starts += 1
        folder = self.folder / str(self.starts)
        folder.mkdir()
        log = folder / "studio.log"
        command = [sys.executable, "-m", "tests.browser.pretend", str(self.port), str(folder)]
        with log.open("w") as written:
            self.process = subprocess.Popen(command, cwd=PROJECT, stdout=written, stderr=subprocess.STDOUT)
        wait_for(self.url, self.process, log)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("keeping"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """Somebody with a browser of their own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext, server: Server) -> Iterator[Page]:
    """Their first page; an error that no script of the page catches fails the test."""
    page = visitor.new_page()
    uncaught: list[str] = []
    page.on("pageerror", lambda error: uncaught.append(str(error)))
    come_to(page, server.url)
    yield page
    assert uncaught == []


def come_to(page: Page, url: str) -> None:
    page.goto(url)
    wait_until_open(page)


def wait_until_open(page: Page) -> None:
    """Until what was left is back: from then on it is kept."""
    expect(page.locator("button.generate:visible")).to_be_enabled()
    page.wait_for_function("() => window.studio.isOpen()")


def reload(page: Page) -> None:
    page.reload()
    wait_until_open(page)


def prompt_of(page: Page) -> Locator:
    return visible(page, ".prompt textarea")


def open_section(page: Page, name: str) -> None:
    """Unfolds a section, unless the visit before left it open."""
    label = visible(page, f".section-{name} > .label-wrap")
    if "open" not in (label.get_attribute("class") or "").split():
        label.click()
    expect(visible(page, f".section-{name} > [data-testid=accordion-content] > .column")).to_be_visible()
    page.wait_for_timeout(300)  # Gradio sets a section's inputs once more just after it has drawn them


def save(page: Page, name: str) -> None:
    visible(page, ".preset-name").fill(name)
    visible(page, ".preset-name").press("Enter")
    expect(told(page)).to_contain_text(f"“{name}”")


def told(page: Page) -> Locator:
    return page.locator(".told-one")


def undo(page: Page) -> None:
    told(page).get_by_role("button", name="Undo").click()


def sign(page: Page, what: str, name: str) -> Locator:
    return page.get_by_role("button", name=f"{what}: {name}", exact=True).locator("visible=true")


def steps(page: Page) -> Locator:
    return visible(page, ".section-sampling input[type=number]")


def test_the_counter_follows_what_is_typed(page: Page) -> None:
    prompt_of(page).press_sequentially("a fox in snow")
    expect(visible(page, ".counter-count")).to_contain_text("4 / 75")
    prompt_of(page).press_sequentially(", under a pale moon")
    expect(visible(page, ".counter-count")).to_contain_text("8 / 75")


def test_a_preset_outlives_the_page_and_the_server(page: Page, visitor: BrowserContext, server: Server) -> None:
    prompt_of(page).fill("a lighthouse")
    open_section(page, "sampling")
    steps(page).fill("33")
    steps(page).press("Tab")
    open_section(page, "presets")
    save(page, "my evening")
    reload(page)
    expect(page.locator(".preset-apply:visible")).to_have_text(["my evening"])
    page.close()
    server.stop()
    server.start()
    later = visitor.new_page()
    come_to(later, server.url)
    visible(later, ".preset-begin").click()
    expect(prompt_of(later)).to_have_value("")
    visible(later, ".preset-apply").click()
    expect(prompt_of(later)).to_have_value("a lighthouse")
    expect(steps(later)).to_have_value("33")


def test_presets_are_renamed_deleted_and_brought_back(page: Page) -> None:
    open_section(page, "presets")
    save(page, "first")
    save(page, "second")
    sign(page, "Rename", "first").click()
    page.keyboard.type("renamed")
    page.keyboard.press("Enter")
    expect(page.locator(".preset-apply:visible")).to_have_text(["renamed", "second"])
    sign(page, "Rename", "second").click()
    page.keyboard.type("renamed")
    page.keyboard.press("Enter")
    expect(told(page)).to_contain_text("There is a preset “renamed” already.")
    sign(page, "Delete", "renamed").click()
    expect(page.locator(".preset-apply:visible")).to_have_text(["second"])
    undo(page)
    expect(page.locator(".preset-apply:visible")).to_have_text(["renamed", "second"])


def test_saving_under_the_same_name_can_be_undone(page: Page) -> None:
    open_section(page, "presets")
    prompt_of(page).fill("a heron")
    save(page, "mine")
    prompt_of(page).fill("a fox")
    save(page, "Mine")
    expect(told(page)).to_contain_text("holds these settings now")
    expect(page.locator(".preset-apply:visible")).to_have_text(["Mine"])
    undo(page)
    expect(page.locator(".preset-apply:visible")).to_have_text(["mine"])
    visible(page, ".preset-apply").click()
    expect(prompt_of(page)).to_have_value("a heron")


def test_two_pages_of_one_visitor_keep_each_others_presets(page: Page, visitor: BrowserContext, server: Server) -> None:
    other = visitor.new_page()
    come_to(other, server.url)
    for at, name in ((page, "here"), (other, "there")):
        open_section(at, "presets")
        save(at, name)
    expect(page.locator(".preset-apply:visible")).to_have_text(["here", "there"])


def test_presets_go_into_a_file_and_come_from_one(page: Page, browser: Browser, server: Server, tmp_path: Path) -> None:
    open_section(page, "presets")
    prompt_of(page).fill("a heron")
    save(page, "mine")
    with page.expect_download() as started:
        visible(page, ".preset-list").get_by_role("button", name="Export all").click()
    started.value.save_as(tmp_path / "presets.json")
    exported = json.loads((tmp_path / "presets.json").read_text(encoding="utf-8"))
    assert [preset["name"] for preset in exported["presets"]] == ["mine"]
    exported["presets"].append({"name": "half", "tasks": ["text_to_image"], "values": {"width": 100, "seed": 4}})
    (tmp_path / "more.json").write_text(json.dumps(exported), encoding="utf-8")
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")

    other = browser.new_page(locale="en-GB", viewport={"width": 1440, "height": 900})
    come_to(other, server.url)
    open_section(other, "presets")
    save(other, "mine")
    for file, sentence in (("more.json", "Presets imported: 2."), ("bad.json", "file must be presets")):
        other.locator(".preset-file").first.set_input_files(tmp_path / file)
        expect(told(other)).to_contain_text(sentence)
        if file == "more.json":
            expect(told(other).locator("li")).to_have_text("half: width must be a multiple of 8, got 100")
    expect(other.locator(".preset-apply:visible")).to_have_text(["mine", "mine (2)", "half"])
    other.locator(".preset-apply:visible").nth(1).click()
    expect(prompt_of(other)).to_have_value("a heron")
    other.context.close()


def test_the_last_settings_come_back_and_are_nobody_elses(page: Page, browser: Browser, server: Server) -> None:
    prompt_of(page).fill("a lighthouse")
    open_section(page, "sampling")
    steps(page).fill("33")
    steps(page).press("Tab")
    box = page.locator(".model-box input")
    box.fill("Fast")
    page.get_by_role("option", name=re.compile("Fast model")).first.click()
    expect(steps(page)).to_have_value("4")
    steps(page).fill("6")
    steps(page).press("Tab")
    open_tab(page, "Inpaint")
    prompt_of(page).fill("a gull")
    reload(page)
    expect(page.get_by_role("tab", name="Inpaint", exact=True)).to_have_attribute("aria-selected", "true")
    expect(prompt_of(page)).to_have_value("a gull")
    expect(page.locator(".model-box input")).to_have_value(re.compile("Fast model"))
    open_tab(page, "Text to image")
    expect(prompt_of(page)).to_have_value("a lighthouse")
    expect(steps(page)).to_have_value("6")
    expect(page.locator(".aspects-common:visible label:has(input:checked)")).to_have_text("1:1")

    other = browser.new_page(locale="en-GB", viewport={"width": 1440, "height": 900})
    come_to(other, server.url)
    expect(prompt_of(other)).to_have_value("")
    expect(other.locator(".model-box input")).to_have_value(re.compile("Studio demo"))
    other.context.close()


def test_nothing_is_typed_over_by_what_comes_back_late(page: Page, visitor: BrowserContext, server: Server) -> None:
    prompt_of(page).fill("a lighthouse")
    page.get_by_role("tab", name="Refine", exact=True).focus()
    reload(page)
    page.close()
    later = visitor.new_page()
    held: list[Route] = []
    is_open = Event()
    later.route(
        "**/gradio_api/run/predict*", lambda route: route.continue_() if is_open.is_set() else held.append(route)
    )
    later.goto(server.url)
    expect(later.locator(".controls[inert]:visible")).to_have_count(1)
    expect(later.locator(".controls[aria-busy=true]:visible")).to_have_count(1)
    later.evaluate("() => { location.hash = '#recipe=AAAA'; }")  # pasted above the page before it was open
    later.wait_for_timeout(200)
    is_open.set()
    for route in held:
        route.continue_()
    wait_until_open(later)
    expect(later.locator("[inert], [aria-busy=true]")).to_have_count(0)
    expect(prompt_of(later)).to_have_value("a lighthouse")
    expect(told(later)).to_contain_text("link must be a recipe")
    assert later.url == server.url


def test_one_touch_reads_the_tab_in_view_alone(page: Page) -> None:
    prompt_of(page).fill("a heron")
    page.wait_for_timeout(3000)
    page.evaluate(
        """() => {
            window.pressed = [];
            document.addEventListener("click", (event) => window.pressed.push(event.target.id), true);
        }"""
    )
    prompt_of(page).press_sequentially(", a reed, a pond")
    page.wait_for_timeout(600)
    pressed = page.evaluate("() => window.pressed.filter((id) => id.startsWith('wire-keep'))")
    assert set(pressed) == {"wire-keep-text_to_image"}
    assert len(pressed) < len(", a reed, a pond") / 2, "once after a pause, not for each letter"


def test_escape_in_the_search_for_styles_stops_no_run(page: Page) -> None:
    page.locator("summary:has(.styles-title)").locator("visible=true").click()
    search = visible(page, ".styles-search")
    search.fill("watercolor")
    page.evaluate("() => { window.heard = 0; document.addEventListener('keydown', () => { window.heard += 1; }); }")
    search.press("Escape")
    expect(search).to_have_value("")
    assert page.evaluate("() => window.heard") == 0


def test_a_preset_of_the_studio_is_set_and_taken_back(page: Page) -> None:
    prompt_of(page).fill("a fox")
    open_section(page, "presets")
    visible(page, ".preset-chip[data-name=portrait]").click()
    expect(page.locator(".aspects-common:visible label:has(input:checked)")).to_have_text("3:4")
    visible(page, ".preset-chip[data-name=fast_draft]").click()
    expect(page.locator(".equal:visible label:has(input:checked)")).to_have_text("Draft")
    expect(page.locator(".aspects-common:visible label:has(input:checked)")).to_have_text("3:4")
    undo(page)
    expect(page.locator(".equal:visible label:has(input:checked)")).to_have_text("Balanced")
    visible(page, ".preset-begin").click()
    expect(prompt_of(page)).to_have_value("")
    expect(page.locator(".aspects-common:visible label:has(input:checked)")).to_have_text("1:1")
    undo(page)
    expect(prompt_of(page)).to_have_value("a fox")


def test_a_link_opens_with_its_settings_in_a_new_browser(page: Page, browser: Browser, server: Server) -> None:
    open_tab(page, "Refine")
    prompt_of(page).fill("狐狸 (snow:1.2)")
    open_section(page, "sampling")
    steps(page).fill("33")
    steps(page).press("Tab")
    open_section(page, "presets")
    visible(page, ".preset-link").click()
    expect(told(page)).to_contain_text("The link is copied")
    link = page.evaluate("() => navigator.clipboard.readText()")
    assert link.startswith(f"{server.url}#recipe=")

    other = browser.new_page(locale="en-GB", viewport={"width": 1440, "height": 900})
    come_to(other, link)
    expect(told(other)).to_contain_text("The settings of the link are set.")
    expect(other.get_by_role("tab", name="Refine", exact=True)).to_have_attribute("aria-selected", "true")
    expect(prompt_of(other)).to_have_value("狐狸 (snow:1.2)")
    open_section(other, "sampling")
    expect(steps(other)).to_have_value("33")
    assert other.url == server.url
    other.get_by_role("tab", name="Refine", exact=True).focus()
    assert other.evaluate("() => performance.getEntriesByType('navigation')[0].name") == link
    assert other.evaluate("() => history.length") == 2, "no step back leads to the link"
    other.context.close()


def test_the_link_of_a_picture_goes_over_the_last_settings(page: Page, server: Server) -> None:
    prompt_of(page).fill("a fox on a blue background")
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text("Done in")
    page.get_by_role("button", name="Copy link").locator("visible=true").last.click()
    expect(told(page)).to_contain_text("The link is copied")
    link = page.evaluate("() => navigator.clipboard.readText()")
    prompt_of(page).fill("something else")
    page.evaluate("(link) => { location.hash = new URL(link).hash; }", link)  # as if it had been pasted above the page
    expect(prompt_of(page)).to_have_value("a fox on a blue background")
    open_section(page, "seed")
    expect(visible(page, ".section-seed input")).to_have_value("1234")
    undo(page)
    expect(prompt_of(page)).to_have_value("something else")


def test_a_broken_link_is_a_sentence_and_nothing_else(page: Page, server: Server) -> None:
    prompt_of(page).fill("a heron")
    reload(page)
    page.goto("about:blank")
    come_to(page, f"{server.url}#recipe=AAAA")
    expect(told(page)).to_contain_text("link must be a recipe that this studio made")
    expect(prompt_of(page)).to_have_value("a heron")
    assert page.url == server.url


def test_a_picture_dropped_on_the_page_fills_the_inputs(page: Page, tmp_path: Path) -> None:
    values = {"prompt": "a heron", "num_inference_steps": 33, "width": 64, "height": 64}
    chunks = make_text_chunks(make_request(TextToImageRequest, values), seed=7, model="demo")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=chunks)
    data = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    transfer = page.evaluate_handle(
        """(data) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "a.png", { type: "image/png" }));
            return transfer;
        }""",
        data,
    )
    page.dispatch_event(".stage:visible", "drop", {"dataTransfer": transfer})
    expect(prompt_of(page)).to_have_value("a heron")
    open_section(page, "sampling")
    expect(steps(page)).to_have_value("33")


def test_settings_pasted_into_the_prompt_fill_the_inputs(page: Page) -> None:
    prompt_of(page).focus()
    page.evaluate("(text) => navigator.clipboard.writeText(text)", INFOTEXT)
    page.keyboard.press("Control+V")
    expect(prompt_of(page)).to_have_value("a heron in the reeds")
    open_section(page, "negative_prompt")
    expect(visible(page, ".section-negative_prompt textarea")).to_have_value("rain")
    open_section(page, "sampling")
    expect(steps(page)).to_have_value("17")
