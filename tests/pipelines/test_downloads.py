"""Jobs whose files are still on the Hub wait beside the line; the Hub is a function that the tests hold up."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny

from pipelines import downloads as downloads_module
from pipelines.components.hub import Report
from pipelines.components.tiny import TinyDecoders
from pipelines.diffusion.previewers import Previewers
from pipelines.diffusion.previews import LatentPreview, TinyPreview
from pipelines.downloads import Downloads
from pipelines.job import Job
from pipelines.line import Drawing, Line, Turn
from pipelines.manager import PipelineManager
from pipelines.prompts.drawing import Draw
from pipelines.schema.errors import Cancelled, ModelError, PipelineError, QueueFull
from pipelines.schema.events import Loading, Queued, Stopped
from pipelines.schema.models import AddOn, Entry, ModelEntry, Selection
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
PLACES = 6


class Hub:
    """Brings an entry when `opened`, and reports until then as a transfer does."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.asked: list[str] = []
        self.brought: list[str] = []
        self.ended: list[str] = []
        self.error: Exception | None = None

    def fetch(self, entry: Entry, _parts: Sequence[str] | None, report: Report) -> None:
        """Blocks while the Hub is closed; raises what `report` raises, or `error`."""
        self.asked.append(entry.source)
        try:
            report(Loading(entry.title, 0.5, 1, 2))
            while not self.opened.wait(0.01):
                report(Loading(entry.title, 0.5, 1, 2))
            if self.error:
                raise self.error
            self.brought.append(entry.source)
        finally:
            self.ended.append(entry.source)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def line() -> Line:
    return Line(max_running=1, max_queue=PLACES - 1)


@pytest.fixture
def downloads(line: Line, hub: Hub) -> Iterator[Downloads]:
    downloads = Downloads(line, hub.fetch)
    yield downloads
    downloads.close()
    hub.opened.set()


def make_entry(name: str) -> ModelEntry:
    return ModelEntry(name=name, title=name.capitalize(), source=f"somebody/{name}")


def add(downloads: Downloads, line: Line, *names: str) -> Turn:
    """A job on its reserved place that waits for the files of those names."""
    entries = [make_entry(name) for name in names or ("model",)]
    drawings = (Drawing(Draw(TextToImageRequest(), {}), Selection(entries[0])),)
    turn = Turn(Job(TextToImageRequest(), ""), drawings, inputs=None)
    line.reserve()
    downloads.add(turn, [(entry, ["unet"]) for entry in entries])
    return turn


def free_places(line: Line) -> int:
    """How many more jobs the line would let in now."""
    free = 0
    try:
        while free <= 2 * PLACES:
            line.reserve()
            free += 1
    except QueueFull:
        pass
    for _ in range(free):
        line.release()
    return free


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about within 5 s"
        time.sleep(0.005)


def is_stopped(job: Job) -> bool:
    """Waits for the end, so that a job that gets no last event fails its test instead of holding it up."""
    with pytest.raises(Cancelled):
        job.result(5)
    return list(job.events())[-1] == Stopped()


def test_a_job_joins_the_line_when_all_its_files_are_there(downloads: Downloads, line: Line, hub: Hub) -> None:
    turn = add(downloads, line, "model", "vae")
    wait_until(lambda: hub.asked == ["somebody/model"])
    assert (downloads.count(), line.counts(), free_places(line)) == (1, (0, 0), PLACES - 1)
    hub.opened.set()
    wait_until(lambda: line.counts() == (1, 0))
    assert line.next_turns() == [turn]
    assert hub.brought == ["somebody/model", "somebody/vae"]
    assert (downloads.count(), line.counts(), free_places(line)) == (0, (0, 1), PLACES - 1)


def test_every_job_hears_at_once_what_it_waits_for_and_then_how_far_it_is(
    downloads: Downloads, line: Line, hub: Hub
) -> None:
    turns = [add(downloads, line, name) for name in ("one", "two", "three")]
    streams = [turn.job.events() for turn in turns]
    assert [next(stream) for stream in streams] == [Loading(name, 0.0) for name in ("One", "Two", "Three")]
    assert next(streams[0]) == Loading("One", 0.5, 1, 2)
    wait_until(lambda: len(hub.asked) == 2)
    assert "somebody/three" not in hub.asked
    hub.opened.set()
    wait_until(lambda: line.counts() == (3, 0))
    assert any(isinstance(event, Queued) for event in streams[2])


