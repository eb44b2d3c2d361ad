"""The studio as a visitor meets it: `app.py` with the embedded model in a process of its own, and a real Chromium."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="browser tests need playwright (requirements-dev.txt)")
from playwright.sync_api import Browser, Page, expect, sync_playwright

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host's folder of models, which is empty at the start."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def address(outputs: Path, models: Path) -> Iterator[str]:
    """Where the studio answers; its own words are shown when it does not start."""
    port = find_free_port()
    log = outputs / "studio.log"
    command = [sys.executable, "app.py", "--model", "demo", "--device", "cpu", "--port", str(port), "--preload"]
    with log.open("w") as written:
        process = subprocess.Popen(
            [*command, "--output-dir", str(outputs), "--models-dir", str(models)],
            cwd=PROJECT, stdout=written, stderr=subprocess.STDOUT, env={**os.environ, "CI": ""},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A visitor's first page; an error that no script of the page catches fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    page = context.new_page()
    uncaught: list[str] = []
    page.on("pageerror", lambda error: uncaught.append(str(error)))
    page.goto(address)
    expect(page.locator("button.generate:visible")).to_be_enabled()
    page.wait_for_function("() => window.studio.isOpen()")
    yield page
    context.close()
    assert uncaught == []


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the studio did not answer within {START_SECONDS} s:\n{log.read_text()}")


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
