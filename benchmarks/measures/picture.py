"""One picture from request to file, against stock diffusers in the same precision: what the studio adds and saves."""

import torch

from benchmarks.figures import Figure, Promise, ratio_figure
from benchmarks.pairs import take_turns
from benchmarks.scene import Scene, make_request, new_prompt

MOST_RATIO = 1.10
STEPS = 20


def measure(scene: Scene) -> list[Figure]:
    """On one thread, in CPU seconds; the studio's include its queue, previews and events."""
    steps = 2 if scene.quick else STEPS
    with scene.studio("tiny", threads=1, dtype="float32") as manager:
        pipeline = scene.stock("tiny", torch.float32)

        def ours(turn: int) -> None:
            manager.submit(make_request(new_prompt(turn), steps)).result(600)

        def again(_turn: int) -> None:
            manager.submit(make_request("a fox", steps)).result(600)

        ways = {
            "ours": scene.clock.timed(ours),
            "again": scene.clock.timed(again),
            "stock": scene.clock.timed(lambda turn: scene.draw_stock(pipeline, new_prompt(turn), steps)),
        }
        times = take_turns(ways, scene.pairs)
    promise = Promise("at most", MOST_RATIO)
    return [
        ratio_figure("a new picture, of stock's CPU time", times["ours"], times["stock"], "cpu", promise),
        ratio_figure("a prompt drawn before, of stock's CPU time", times["again"], times["stock"], "cpu", promise),
    ]
