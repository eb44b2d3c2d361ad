"""Jobs of several texts: one draw after the other, each picture with its own request, and nothing finished is lost."""

import gc
import math
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import rounds
from pipelines.album import MOST_UNWRITTEN, Album, Ending, Page
from pipelines.components.expert import Expert
from pipelines.diffusion.previews import Clock, StepReporter
from pipelines.job import Job
from pipelines.manager import PipelineManager
from pipelines.media import save
from pipelines.media.metadata import read_settings
from pipelines.schema.errors import Cancelled, InvalidRequest, RunError
from pipelines.schema.events import Done, Failed, Noticed, Result, Saving, Step, Stopped
from pipelines.schema.requests import ImageToImageRequest, TextToImageRequest, make_request
from pipelines.schema.settings import Settings
from tests.adapter_files import write_diffusers_lora, write_embedding, write_kohya_lora
from tests.pipelines.demo_experts import prepare_run

STEPS = 2
COLOURS = "a fox on a {red|blue|green} background"
RED, BLUE, GREEN = (COLOURS.replace("{red|blue|green}", colour) for colour in ("red", "blue", "green"))
SMALL = {"seed": 1, "num_inference_steps": STEPS, "width": 64, "height": 64}

Predict = Callable[..., torch.Tensor]


def make(prompt: str = COLOURS, **values: Any) -> TextToImageRequest:
    return make_request(TextToImageRequest, {"prompt": prompt, **SMALL, **values})


def submit(manager: PipelineManager, prompt: str = COLOURS, owner: str = "", **values: Any) -> Job:
    return manager.submit(make(prompt, **values), owner)


def draw_all(manager: PipelineManager, prompt: str = COLOURS, **values: Any) -> Job:
    return submit(manager, prompt, all_combinations=True, **values)


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def draw_one(manager: PipelineManager, prompt: str, **values: Any) -> np.ndarray:
    return pixels(submit(manager, prompt, **values).result(60).files[0])


def last_event(job: Job) -> Done | Failed | Stopped:
    *_, last = job.events()
    assert isinstance(last, Done | Failed | Stopped)
    return last


class Steps:
    """Counts UNet calls; at the one that `act` was given for, does that first, with the job that was submitted."""

    def __init__(self, predict: Predict) -> None:
        self.calls = 0
        self._predict = predict
        self._jobs: queue.Queue[Job] = queue.Queue()
        self._actions: dict[int, Callable[[Job], None]] = {}

    def at(self, call: int, action: Callable[[Job], None]) -> None:
        self._actions[call] = action

    def of(self, job: Job) -> Job:
        self._jobs.put(job)
        return job

    def __call__(self, *args: Any, **options: Any) -> torch.Tensor:
        self.calls += 1
        if self.calls in self._actions:
            job = self._jobs.get(timeout=10)
            self._jobs.put(job)
            self._actions[self.calls](job)
        return self._predict(*args, **options)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps(rounds.predict)
    monkeypatch.setattr(rounds, "predict", lambda *args, **options: steps(*args, **options))
    return steps


# One text after the other


def test_each_picture_of_a_batch_with_variants_is_the_one_its_seed_draws_alone(manager: PipelineManager) -> None:
    result = submit(manager, num_images_per_prompt=4, scheduler="euler_ancestral").result(60)
    assert result.seeds == (1, 2, 3, 4)
    assert [request.prompt for request in result.drawn] == [RED, BLUE, BLUE, GREEN]
    assert result.request.prompt == COLOURS
    for file, seed, drawn in zip(result.files, result.seeds, result.drawn, strict=True):
        settings = read_settings(file)
        assert settings["request"] == drawn.model_dump(mode="json")
        assert (drawn.seed, drawn.num_images_per_prompt, drawn.model) == (seed, 1, "demo")
        assert settings["template"] == {"prompt": COLOURS}
        alone = draw_one(manager, drawn.prompt, seed=seed, scheduler="euler_ancestral")
        difference = pixels(file).astype(int) - alone
        assert np.abs(difference).max() <= 1, "one of 255 levels: 1e-3 in float may round to the next"
        assert np.array_equal(draw_one(manager, COLOURS, seed=seed, scheduler="euler_ancestral"), alone)


