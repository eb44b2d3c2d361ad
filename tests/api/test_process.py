"""`app.py` as a process: what it says, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from gradio_client import Client

PROJECT = Path(__file__).resolve().parents[2]
ADDRESS = re.compile(r"Open (http://127\.0\.0\.1:\d+)/? in a browser; Ctrl\+C ends the studio\.\n")
FIRST_PICTURE_SECONDS = 60


def start(outputs: Path, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "app.py", "--model", "demo", "--device", "cpu", "--port", "0"]
    return subprocess.Popen(
        [*command, "--output-dir", str(outputs)],
        cwd=PROJECT,
        env={**os.environ, "SPACE_ID": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_runs_and_ends_without_a_traceback(tmp_path: Path, ending: signal.Signals) -> None:
    with start(tmp_path) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "Studio demo on cpu: chosen by --model\n"
            assert ADDRESS.fullmatch(process.stdout.readline())
            process.send_signal(ending)
            said, _ = process.communicate(timeout=90)
            assert "Traceback" not in said
            assert process.returncode == 0, said
        finally:
            process.kill()


def test_the_first_picture_is_there_a_minute_after_the_start(tmp_path: Path) -> None:
    began = time.monotonic()
    with start(tmp_path) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            address = ADDRESS.fullmatch(process.stdout.readline())
            assert address
            with urllib.request.urlopen(address[1], timeout=30) as page:
                assert page.status == 200
            files, _ = Client(address[1], verbose=False).predict(
                prompt="a fox on a blue background", api_name="/text_to_image"
            )
            seconds = time.monotonic() - began
            assert Path(files[0]).read_bytes() == next(tmp_path.rglob("*.png")).read_bytes()
            assert seconds < FIRST_PICTURE_SECONDS, f"from the start to the first picture it took {seconds:.1f} s"
            assert re.fullmatch(r"bfloat16 is [\d.]+ times as fast as float32 here: .*\n", process.stdout.readline())
        finally:
            process.kill()


def test_an_unknown_model_is_one_line() -> None:
    done = subprocess.run([sys.executable, "app.py", "--model", "none"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("app.py: model must be one of demo, sdxl, ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_two_studios_do_not_serve_from_one_folder_and_leave_none_behind(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary), "GRADIO_TEMP_DIR": ""}
    with start(tmp_path / "a", **environment) as first, start(tmp_path / "b", **environment) as second:
        try:
            for process in (first, second):
                assert process.stdout
                process.stdout.readline()
                assert ADDRESS.fullmatch(process.stdout.readline())
            assert len(list(temporary.glob("sdxl-studio-*"))) == 2
            assert not (temporary / "gradio").exists()
            second.send_signal(signal.SIGINT)
            second.communicate(timeout=90)
            (left,) = temporary.glob("sdxl-studio-*")
            assert any(left.rglob("*.png")), "the first one's example pictures"
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=90)
            assert not list(temporary.glob("sdxl-studio-*"))
        finally:
            first.kill()
            second.kill()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--models-dir", "no/such/folder"], "app.py: --models-dir must be a folder, got 'no/such/folder'"),
        (["--output-dir", "README.md/pictures"], "app.py: --output-dir 'README.md/pictures' cannot be made: "),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(flags: list[str], line: str) -> None:
    done = subprocess.run([sys.executable, "app.py", *flags], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