@pytest.mark.parametrize("stopped", [0, 4])
def test_a_stopped_job_gives_its_place_back_at_once(downloads: Downloads, line: Line, hub: Hub, stopped: int) -> None:
    turns = [add(downloads, line, f"m{number}") for number in range(PLACES)]
    wait_until(lambda: len(hub.asked) == 2)
    assert free_places(line) == 0
    turns[stopped].job.cancel()
    assert is_stopped(turns[stopped].job)
    assert (free_places(line), downloads.count()) == (1, PLACES - 1)
    hub.opened.set()
    wait_until(lambda: downloads.count() == 0)
    assert free_places(line) == 1
    assert (f"somebody/m{stopped}" in hub.asked) == (stopped < 2), "what nobody waits for is not downloaded"


def test_a_job_stopped_behind_others_is_let_go_of_with_its_uploads(downloads: Downloads, line: Line, hub: Hub) -> None:
    turns = [add(downloads, line, name) for name in ("one", "two")]
    wait_until(lambda: len(hub.asked) == len(turns))
    waiting = add(downloads, line, "three")
    seen = weakref.ref(waiting)
    waiting.job.cancel()
    del waiting
    gc.collect()
    assert seen() is None


def test_stopping_ends_the_transfer_and_the_next_one_begins(downloads: Downloads, line: Line, hub: Hub) -> None:
    turns = [add(downloads, line, name) for name in ("one", "two", "three")]
    wait_until(lambda: len(hub.asked) == 2)
    turns[0].job.cancel()
    wait_until(lambda: hub.ended == ["somebody/one"] and hub.asked[2:] == ["somebody/three"])
    assert not turns[2].job.is_finished


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModelError("Model: the Hub answered 503; try again later"), "Model: the Hub answered 503; try again later"),
        (RuntimeError("planted"), r"Model could not be downloaded \(RuntimeError\)"),
    ],
)
def test_a_download_that_fails_ends_its_job_with_a_sentence_and_others_go_on(
    downloads: Downloads, line: Line, hub: Hub, error: Exception, sentence: str
) -> None:
    hub.error = error
    hub.opened.set()
    failed = add(downloads, line, "model", "vae")
    with pytest.raises(ModelError, match=f"^{sentence}$"):
        failed.job.result(5)
    wait_until(lambda: downloads.count() == 0)
    assert (free_places(line), hub.asked) == (PLACES, ["somebody/model"])
    hub.error = None
    turn = add(downloads, line)
    wait_until(lambda: line.counts() == (1, 0))
    assert line.next_turns() == [turn]


def test_closing_ends_every_job_and_every_transfer(downloads: Downloads, line: Line, hub: Hub) -> None:
    turns = [add(downloads, line, f"m{number}") for number in range(4)]
    wait_until(lambda: len(hub.asked) == 2)
    downloads.close()
    assert all(is_stopped(turn.job) for turn in turns)
    assert (downloads.count(), free_places(line)) == (0, PLACES)
    wait_until(lambda: len(hub.ended) == 2)
    late = add(downloads, line)
    assert is_stopped(late.job)
    assert (downloads.count(), free_places(line), len(hub.asked)) == (0, PLACES, 2)


def test_places_are_given_back_once_however_stopping_and_arriving_fall_together(line: Line, hub: Hub) -> None:
    hub.opened.set()
    downloads = Downloads(line, hub.fetch)
    for number in range(300):
        turns = [add(downloads, line) for _ in range(3)]
        if number % 2:
            wait_until(lambda: downloads.count() < 3)
        for turn in turns:
            turn.job.cancel()
        wait_until(lambda: downloads.count() == 0)
    wait_until(lambda: free_places(line) == PLACES)
    downloads.close()


