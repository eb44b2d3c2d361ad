"""The interface over a manager that only pretends to draw."""

from pathlib import Path

import pytest

from tests.ui.fake_manager import FakeManager, leave_no_loop_open


@pytest.fixture
def manager(tmp_path: Path) -> FakeManager:
    return FakeManager(tmp_path)


@pytest.fixture(autouse=True)
def closed_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_no_loop_open(monkeypatch)