def test_all_combinations_give_a_picture_each_with_the_same_seed(manager: PipelineManager) -> None:
    result = draw_all(manager).result(60)
    assert [request.prompt for request in result.drawn] == [RED, BLUE, GREEN]
    assert result.seeds == (1, 1, 1)
    assert len(set(result.files)) == 3
    for file, drawn in zip(result.files, result.drawn, strict=True):
        assert not drawn.all_combinations
        assert np.array_equal(pixels(file), draw_one(manager, drawn.prompt))
    assert (result.steps, result.model) == ({"base": STEPS}, "demo")


def test_pictures_of_one_text_are_drawn_together_in_one_run(manager: PipelineManager, steps: Steps) -> None:
    for prompt in ("a fox", "a fox, __there_is_no_such_file__"):
        before = steps.calls
        result = submit(manager, prompt, num_images_per_prompt=3).result(60)
        assert (steps.calls - before, len(result.files)) == (STEPS, 3)
        assert [request.seed for request in result.drawn] == [1, 2, 3]
        assert "template" not in read_settings(result.files[0]) or not read_settings(result.files[0])["template"]


def test_an_upload_is_read_once_and_its_hash_stands_in_every_picture(manager: PipelineManager, picture: Path) -> None:
    upload = picture.with_name("swept away.png")
    upload.write_bytes(picture.read_bytes())
    values = {**SMALL, "prompt": COLOURS, "image": upload, "num_inference_steps": 4, "all_combinations": True}
    job = manager.submit(make_request(ImageToImageRequest, values))
    hashes = {read_settings(file)["request"]["image"] for file in job.result(60).files}
    assert len(job.result().files) == 3
    assert len(hashes) == 1
    assert hashes.pop().startswith("sha256:")


def test_each_draw_is_judged_by_its_own_pictures_not_by_those_of_all(manager: PipelineManager) -> None:
    large: dict[str, Any] = {"width": 512, "height": 512}
    for job in (draw_all(manager, **large), submit(manager, num_images_per_prompt=4, **large)):
        job.cancel()
        assert isinstance(last_event(job), Stopped)
    with pytest.raises(InvalidRequest, match="num_images_per_prompt must be at most 2 at 512x512"):
        draw_all(manager, num_images_per_prompt=3, **large)


# Told


def test_steps_are_counted_over_all_draws(manager: PipelineManager) -> None:
    events = list(draw_all(manager).events())
    told = [event for event in events if isinstance(event, Step)]
    indexes = [step.index for step in told]
    assert {step.total for step in told} == {3 * STEPS}
    assert indexes == sorted(set(indexes))
    assert (told[-1].index, told[-1].seconds_left) == (3 * STEPS, 0)
    assert all(step.seconds_left > 0 for step in told[:-1])
    assert [type(event) for event in events[-2:]] == [Saving, Done]
    assert sum(isinstance(event, Saving) for event in events) == 1, "it is said when the last step is done"


def test_the_speed_is_that_of_all_draws_and_begins_anew_when_one_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    run = prepare_run(make("a fox", num_inference_steps=4))
    first = StepReporter(run, None, 0, 3)
    run.index, now = 4, 104.0
    assert (first.report("base").steps_per_second, first.report("base").seconds_left) == (1.0, 8.0)
    now = 106.0  # decoding, and preparing the next
    second = StepReporter(run, None, 1, 3, first.clock)
    run.index, now = 2, 108.0
    step = second.report("base")
    assert (step.index, step.total, step.steps_per_second, step.seconds_left) == (6, 12, 0.75, 8.0)
    repeated = StepReporter(run, None, 1, 3)
    assert repeated.clock == Clock(108.0, -math.inf, 4)
    run.index, now = 1, 109.0
    step = repeated.report("base")
    assert (step.index, step.steps_per_second, step.seconds_left) == (5, 1.0, 7.0)