def test_a_program_ends_in_the_middle_of_a_download() -> None:
    code = """
import time
from pipelines.downloads import Downloads
from pipelines.job import Job
from pipelines.line import Drawing, Line, Turn
from pipelines.prompts.drawing import Draw
from pipelines.schema.models import ModelEntry, Selection
from pipelines.schema.requests import TextToImageRequest
entry = ModelEntry(name="model", title="Model", source="somebody/model")
line = Line(1, 1)
line.reserve()
request = TextToImageRequest()
turn = Turn(Job(request, ""), (Drawing(Draw(request, {}), Selection(entry)),), None)
Downloads(line, lambda entry, parts, report: time.sleep(60)).add(turn, [(entry, None)])
time.sleep(0.2)
"""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=20)


def test_what_no_job_waits_for_is_tried_again_until_it_is_there(
    downloads: Downloads, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(downloads_module, "RETRY_SECONDS", 0.01)
    hub.opened.set()
    hub.error = ModelError("the Hub cannot be reached")
    downloads.keep_trying(make_entry("decoder"))
    wait_until(lambda: len(hub.ended) > 3)
    assert caplog.text.count("the Hub cannot be reached") == 1, "the same sentence is not told again and again"
    hub.error = None
    wait_until(lambda: all(thread.name != "decoder" for thread in threading.enumerate()))
    wait_until(lambda: bool(hub.brought))
    time.sleep(0.1)
    assert (hub.brought, downloads.count()) == (["somebody/decoder"], 0)


def test_what_no_job_waits_for_ends_with_the_studio(downloads: Downloads, hub: Hub) -> None:
    downloads.keep_trying(make_entry("decoder"))
    wait_until(lambda: len(hub.asked) == 1)
    downloads.close()
    wait_until(lambda: len(hub.ended) == 1)


# In the studio


def test_a_studio_counts_the_jobs_that_download_and_its_end_is_theirs(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.manager.Downloads", partial(Downloads, fetch=hub.fetch))
    manager = PipelineManager(Settings(model="demo", device="cpu", downloads=True, output_dir=tmp_path))
    jobs = [manager.submit(TextToImageRequest(prompt="a fox", model="sdxl")) for _ in range(3)]
    assert (manager.status().queued, manager.status().running) == (3, 0)
    jobs[0].cancel()
    assert manager.status().queued == 2
    manager.close()
    for job in jobs:
        with pytest.raises(Cancelled):
            job.result(5)


def test_the_decoder_of_sharp_previews_is_fetched_beside_the_device(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.manager.Downloads", partial(Downloads, fetch=hub.fetch))
    manager = PipelineManager(Settings(model="demo", device="cpu", previews="sharp", output_dir=tmp_path))
    wait_until(lambda: hub.asked == ["madebyollin/taesdxl"])
    assert manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=1)).result(60).files
    manager.close()
    wait_until(lambda: hub.ended == ["madebyollin/taesdxl"])


def test_previews_are_coarse_until_their_decoder_is_on_this_disk_and_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def find(entry: Entry, _parts: Sequence[str] | None, _report: Report) -> Path:
        if not Path(entry.source).exists():
            raise PipelineError("the device's thread must not ask the Hub")
        return Path(entry.source)

    colours = tmp_path / "colours.json"
    colours.write_text('{"weight": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]], "bias": [0, 0, 0]}')
    model = make_entry("model").model_copy(update={"latent_rgb": str(colours)})
    decoder = AddOn(name="decoder", title="Decoder", kind="preview", source=str(tmp_path / "decoder"))
    previewers = Previewers(decoder, TinyDecoders(find, torch.device("cpu"), torch.float32))

    def kind() -> type:
        return type(previewers.of(model, lambda event: None))

    assert kind() is LatentPreview
    assert caplog.text == "", "nobody has tried to fetch or to read it"
    AutoencoderTiny(decoder_block_out_channels=(8,) * 4, encoder_block_out_channels=(8,) * 4).save_pretrained(
        decoder.source
    )
    weights = Path(decoder.source) / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    assert [kind(), kind()] == [LatentPreview, LatentPreview]
    assert caplog.text.count("previews are coarse: Decoder could not be read") == 1
    weights.write_bytes(whole)
    assert kind() is TinyPreview
