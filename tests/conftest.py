"""What all tests share: an offline environment, a host's settings, and a strict view on missing browsers."""

import gc
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: its threads would busy-wait against the browser's
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault(  # a hundred ports for each worker: two must not find the same one free at once
    "GRADIO_SERVER_PORT", str(7860 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
)

from pipelines.schema.settings import Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER_TESTS = Path(__file__).parent / "browser"


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> None:
    """What the libraries have made when they were imported is not looked through by each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def demo_settings(tmp_path: Path) -> Settings:
    """The embedded model on the CPU in full precision, with a folder of its own for the pictures."""
    return Settings(model="demo", device="cpu", dtype="float32", output_dir=tmp_path / "outputs")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium that browser tests drive; without one they are skipped, in CI they fail."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on this machine: browser tests need one (Debian: apt install chromium)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever stands in tests/browser is a browser test. They run last: Playwright keeps an event loop running."""
    for item in items:
        if item.path.is_relative_to(BROWSER_TESTS):
            item.add_marker("browser")
    items.sort(key=lambda item: item.path.is_relative_to(BROWSER_TESTS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a browser test that was skipped has failed."""
    report = yield
    if report.skipped and _is_ci() and item.get_closest_marker("browser"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a file of browser tests that skipped itself as a whole has failed."""
    report = yield
    if report.outcome == "skipped" and _is_ci() and collector.path.is_relative_to(BROWSER_TESTS):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true")
