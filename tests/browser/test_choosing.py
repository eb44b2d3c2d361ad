"""What a visitor does with models: choose one, read the folders again, add LoRAs, hand over to the refiner."""

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, expect
from safetensors.numpy import save_file

from tests.browser.test_studio import generate, open_tab, set_steps, visible

OWN = "Studio demo · 256 px"
PRECISION = re.compile("float(16|32)")


def choose_model(page: Page, title: str) -> None:
    box = page.locator(".model-box input")
    box.fill(title)
    page.get_by_role("option", name=re.compile(re.escape(title))).first.click()
    expect(box).to_have_value(re.compile(re.escape(title)))


def open_section(page: Page, name: str) -> None:
    visible(page, f".section-{name} > .label-wrap").click()
    page.wait_for_timeout(400)  # it unfolds when Gradio has set its inputs


def value_of_steps(page: Page) -> str:
    return visible(page, ".section-sampling input[type=number]").input_value()


def test_a_chosen_model_brings_its_settings_and_sizes_and_is_nobody_elses(
    browser: Browser, page: Page, address: str
) -> None:
    choose_model(page, "SDXL Turbo")
    expect(page.locator(".note")).to_contain_text("downloaded")
    expect(page.locator(".note")).to_contain_text("Licence")
    expect(page.locator(".section-embedded")).to_have_count(0)
    expect(visible(page, ".card")).to_contain_text("lighthouse")
    expect(page.locator(".equal:visible label:has(input:checked)")).to_have_text("Balanced")
    open_section(page, "sampling")
    assert value_of_steps(page) == "4"
    expect(page.locator(".section-sampling:visible label:has(input:checked)").first).to_have_text("Trailing")
    open_section(page, "sizes")
    expect(page.locator(".size-row:visible input >> nth=0")).to_have_value("512")
    expect(page.locator(".aspects-common:visible label:has(input:checked)")).to_have_text("1:1")
    open_tab(page, "Inpaint")
    page.wait_for_timeout(400)
    assert value_of_steps(page) == "4", "the choice is the whole page's"
    other = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB").new_page()
    other.goto(address)
    expect(other.locator(".model-box input")).to_have_value(OWN)
    other.context.close()
    open_tab(page, "Text to image")
    choose_model(page, "Studio demo")
    expect(page.locator(".note")).to_have_count(0)
    expect(page.locator(".section-embedded")).to_be_visible()
    assert generate(page, steps=2).shape == (256, 256, 3)


def test_an_inpainting_model_says_where_it_draws(page: Page) -> None:
    choose_model(page, "SDXL inpainting")
    expect(page.locator(".note")).to_contain_text("Inpaint tab only")
    visible(page, ".prompt textarea").fill("a fox")
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence.error")).to_be_visible()
    expect(visible(page, "button.generate")).to_be_enabled()


def test_the_folders_are_read_again_and_what_cannot_be_used_is_named(page: Page, models: Path) -> None:
    for folder in ("embeddings", "loras"):
        (models / folder).mkdir(exist_ok=True)
    tokens = {"clip_l": np.zeros((1, 768), np.float32), "clip_g": np.zeros((1, 1280), np.float32)}
    save_file(tokens, models / "embeddings" / "gloomy.safetensors")
    (models / "loras" / "old.ckpt").write_bytes(b"pickle")
    page.locator(".rescan").click()
    panel = page.locator("#about")
    expect(panel).to_be_visible()
    expect(panel).to_contain_text("New: gloomy.")
    expect(panel).to_contain_text("loras/old.ckpt")
    expect(panel).to_contain_text("pickle")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    visible(page, ".prompt textarea").fill("a fox")
    open_section(page, "loras")
    page.locator(".word-chip:visible").click()
    expect(visible(page, ".prompt textarea")).to_have_value("a fox, gloomy")


def test_the_devices_chip_tells_what_is_in_memory(page: Page) -> None:
    generate(page, steps=2)
    page.locator(".status-chips button").click()
    panel = page.locator("#about")
    for part in ("text_encoder_2", "vae", "unet", "Studio demo", "MB", "cpu", PRECISION):
        expect(panel).to_contain_text(part)
    page.wait_for_timeout(5000)
    expect(panel).to_be_visible()  # though the chips are drawn anew every few seconds


def test_a_lora_for_few_steps_brings_its_settings_and_takes_them_along(page: Page) -> None:
    choose_model(page, "SDXL base")  # the embedded model is offered no LoRA of the Hub
    set_steps(page, 17)
    open_section(page, "loras")
    rows = page.locator(".lora-row:visible")
    expect(rows).to_have_count(1)
    name = page.locator(".lora-name:visible")
    name.last.fill("Lightning, 4 steps")
    name.last.press("Enter")
    expect(rows).to_have_count(2)
    expect(page.locator(".hint p:visible", has_text="Lightning, 4 steps sets: Steps 4")).to_be_visible()
    expect(visible(page, ".section-sampling input[type=number]")).to_have_value("4")
    expect(page.locator(".equal:visible label:has(input:checked)")).to_have_text("Balanced")
    name.last.fill("Lightning, 4 steps")
    name.last.press("Enter")
    expect(rows).to_have_count(2)  # each LoRA only once
    name.last.fill("LCM, 4 steps")
    name.last.press("Enter")
    expect(rows).to_have_count(3)
    page.locator(".lora-weight:visible").first.fill("0.35")
    expect(page.locator(".lora-slider:visible").first).to_have_value("0.35")
    page.locator(".lora-remove:visible").last.click()
    expect(rows).to_have_count(2)
    page.locator(".lora-remove:visible").last.click()
    expect(rows).to_have_count(1)
    expect(visible(page, ".section-sampling input[type=number]")).to_have_value("30")


