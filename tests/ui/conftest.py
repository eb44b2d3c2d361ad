"""The interface over a manager that only pretends to draw."""

from collections.abc import Callable
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

    def draw_tab(task: str) -> Fields:
        tab = next(tab for tab in TABS if tab.task == task)
        with gr.Blocks():
            fields = Fields(tab.request_class, manager)  # type: ignore[arg-type]
            fields.add("model", gr.Dropdown([("Studio demo", "demo")], value="demo"))
            tab.build(fields)
        return fields

    return draw_tab


@pytest.fixture(autouse=True)
def closed_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_no_loop_open(monkeypatch)