# Stopped, failed, healed


def test_a_job_stopped_in_its_third_draw_keeps_the_pictures_of_two(manager: PipelineManager, steps: Steps) -> None:
    steps.at(2 * STEPS + 1, Job.cancel)
    job = steps.of(draw_all(manager))
    event = last_event(job)
    assert isinstance(event, Stopped)
    assert event.result is not None
    assert [request.prompt for request in event.result.drawn] == [RED, BLUE]
    assert [read_settings(file)["request"]["prompt"] for file in event.result.files] == [RED, BLUE]
    assert steps.calls == 2 * STEPS + 1
    with pytest.raises(Cancelled):
        job.result()


def test_a_job_stopped_in_its_first_draw_has_no_result(manager: PipelineManager, steps: Steps) -> None:
    steps.at(1, Job.cancel)
    assert last_event(steps.of(draw_all(manager))) == Stopped(None)


def test_a_studio_that_closes_keeps_what_is_finished(tmp_path: Path, steps: Steps) -> None:
    manager = PipelineManager(Settings(model="demo", device="cpu", dtype="float32", output_dir=tmp_path))
    reached, closing = threading.Event(), threading.Event()
    steps.at(STEPS + 1, lambda job: (reached.set(), closing.wait(10))[0])
    job = steps.of(draw_all(manager))
    assert reached.wait(60)
    closer = threading.Thread(target=manager.close)
    closer.start()
    time.sleep(0.05)
    closing.set()
    closer.join()
    event = last_event(job)
    assert isinstance(event, Stopped)
    assert event.result is not None
    assert [file.is_file() for file in event.result.files] == [True]


def test_a_job_that_fails_in_its_third_draw_tells_of_the_two_it_finished(
    manager: PipelineManager, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_job: Job) -> None:
        raise RuntimeError("planted")

    steps.at(2 * STEPS + 1, fail)
    job = steps.of(draw_all(manager))
    event = last_event(job)
    assert isinstance(event, Failed)
    assert event.result is not None
    assert [file.is_file() for file in event.result.files] == [True, True]
    with pytest.raises(RunError, match="the device failed while drawing"):
        job.result()


