"""One run of a tab, listened to as Gradio listens."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from pipelines.job import Job
from pipelines.schema.events import Done, Queued, Stopped
from pipelines.schema.requests import TextToImageRequest
from tests.ui.fake_manager import FakeManager
from ui.fields import Fields
from ui.listen import listen
from ui.running import make_runner
from ui.stage import Stage
from ui.studio_blocks import StudioBlocks
from ui.tab import Tab
from ui.tabs import TABS
from ui.view import build_view

CLIENT = SimpleNamespace(session_hash="me", headers={}, username=None, client=SimpleNamespace(host="127.0.0.1"))


@pytest.fixture
def stage(manager: FakeManager) -> Stage:
    with StudioBlocks():
        return build_view(TABS[0], manager, ["inpaint"], gr.Dropdown()).stage  # type: ignore[arg-type]


def make_run(manager: FakeManager, stage: Stage, values: dict[str, Any], tab: Tab = TABS[0]) -> Callable[..., Any]:
    """The run of a tab that has inputs for `values` only, waiting for the last outcome."""
    fields = Fields(tab.request_class, manager)  # type: ignore[arg-type]
    for name in values:
        fields.add(name, gr.Textbox())
    run = make_runner(manager, fields, stage)
    return lambda outcome=None: run(CLIENT, outcome, *values.values())


def collect(manager: FakeManager, stage: Stage, **values: Any) -> tuple[list[dict], str]:
    """Every update of a run, and its error."""
    run = make_run(manager, stage, values)
    updates = []

    async def listen_to_all() -> str:
        try:
            async for update in run():
                updates.append(update)
        except gr.Error as error:
            return error.message if not error.visible else "a toast says it again, and stays"
        return ""

    return updates, asyncio.run(with_timeout(listen_to_all()))


async def with_timeout(work: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.wait_for(work, 20)


def test_a_run_ends_with_the_saved_files(manager: FakeManager, stage: Stage) -> None:
    updates, error = collect(manager, stage, prompt="a fox", num_images_per_prompt=2, seed=7, num_inference_steps=4)
    assert error == ""
    outcome = updates[-1][stage.outcome]
    assert outcome["seeds"] == [7, 8]
    saved = [file.read_bytes() for file in sorted(manager.folder.glob("*.png"))]
    assert [Path(file).read_bytes() for file in outcome["files"]] == saved
    assert manager.jobs.popitem()[1].owner == "page 127.0.0.1 me"


def test_what_was_mended_on_the_way_is_said_then_and_afterwards(manager: FakeManager, stage: Stage) -> None:
    updates, error = collect(manager, stage, prompt="heal a fox", num_inference_steps=4)
    assert error == ""
    sentence = "Numbers overflowed: drawn again in float32."
    steps = [update[stage.status] for update in updates if "step " in str(update.get(stage.status))]
    assert steps
    assert all(sentence in step for step in steps)
    assert sentence in updates[-1][stage.facts]["value"]


def test_while_it_runs_only_stop_can_be_pressed(manager: FakeManager, stage: Stage) -> None:
    updates, _ = collect(manager, stage, prompt="a fox", num_inference_steps=2)
    assert updates[0][stage.generate]["interactive"] is False
    assert updates[0][stage.stop]["interactive"] is True
    assert updates[-1][stage.generate]["interactive"] is True
    assert updates[-1][stage.stop]["interactive"] is False


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"prompt": "a fox", "width": 100, "height": 256}, "width must be a multiple of 8, got 100"),
        ({"prompt": "break it"}, "models/demo/unet holds no weights"),
        ({"prompt": "full"}, "the queue is full (32 jobs wait); try again in a minute"),
    ],
)
def test_what_goes_wrong_is_said_on_the_stage_and_leaves_generate_ready(
    manager: FakeManager, stage: Stage, values: dict[str, Any], sentence: str
) -> None:
    updates, error = collect(manager, stage, **values)
    assert error == sentence
    assert sentence in updates[-1][stage.status]
    assert updates[-1][stage.generate]["interactive"] is True


def is_at_rest(stage: Stage, update: dict) -> bool:
    buttons = update[stage.generate]["interactive"], update[stage.stop]["interactive"]
    return buttons == (True, False) and update[stage.job] is None


def test_a_full_disk_at_the_end_is_a_sentence_without_a_folder(
    manager: FakeManager, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise OSError(28, "No space left on device", "/srv/cache/a.png")

    monkeypatch.setattr("ui.generate.save_file_to_cache", fail)
    updates, error = collect(manager, stage, prompt="a fox", num_inference_steps=2, seed=7)
    assert error.endswith("-7.png was saved but cannot be shown: No space left on device")
    assert "/srv" not in error
    assert is_at_rest(stage, updates[-1])


def test_a_fault_of_ours_leaves_the_stage_at_rest_and_names_nothing(
    manager: FakeManager, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise ZeroDivisionError("in /srv/studio")

    monkeypatch.setattr("ui.running.describe_event", fail)
    updates, error = collect(manager, stage, prompt="a fox", num_inference_steps=2)
    assert updates[0][stage.generate]["interactive"] is False
    assert error.startswith("Something went wrong inside the studio")
    assert is_at_rest(stage, updates[-1])


def test_inputs_are_read_off_the_event_loop(manager: FakeManager, stage: Stage) -> None:
    readers = []

    def read(value: str) -> str:
        readers.append(threading.current_thread())
        return value

    fields = Fields(TABS[0].request_class, manager)  # type: ignore[arg-type]
    fields.add("prompt", gr.Textbox(), read=read)
    run: Any = make_runner(manager, fields, stage)

    async def drain() -> None:
        async for _ in run(CLIENT, None, "full"):
            pass

    with pytest.raises(gr.Error):
        asyncio.run(with_timeout(drain()))
    assert len(readers) == 1
    assert readers[0] is not threading.current_thread()


def test_a_missing_picture_is_asked_for_in_plain_words(manager: FakeManager, stage: Stage) -> None:
    run = make_run(manager, stage, {"prompt": "a fox", "image": None}, TABS[1])

    async def first_update() -> dict:
        async with aclosing(run()) as updates:
            return await anext(updates)

    assert "Put in a picture first." in asyncio.run(first_update())[stage.status]


def test_leaving_early_cancels_the_job(manager: FakeManager, stage: Stage) -> None:
    manager.step_seconds = 0.05
    run = make_run(manager, stage, {"prompt": "a fox", "num_inference_steps": 100})

    async def leave_after_two() -> None:
        async with aclosing(run()) as updates:
            await anext(updates)
            await anext(updates)

    asyncio.run(with_timeout(leave_after_two()))
    assert manager.jobs.popitem()[1].is_cancelled


def test_a_cancelled_handler_cancels_a_job_that_only_waits() -> None:
    job = Job(TextToImageRequest(), "")

    async def wait_and_be_cancelled() -> None:
        async def drain() -> None:
            async for _ in listen(job):
                pass

        task = asyncio.create_task(drain())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(with_timeout(wait_and_be_cancelled()))
    assert job.is_cancelled
    job.post(Stopped())


def test_silence_is_told_so_that_gradio_can_look_for_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.listen.HEARTBEAT_SECONDS", 0.02)
    job = Job(TextToImageRequest(), "")
    job.post(Queued(3))

    async def first_two() -> list[Any]:
        async with aclosing(listen(job)) as events:
            return [await anext(events), await anext(events)]

    assert asyncio.run(with_timeout(first_two())) == [Queued(3), None]
    job.post(Stopped())


def test_a_stopped_job_brings_the_last_pictures_back(manager: FakeManager, stage: Stage) -> None:
    manager.step_seconds = 0.02
    run = make_run(manager, stage, {"prompt": "a fox", "num_inference_steps": 100})

    async def stop_in_the_middle() -> dict:
        last: dict = {}
        async for update in run({"files": ["a.png"]}):
            last = update
            if stage.canvas in update and stage.job not in update:
                next(iter(manager.jobs.values())).cancel()
        return last

    last = asyncio.run(with_timeout(stop_in_the_middle()))
    assert "Stopped" in last[stage.status]
    assert last[stage.gallery]["visible"] is True
    assert not isinstance(list(manager.jobs.values())[0]._last, Done)  # noqa: RUF015