def test_a_lora_of_the_hub_leaves_with_the_model_it_was_made_for(page: Page) -> None:
    choose_model(page, "SDXL base")
    set_steps(page, 17)
    open_section(page, "loras")
    name = page.locator(".lora-name:visible")
    name.last.fill("Lightning, 4 steps · to be downloaded")
    name.last.press("Enter")
    expect(name.first).to_have_value("Lightning, 4 steps")
    expect(visible(page, ".section-sampling input[type=number]")).to_have_value("4")
    choose_model(page, "Studio demo")
    expect(page.locator(".lora-row:visible")).to_have_count(0)
    expect(visible(page, ".section-sampling input[type=number]")).to_have_value("20")
    assert generate(page, steps=2).shape == (256, 256, 3)


def test_rows_keep_their_weights_while_the_folders_are_read_again(page: Page) -> None:
    choose_model(page, "SDXL base")  # the embedded model is offered no LoRA of the Hub
    open_section(page, "loras")
    page.locator(".lora-name:visible").last.fill("LCM, 4 steps")
    page.locator(".lora-name:visible").last.press("Enter")
    page.locator(".lora-weight:visible").first.fill("0.6")
    page.locator(".rescan").click()
    expect(page.locator("#about")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".lora-weight:visible").first).to_have_value("0.6")


def test_the_steps_of_both_experts_are_told_before_and_after(page: Page) -> None:
    set_steps(page, 10)
    open_section(page, "refiner")
    share = page.locator(".section-refiner:visible input[type=number]").first
    share.fill("0.8")
    share.press("Tab")
    told = page.locator(".section-refiner:visible .hint p")
    expect(told).to_have_text(re.compile(r"Steps: \d+ \+ \d+ by the refiner"))
    steps = told.inner_text().removeprefix("Steps: ")
    visible(page, ".prompt textarea").fill("a fox on a blue background")
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    expect(visible(page, ".facts")).to_contain_text(steps)


def test_options_that_do_not_go_together_give_way_to_the_last_choice(page: Page) -> None:
    open_section(page, "sampling")
    options = page.locator(".section-sampling:visible .chips")
    options.get_by_text("Karras", exact=True).click()
    options.get_by_text("Align Your Steps", exact=True).click()
    expect(options.nth(1).locator("label:has(input:checked)")).to_have_text("Default")
    visible(page, ".section-sampling [role=combobox]").click()
    page.get_by_role("option", name="Euler a", exact=True).click()
    expect(options.get_by_text("Align Your Steps", exact=True)).to_have_count(0)
    assert generate(page, steps=2).shape == (256, 256, 3)


def test_framings_fill_the_six_boxes(page: Page) -> None:
    open_section(page, "advanced")
    page.get_by_text("Zoomed in", exact=True).locator("visible=true").click()
    open_section(page, "size_conditioning")
    boxes = page.locator(".section-size_conditioning:visible input")
    expect(boxes.nth(2)).to_have_value("64, 64")
    boxes.nth(0).fill("32, 32")
    boxes.nth(0).press("Tab")
    expect(page.locator(".section-advanced:visible .chips label:has(input:checked)")).to_have_count(0)
    assert generate(page, steps=2).shape == (256, 256, 3)


def test_a_draft_takes_karras_sigmas_and_a_saved_draft_brings_them_back(page: Page, outputs: Path) -> None:
    page.locator(".equal:visible").get_by_text("Draft", exact=True).click()
    visible(page, ".prompt textarea").fill("a fox on a blue background")
    visible(page, "button.generate").click()
    expect(visible(page, ".sentence")).to_contain_text("Done in", timeout=40_000)
    expect(visible(page, ".facts")).to_contain_text("DPM++ 2M · Karras")
    saved = max(outputs.rglob("*.png"), key=lambda file: file.stat().st_mtime)
    page.reload()
    expect(page.locator(".equal:visible label:has(input:checked)")).to_have_text("Balanced")
    page.wait_for_timeout(400)
    open_section(page, "restore")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Read a PNG").locator("visible=true").click()
    chooser.value.set_files(saved)
    expect(page.locator(".equal:visible label:has(input:checked)")).to_have_text("Draft")
    open_section(page, "sampling")
    expect(page.locator(".section-sampling:visible label:has(input:checked)").nth(1)).to_have_text("Karras")