def test_a_full_disk_ends_the_job_without_drawing_the_rest(
    manager: PipelineManager, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise OSError(28, "planted")

    with monkeypatch.context() as patch:
        patch.setattr(save.os, "replace", fail)
        with pytest.raises(RunError, match="the disk is full"):
            draw_all(manager, "a {red|blue|green|pink|white|black|brown|grey|gold|teal} fox").result(60)
    assert steps.calls < 10 * STEPS
    assert draw_all(manager).result(60).files


def test_a_job_ends_also_when_no_thread_can_be_started_to_save_it(
    manager: PipelineManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(manager._engine.saver._threads, "submit", refuse)
    assert len(draw_all(manager).result(60).files) == 3


def test_healing_repeats_the_draw_at_hand_alone(manager: PipelineManager, steps: Steps) -> None:
    def run_out(_job: Job) -> None:
        raise torch.OutOfMemoryError("planted")

    healthy = [draw_one(manager, prompt) for prompt in (RED, BLUE, GREEN)]
    steps.calls = 0
    steps.at(STEPS + 2, run_out)
    events = list(steps.of(draw_all(manager)).events())
    result = next(event.result for event in events if isinstance(event, Done))
    assert [event.notice for event in events if isinstance(event, Noticed)] == ["vae_tiled"]
    assert result.notices == ("vae_tiled",)
    assert steps.calls == 3 * STEPS + 2, "the second draw's two steps were taken twice"
    assert [request.prompt for request in result.drawn] == [RED, BLUE, GREEN]
    for file, expected in zip(result.files, healthy, strict=True):
        assert np.array_equal(pixels(file), expected), "smaller than a tile"
    assert manager.status().memory == "full"


def test_numbers_that_overflow_in_one_draw_leave_the_pictures_before_it(tmp_path: Path, steps: Steps) -> None:
    settings = Settings(model="demo", device="cpu", dtype="bfloat16", output_dir=tmp_path)
    manager = PipelineManager(settings)
    before = draw_one(manager, RED)
    predict = steps._predict
    steps._predict = lambda *args, **options: [
        prediction * (float("nan") if steps.calls == 2 * STEPS + 1 else 1) for prediction in predict(*args, **options)
    ]
    result = draw_all(manager).result(60)
    manager.close()
    assert result.notices == ("denoised_in_float32",)
    assert np.array_equal(pixels(result.files[0]), before)
    assert len(result.files) == 3


# Many draws


def test_a_finished_draw_is_let_go_of_while_the_next_ones_are_drawn(manager: PipelineManager, steps: Steps) -> None:
    size, counts = (104, 72), []

    def count(_job: Job) -> None:
        deadline = time.monotonic() + 5
        while (pictures := alive(Image.Image, lambda image: image.size == size)) and time.monotonic() < deadline:
            time.sleep(0.01)
        tensors = alive(torch.Tensor, lambda tensor: tensor.shape[-2:] == (size[1] // 8, size[0] // 8))
        counts.append((pictures, tensors))

    for draw in range(6):
        steps.at(draw * STEPS + 1, count)
    steps.of(draw_all(manager, "a {red|blue|green|pink|white|black} fox", width=size[0], height=size[1])).result(60)
    assert len(counts) == 6
    assert counts[1:] == [counts[0]] * 5
    assert counts[0][0] == 0


def alive(kind: type, is_wanted: Callable[[Any], bool]) -> int:
    """How many objects of a kind Python still holds; by type, because isinstance() wakes lazy modules."""
    gc.collect()
    return sum(issubclass(type(thing), kind) and is_wanted(thing) for thing in gc.get_objects())


def test_the_device_does_not_draw_on_while_pictures_wait_for_the_disk(
    manager: PipelineManager, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, replace = threading.Event(), save.os.replace
    monkeypatch.setattr(save.os, "replace", lambda *paths: (disk.wait(10), replace(*paths))[0])
    job = draw_all(manager, "a {red|blue|green|pink|white} fox")
    deadline = time.monotonic() + 10
    while steps.calls < MOST_UNWRITTEN * STEPS and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert steps.calls == MOST_UNWRITTEN * STEPS
    other = submit(manager, "a fox", owner="other")
    while steps.calls < (MOST_UNWRITTEN + 1) * STEPS and time.monotonic() < deadline:
        time.sleep(0.01)
    assert steps.calls == (MOST_UNWRITTEN + 1) * STEPS, "others go on"
    disk.set()
    assert len(job.result(60).files) == 5
    assert other.result(60).files


def test_a_job_of_many_draws_lets_others_pass_and_stops_at_once(manager: PipelineManager) -> None:
    long = draw_all(manager, "a {1-6$$red|blue|green|pink|white|black} fox", num_inference_steps=20)
    assert next(event for event in long.events() if isinstance(event, Step)).total == 63 * 20
    assert submit(manager, "a fox").result(60).files
    assert not long.is_finished
    long.cancel()
    assert isinstance(last_event(long), Stopped)


def test_more_than_sixty_four_pictures_are_refused_before_anything_is_drawn(manager: PipelineManager) -> None:
    with pytest.raises(InvalidRequest, match="all_combinations must make at most 64 pictures, got 66"):
        draw_all(manager, "{1|2|3|4|5|6|7|8|9|10|11} {a|b|c} fox", num_images_per_prompt=2)
    assert manager.status().queued == 0
    assert draw_all(manager, "{a|b} fox").result(60).files, "the refused job's place is free"


def test_pages_stand_in_the_order_of_their_draws_and_one_caller_ends_the_job() -> None:
    for _ in range(50):
        album, told = fill_from_threads((3, 1, 0, 2))
        assert sorted(told) == [False] * 4 + [True]
        result = album.result(make())
        assert isinstance(result, Result)
        assert result.seeds == (0, 1, 2, 3)
        assert [file.stem for file in result.files] == ["0", "1", "2", "3"]


def fill_from_threads(numbers: tuple[int, ...]) -> tuple[Album, list[bool]]:
    """An album whose pages of these numbers are written while it is closed, and what each caller was told."""
    album, told = Album(), []
    calls: list[Callable[[], bool]] = [lambda: album.close(Ending(None, ()))]
    for number in numbers:
        album.open()
        page = Page((Path(f"{number}.png"),), (make("a fox", seed=number),), {"base": STEPS})
        calls.append(partial(album.write, number, page))
    threads = [threading.Thread(target=lambda call=call: told.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return album, told


# LoRAs in prompts


@pytest.fixture(scope="module")
def own_loras(base: Expert, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineManager]:
    """A studio with two LoRAs of its own."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "loras").mkdir()
    write_kohya_lora(folder / "loras" / "Ink.safetensors", base.unet, base.text_encoder, base.text_encoder_2, seed=1)
    write_diffusers_lora(folder / "loras" / "chalk.safetensors", base.unet, seed=2)
    settings = Settings(model="demo", device="cpu", dtype="float32", models_dir=folder, output_dir=folder / "outputs")
    manager = PipelineManager(settings)
    yield manager
    manager.close()


def test_a_tag_in_a_prompt_draws_what_a_chosen_lora_draws(own_loras: PipelineManager) -> None:
    plain = draw_one(own_loras, "a fox")
    chosen = draw_one(own_loras, "a fox", loras=[{"name": "Ink", "weight": 0.8}])
    assert not np.array_equal(chosen, plain)
    assert np.array_equal(draw_one(own_loras, "a fox<lora:Ink:0.8>"), chosen)
    assert np.array_equal(draw_one(own_loras, "a fox<lora:ink:0.8>", loras=[{"name": "Ink", "weight": 2}]), chosen)
    assert np.array_equal(draw_one(own_loras, "a fox", negative_prompt="<lora:Ink:0.8>"), plain)


def test_each_draw_has_the_loras_that_its_own_text_names(own_loras: PipelineManager, steps: Steps) -> None:
    result = draw_all(own_loras, "a fox{<lora:Ink:0.8>|<lora:chalk:0.5>|}").result(60)
    choices: list[list[dict[str, Any]]] = [[{"name": "Ink", "weight": 0.8}], [{"name": "chalk", "weight": 0.5}], []]
    expected = [draw_one(own_loras, "a fox", loras=loras) for loras in choices]
    assert all(np.array_equal(pixels(file), one) for file, one in zip(result.files, expected, strict=True))
    assert len({one.tobytes() for one in expected}) == 3


def test_a_lora_that_one_draw_names_and_nobody_may_download_is_refused_for_all(tmp_path: Path) -> None:
    settings = Settings(model="demo", device="cpu", downloads=False, models_dir=tmp_path, output_dir=tmp_path)
    manager = PipelineManager(settings)
    with pytest.raises(InvalidRequest, match="must be on the studio's disk: its host allows no downloads, got 'lcm'"):
        draw_all(manager, "a {red|blue<lora:lcm:1>} fox")
    manager.close()


# Asked before


def test_a_prompt_is_counted_from_any_thread_with_what_is_known_of_it(own_loras: PipelineManager) -> None:
    counts: list[Any] = []

    def count() -> None:
        counts.append(own_loras.count_prompt("a {red|blue} fox <lora:ink:1> <lora:nobody:1>", model="demo", seed=3))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 3
    assert counts[0] == counts[1] == counts[2]
    assert (counts[0].loras, counts[0].unknown, counts[0].combinations) == (("ink",), ("nobody",), 2)
    assert len(counts[0].encoders) == 2
    with pytest.raises(InvalidRequest, match=r"^styles must be names of styles"):
        own_loras.count_prompt("a fox", styles=("there-is-none",))


def test_what_was_counted_is_what_is_drawn(manager: PipelineManager) -> None:
    for seed in range(4):
        drawn = submit(manager, seed=seed).result(60).drawn[0].prompt
        assert manager.count_prompt(COLOURS, seed=seed).drawn == drawn


def test_combinations_are_counted_for_texts_and_for_requests(manager: PipelineManager) -> None:
    assert manager.count_combinations({"prompt": COLOURS, "negative_prompt": "{a|b}"}) == 6
    assert manager.count_combinations(make()) == 3


def test_a_rescan_reads_the_wildcards_again(
    manager: PipelineManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planets = {"prompt": "__planet__"}
    (tmp_path / "planet.txt").write_text("venus\nmars\n")
    with monkeypatch.context() as patch:
        patch.setattr(manager.wildcards, "_folder", tmp_path)
        assert manager.count_combinations(planets) == 1
        manager.rescan()
        assert manager.count_combinations(planets) == 2
    manager.rescan()
    assert manager.count_combinations(planets) == 1


def test_a_style_that_is_not_there_is_refused_while_the_visitor_listens(manager: PipelineManager) -> None:
    with pytest.raises(InvalidRequest, match=r"^styles must be names of styles"):
        submit(manager, "a fox", styles=["there-is-none"])
    name = next(iter(manager.styles))
    styled = submit(manager, "a fox", styles=[name]).result(60)
    with Image.open(styled.files[0]) as image:
        infotext = image.info["parameters"]
    assert read_settings(styled.files[0])["request"]["prompt"] == "a fox"
    assert infotext.split("\n")[0] not in ("", "a fox"), "others read the words of the style too"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": "fox, " * 1501}, "prompt must have at most 3000 tokens"),
        (
            {"prompt": "a fox", "negative_prompt_2": " BREAK ".join("a" * 81)},
            "negative_prompt_2 must have at most 80 c",
        ),
        ({"prompt": "(a)0.5 b " * 400, "prompt_weighting": "compel"}, "prompt must take the text encoder at most 400"),
        ({"prompt": "[cat|dog] by night" + ", fox" * 1400}, "prompt must have fewer or shorter stages: 2 of "),
        ({"prompt": "a fox{, " + "fox " * 3001 + "|}", "all_combinations": True}, "prompt must have at most 3000 tok"),
        ({"prompt": "fox, " * 1501, "model": "sdxl"}, "prompt must have at most 3000 tokens"),
    ],
)
def test_a_prompt_that_is_too_long_is_refused_while_the_visitor_listens(
    values: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.prompts.limits.MAX_STAGE_CHUNKS", 60)
    manager = PipelineManager(Settings(model="demo", device="cpu", models_dir=tmp_path, output_dir=tmp_path))
    started = time.thread_time()
    with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}"):
        manager.submit(make_request(TextToImageRequest, values))
    assert time.thread_time() - started < 1
    assert (manager.status().components, manager.status().queued) == ((), 0)
    manager.close()


def test_what_takes_long_to_measure_is_refused_when_its_turn_comes(
    manager: PipelineManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.workshop.READ_AHEAD", 1_000)
    job = submit(manager, "fox, " * 1501)
    with pytest.raises(InvalidRequest, match=r"^prompt must have at most 3000 tokens"):
        job.result(60)


def test_a_prompt_is_measured_with_the_vectors_of_its_textual_inversions(tmp_path: Path) -> None:
    (tmp_path / "embeddings").mkdir()
    write_embedding(tmp_path / "embeddings" / "long.safetensors", 80, 112, vectors=60)
    manager = PipelineManager(Settings(model="demo", device="cpu", models_dir=tmp_path, output_dir=tmp_path))
    assert not manager.count_prompt("long " * 50).hints
    with pytest.raises(InvalidRequest, match=r"^prompt must have at most 3000 tokens"):
        manager.submit(make_request(TextToImageRequest, {"prompt": "long " * 51}))
    assert manager.count_prompt("long " * 51).hints[-1].code == "too_long"
    manager.close()
