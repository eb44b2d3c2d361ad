"""The arithmetic of the benchmarks: turns, ratios, promises, counts. What they measure is not measured here."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmarks import __main__ as command
from benchmarks import speed
from benchmarks.figures import Figure, Promise, counted, ratio_figure
from benchmarks.judging import Exam, load_exam
from benchmarks.measures import MEASURES, counts, growth, resident
from benchmarks.measures.host_time import StepClock
from benchmarks.measures.serial_queue import serve_in_order
from benchmarks.measures.trades import MOST_DB, psnr
from benchmarks.models import mid_size_config
from benchmarks.pairs import Clock, Spread, Taken, ratios, take_turns
from benchmarks.plot import MOST_SHARE, share_of
from benchmarks.report import Report

SLOW, FAST = Taken(4.0, 6.0), Taken(2.0, 2.0)


def test_each_ratio_is_of_one_pair() -> None:
    assert ratios([SLOW, FAST], [FAST, SLOW], "wall") == [2.0, 0.5]
    assert ratios([SLOW, FAST], [FAST, SLOW], "cpu") == [3.0, pytest.approx(1 / 3)]


def test_a_drift_that_slows_both_ways_leaves_the_ratio_as_it_is() -> None:
    drift = (1.0, 3.0, 7.0, 2.0)
    of, to = ([Taken(seconds * k, seconds * k) for k in drift] for seconds in (3.0, 2.0))
    assert ratio_figure("", of, to, "wall").spread == Spread(1.5, 1.5, 1.5)


def test_a_spread_is_the_median_between_the_quartiles() -> None:
    assert Spread.of([9.0, 1.0, 5.0, 3.0, 7.0]) == Spread(5.0, 3.0, 7.0)
    assert Spread.of([2.5]) == Spread(2.5, 2.5, 2.5)


def test_ways_take_turns_forward_and_backward_after_one_that_does_not_count() -> None:
    called: list[tuple[str, int]] = []
    ways = {name: lambda turn, name=name: called.append((name, turn)) or turn for name in "abc"}
    assert take_turns(ways, 2) == {"a": [0, 1], "b": [0, 1], "c": [0, 1]}
    assert [name for name, _ in called] == [*"abc", *"cba", *"abc"]
    assert [turn for _, turn in called] == [-1] * 3 + [0] * 3 + [1] * 3


def test_the_clock_tells_working_from_waiting() -> None:
    taken = Clock(torch.device("cpu")).time(lambda: time.sleep(0.05))
    assert taken.wall >= 0.05
    assert taken.cpu < taken.wall


@pytest.mark.parametrize(
    ("promise", "value", "kept", "margin"),
    [
        (Promise("at least", 2.0), 3.0, True, 0.5),
        (Promise("at least", 2.0), 1.5, False, -0.25),
        (Promise("at most", 4.0), 3.0, True, 0.25),
        (Promise("at most", 4.0), 10.0, False, -1.5),
        (Promise("exactly", 140), 140, True, 0.0),
        (Promise("exactly", 140), 70, False, -0.5),
        (Promise("exactly", 0), 2, False, -2.0),
    ],
)
def test_a_promise_says_whether_it_is_kept_and_how_far_its_bound_is(
    promise: Promise, value: float, kept: bool, margin: float
) -> None:
    assert promise.is_kept(value) is kept
    assert promise.margin(value) == margin


def test_a_row_shows_figure_quartiles_promise_distance_and_verdict() -> None:
    figure = Figure("a step", Spread(3.0, 2.75, 3.25), "x", Promise("at least", 4.0))
    assert figure.row() == "| a step | 3.00 x | 2.75 x to 3.25 x | at least 4.00 x | -25% | BROKEN |"


def test_what_was_not_measured_says_why_and_keeps_no_promise() -> None:
    figure = Figure("LPIPS", None, note="no weights", promise=Promise("at most", 1))
    assert "not measured here: no weights" in figure.row()
    assert not figure.is_kept


def test_a_report_names_what_is_broken_and_writes_numbers_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report({"processor": "a machine"})
    good = ratio_figure("good", [SLOW, SLOW], [FAST, FAST], "wall", Promise("at least", 1.5))
    report.add("unet_step", [good, counted("bad", 2, promise=Promise("exactly", 0)), counted("no promise", 7)])
    report.write(tmp_path / "new", "cpu")
    assert report.broken == ["bad"]
    assert "| good | 2.00 x" in capsys.readouterr().out
    written = json.loads((tmp_path / "new" / "cpu.json").read_text())
    assert written["machine"] == {"processor": "a machine"}
    rows = written["measures"]["unet_step"]
    assert [(row["median"], row["kept"]) for row in rows] == [(2.0, True), (2, False), (7, True)]
    assert rows[0]["samples"]["of"][0] == {"wall": 4.0, "cpu": 6.0}
    assert (tmp_path / "new" / "cpu.png").read_bytes().startswith(b"\x89PNG")


def test_the_plot_shows_how_many_times_better_than_promised_a_figure_is() -> None:
    assert share_of(Promise("at least", 2.0), 3.0) == 1.5
    assert share_of(Promise("at most", 3.0), 1.5) == 2.0
    assert share_of(Promise("at most", 3.0), 0.0) == MOST_SHARE


def test_base_and_refiner_take_11_457_gb_at_true_size() -> None:
    figure = resident.measure(None)[0]  # type: ignore[arg-type]
    assert figure.is_kept
    assert figure.note == "11,456,729,054 bytes"


def test_the_command_names_every_measure() -> None:
    assert command.NAMES.split(",") == list(MEASURES)


def test_calls_are_counted_with_their_rows_and_no_longer_than_asked_for() -> None:
    layer = torch.nn.Linear(2, 3)
    with counts.count_calls([layer, layer]) as calls:
        layer(torch.zeros(5, 2))
    layer(torch.zeros(7, 2))
    assert calls == [5, 5]


def test_the_model_of_middle_size_is_sdxl_with_fewer_channels() -> None:
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(mid_size_config())
    assert unet.config.block_out_channels == (96, 160, 320)
    assert unet.config.cross_attention_dim == 2048
    assert unet.config.down_block_types == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    assert len(counts.projections(unet)) == counts.TRUE_SIZE_CALLS


def test_time_beside_the_unet_leaves_out_waiting_and_what_lies_between_runs() -> None:
    clock = StepClock()
    pause = clock.wait(lambda: time.sleep(0.05))
    for _ in range(2):
        for _ in range(3):
            clock.enter()
            clock.leave()
            pause()
        clock.forget()
        time.sleep(0.05)
    assert len(clock.gaps) == 4
    assert max(gap.wall for gap in clock.gaps) < 0.04


def test_a_serial_queue_lets_each_wait_for_all_before() -> None:
    drawn: list[str] = []
    scene: Any = SimpleNamespace(draw_stock=lambda _pipeline, prompt, _steps: (drawn.append(prompt), time.sleep(0.02)))
    served = serve_in_order(scene, None, ["a", "b", "c"], 4, 0.0, torch.get_num_threads())
    assert drawn == ["a", "b", "c"]
    assert served.all.wall >= 0.06
    assert 0.035 <= served.wait_seconds <= served.all.wall


def test_noise_ratios_are_those_of_uint8_pictures() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black) == MOST_DB
    assert psnr(black, black + 255) == 0.0
    assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)


def test_an_exam_asks_for_the_subject_of_each_pictures_own_prompt() -> None:
    exam = Exam(("a fox", "a cat"), ("fox", "cat"), lambda pictures: ["fox", "fox", "fox"])
    assert exam.judge([np.zeros((2, 2, 3), np.uint8)] * 3) == [True, False, True]


def test_without_the_judges_file_there_is_no_exam(tmp_path: Path) -> None:
    assert load_exam(tmp_path / "judge.safetensors") is None


def test_mixed_jobs_are_of_all_tasks_and_schedulers(tmp_path: Path) -> None:
    requests = [growth.mixed_request(tmp_path, number) for number in range(growth.JOBS[0])]
    assert {request.task for request in requests} == {"text_to_image", "image_to_image", "inpaint", "refine"}
    assert {request.scheduler for request in requests} == set(growth.SCHEDULERS)
    assert len({request.prompt for request in requests}) <= 8, "new texts would fill the cache of embeddings"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gpu"], "this machine has none"),
        (["cpu", "--only", "counts,speed"], "got speed"),
        (["cpu", "--pairs", "0"], "at least 1, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_line(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    monkeypatch.setattr(speed, "has_gpu", lambda: False)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("value", "status"), [(140, 0), (70, 1)])
def test_a_broken_promise_is_the_exit_status(
    value: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = counted("calls", value, promise=Promise("exactly", 140))
    monkeypatch.setattr(speed, "MEASURES", {**MEASURES, "counts": lambda scene: [figure]})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "cpu", "--only", "counts", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == status
    assert (tmp_path / "cpu.json").is_file()


def test_a_quick_run_judges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = counted("calls", 70, promise=Promise("exactly", 140))
    monkeypatch.setattr(speed, "MEASURES", {**MEASURES, "counts": lambda scene: [figure]})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "cpu", "--quick", "--only", "counts", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    assert "its figures mean nothing" in capsys.readouterr().out
