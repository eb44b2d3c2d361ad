"""CPU time from starting Python to a served page."""

import http.client
import socket
import subprocess
import sys
import time

import psutil

from benchmarks.figures import Figure, Promise
from benchmarks.pairs import Spread
from benchmarks.scene import Scene
from pipelines.schema.paths import PROJECT

MOST_SECONDS = 4.0
MOST_STARTS = 5
PATIENCE_SECONDS = 120
POLL_SECONDS = 0.05


def measure(scene: Scene) -> list[Figure]:
    """The whole studio with the embedded model, as a host starts it."""
    starts = [cpu_seconds_to_page(scene) for _ in range(min(scene.pairs, MOST_STARTS))]
    promise = Promise("at most", MOST_SECONDS)
    name = "import to a served page, CPU time"
    return [Figure(name, Spread.of(starts), "s", promise, samples={"seconds": starts})]


def cpu_seconds_to_page(scene: Scene) -> float:
    """Of app.py and whatever it starts, until its page answers."""
    port = find_port()
    command = [sys.executable, "app.py", "--model", "demo", "--device", str(scene.device), "--port", str(port)]
    command += ["--output-dir", str(scene.folder / "outputs")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL) as app:  # noqa: S603 -- our own
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not is_served(port):
                if app.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"app.py served no page within {PATIENCE_SECONDS} s")
                time.sleep(POLL_SECONDS)
            process = psutil.Process(app.pid)
            times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        finally:
            app.terminate()
    return sum(each.user + each.system for each in times)


def find_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_served(port: int) -> bool:
    """Whether the page answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        return response.status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
