"""The interface over a manager that only pretends to draw."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import gradio as gr
import pytest

from tests.ui.fake_manager import FakeManager, leave_no_loop_open
from ui.fields import Fields
from ui.tabs import TABS


@pytest.fixture
def manager(tmp_path: Path) -> FakeManager:
    return FakeManager(tmp_path)


@pytest.fixture
def draw(manager: FakeManager) -> Callable[[str], Fields]:
    """Draws the inputs of a task's tab, below a list of models that belongs to no page."""

    return lambda task: draw_tab(manager, task)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fields]:
    """The same, drawn once for all tests that change neither the inputs nor the manager."""
    manager = FakeManager(tmp_path_factory.mktemp("drawn"))

    @cache
    def draw_once(task: str) -> Fields:
        return draw_tab(manager, task)

    return draw_once


def draw_tab(manager: FakeManager, task: str) -> Fields:
    tab = next(tab for tab in TABS if tab.task == task)
    with gr.Blocks():
        fields = Fields(tab.request_class, manager)  # type: ignore[arg-type]
        fields.add("model", gr.Dropdown([("Studio demo", "demo")], value="demo"))
        tab.build(fields)
    return fields


@pytest.fixture(autouse=True)
def closed_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_no_loop_open(monkeypatch)
