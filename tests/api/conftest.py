"""The studio served on a free port, called as its users call it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from PIL import Image

from tests.ui.fake_manager import FakeManager, leave_no_loop_open
from ui.layout import build_app, launch_options


@dataclass(frozen=True)
class Studio:
    """A served studio."""

    manager: Any
    url: str

    @property
    def client(self) -> Client:
        return Client(self.url, verbose=False)

    def post(self, path: str, body: str) -> tuple[int, str]:
        """POSTs text as JSON; returns the status and the answer, whatever they are."""
        url = f"{self.url}/gradio_api/{path}"
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def call(self, task: str, body: str) -> tuple[str, Any]:
        """Calls an endpoint by name with the fields in `body` (JSON, also such as has NaN in it).

        Returns the stream's last event, "complete" or "error", and its data.
        """
        status, answer = self.post(f"call/v2/{task}", body)
        assert status == 200, answer
        event_id = json.loads(answer)["event_id"]
        with urllib.request.urlopen(f"{self.url}/gradio_api/call/{task}/{event_id}", timeout=60) as stream:
            lines = stream.read().decode().strip().splitlines()
        return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


def serve(manager: Any) -> Iterator[Studio]:
    """Serves `manager` until the fixture ends."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_no_loop_open(monkeypatch)
        app = build_app(manager)
        _, url, _ = app.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options(manager.model.native_size)
        )
        yield Studio(manager, url.rstrip("/"))
        app.close(verbose=False)
    manager.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gradio counts its calls with what pandas is about to drop; raised as an error, that ends the call."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"))


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    yield from serve(FakeManager(tmp_path_factory.mktemp("fake")))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (64, 48), "navy").save(path)
    return path
