"""A tab whose questions are answered, and which shows what it is filled with."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from pipelines.schema.requests import REQUESTS
from tests.ui.fake_manager import FakeManager, leave_no_loop_open
from tests.ui.handlers import find_handler
from ui.asking import bind_asking
from ui.fields import Fields
from ui.filling import default_values, kept_names, read_shown, write_values
from ui.tabs import TABS

CLIENT: Any = SimpleNamespace(headers={"accept-language": "en"})
SKIPPED = gr.skip()


class Desk:
    """The inputs of one task as a browser would show them."""

    def __init__(self, task: str, manager: FakeManager) -> None:
        tab = next(tab for tab in TABS if tab.task == task)
        with gr.Blocks():
            self.fields = Fields(tab.request_class, manager)  # type: ignore[arg-type]
            self.fields.add("model", gr.Dropdown([("Studio demo", "demo")], value="demo"))
            tab.build(self.fields)
            ask, fill, told, answer, tabs = gr.Button(), gr.Button(), gr.Textbox(), gr.JSON(), gr.Tabs()
            bind_asking(self.fields, ask, fill, told, answer, tabs)
        self.answer: Any = find_handler(ask, "click").fn
        self.fill_tab: Any = find_handler(fill, "click").fn
        self.names = kept_names(self.fields)
        self.begin()

    def begin(self) -> "Desk":
        """The defaults of the studio's own model."""
        self.shown = write_values(self.fields, default_values(self.fields, self.fields.model))
        self.touched: set[str] = set()
        self.tab: Any = None
        return self

    def show(self, **values: Any) -> None:
        """Lets the inputs show the values of request fields."""
        self.shown |= write_values(self.fields, values)

    @property
    def values(self) -> dict[str, Any]:
        """The request fields of what is shown."""
        return read_shown(self.fields, self.shown)

    @property
    def inputs(self) -> list[Any]:
        """What the browser sends along."""
        return [self.shown[name] for name in self.names]

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer to a question that fills nothing."""
        return read_answer(self.answer(CLIENT, json.dumps({"id": "1", **question}), *self.inputs))

    def fill(self, **question: Any) -> dict[str, Any]:
        """The answer to a question that fills the tab; `touched` are the inputs that it set."""
        told = json.dumps({"id": "1", **question})
        answer, self.tab, self.quality, *updates = self.fill_tab(CLIENT, told, *self.inputs)
        changed = {name: update for name, update in zip(self.names, updates, strict=True) if update != SKIPPED}
        self.touched = set(changed)
        self.shown |= {name: value_of(update) for name, update in changed.items()}
        return read_answer(answer)


def draw_desks(folder: Path) -> dict[str, Desk]:
    """A desk for each task: a tab takes a while to be drawn, so that tests of a module share them."""
    with pytest.MonkeyPatch.context() as patch:
        leave_no_loop_open(patch)
        manager = FakeManager(folder)
        return {task: Desk(task, manager) for task in REQUESTS}


def read_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as the browser reads it, without the id of its question."""
    assert answer["id"] == "1"
    return {key: value for key, value in json.loads(json.dumps(answer)).items() if key != "id"}


def value_of(update: Any) -> Any:
    """The value that an update or a bare value lets an input show."""
    return update["value"] if isinstance(update, dict) and update.get("__type__") == "update" else update
