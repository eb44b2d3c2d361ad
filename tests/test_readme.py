"""README says what is true: its examples run, its flags exist, its links lead somewhere."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.schema.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7860"
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")), PROJECT / "training" / "README.md"]


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def front_matter() -> dict[str, object]:
    return yaml.safe_load(README.split("---\n")[1])


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an app that README's command has started, with the embedded model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("studio")
    log = folder / "log.txt"
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "app.py", "--model", "demo", "--port", str(port), "--output-dir", str(folder)]
    with log.open("w") as output, subprocess.Popen(command, cwd=PROJECT, stdout=output, stderr=output) as app:
        try:
            wait_until_open(address, app, log)
            yield address
        finally:
            app.terminate()


def wait_until_open(address: str, app: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and app.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"the app did not open {address}:\n{log.read_text()}")


def test_the_commands_name_files_that_exist() -> None:
    commands = " ".join(code_blocks("sh"))
    assert "pip install -r requirements.txt && python app.py\n" in commands
    assert "pip install -r requirements-dev.txt && python -m pytest\n" in commands
    assert [name for name in re.findall(r"[\w-]+\.(?:txt|py)\b", commands) if not (PROJECT / name).is_file()] == []


@pytest.mark.slow
def test_the_api_example_runs(studio: str, tmp_path: Path) -> None:
    (example,) = code_blocks("python")
    assert ADDRESS in example
    command = [sys.executable, "-c", example.replace(ADDRESS, studio)]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "downloads")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if ".png" in line]
    assert len(printed) == 2
    assert [line for line in printed if not Path(line.rsplit(".png", 1)[0] + ".png").is_file()] == []


def test_the_flags_are_the_settings() -> None:
    rows = re.findall(r"^\| `--([\w-]+)` \|(.*?)\|", README, re.MULTILINE)
    shown = {flag.replace("-", "_"): default.strip(" `") for flag, default in rows}
    fields = Settings.model_fields.items()
    assert shown == {name: as_shown(field.default) for name, field in fields}
    assert len(rows) == len(shown)


def as_shown(default: object) -> str:
    if default is None:
        return ""
    return "off" if default is False else str(default).removeprefix(f"{PROJECT}/")


def test_the_space_can_read_its_configuration() -> None:
    space = front_matter()
    assert len(str(space["short_description"])) <= 60
    assert (PROJECT / str(space["app_file"])).is_file()
    assert space["sdk"] == "gradio"
    assert space["license"] == "apache-2.0"
    minor = ".".join(str(space["sdk_version"]).split(".")[:2])
    assert f"\ngradio>={minor}," in (PROJECT / "requirements.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
