"""What an event looks like: a sentence, a thin line, and the picture as far as it is."""

import base64
from html import escape

from pipelines.schema.events import Event, Loading, Queued, Result, Saving, Step
from pipelines.schema.schedulers import SCHEDULER_TITLES
from ui.headers import read_size
from ui.i18n import say


def describe_event(event: Event, language: str) -> str:
    """One sentence for an event on the way: "step 12 of 30 · 4.1 it/s · 5 s left"."""
    match event:
        case Queued(position=0):
            return say("status.next", language)
        case Queued(position=position):
            return say("status.waiting", language, position=position)
        case Loading(what=what, fraction=fraction):
            return say("status.loading", language, what=what, percent=round(fraction * 100))
        case Step():
            speed = say("status.speed", language, speed=f"{event.steps_per_second:.1f}")
            left = say("status.left", language, seconds=max(1, round(event.seconds_left)))
            step = say(f"status.step.{event.expert}", language, index=event.index, total=event.total)
            return " · ".join([step, speed, left] if event.steps_per_second > 0 else [step])
        case Saving():
            return say("status.saving", language)
    return ""


def show_status(sentence: str, share: float | None = None, kind: str = "running") -> str:
    """The sentence over its line; `share` is what is done, 0 to 1, or `None` where nobody can know.

    It changes several times a second: `script.js` reads only a run's begin and end to those who do not see it.
    """
    words = escape(sentence)
    bar = f'role="progressbar" aria-label="{words}" aria-valuemin="0" aria-valuemax="100"'
    line = f'<div class="line unknown" {bar}></div>'
    if share is not None:
        percent = round(share * 100)
        line = f'<div class="line" {bar} aria-valuenow="{percent}"><i style="width: {percent}%"></i></div>'
    if kind != "running":
        line = '<div class="line empty"></div>'
    return f'{line}<p class="sentence {kind}" aria-live="off">{words}</p>'


def share_done(event: Event) -> float | None:
    """How far the job is, 0 to 1; `None` while it waits."""
    match event:
        case Step(index=index, total=total):
            return index / total
        case Loading(fraction=fraction):
            return fraction
        case Saving():
            return 1.0
    return None


def show_canvas(preview: bytes | None, width: int, height: int, language: str) -> str:
    """The picture under way in a frame of its final shape, so that nothing moves when it is there."""
    image = ""
    if preview:
        data = base64.b64encode(preview).decode("ascii")
        image = f'<img src="data:image/jpeg;base64,{data}" alt="{escape(say("status.preview", language))}">'
    shape = f"aspect-ratio: {width} / {height}; --aspect: {width / height:.4f}"
    return f'<div class="canvas"><div class="frame{"" if preview else " blank"}" style="{shape}">{image}</div></div>'


def describe_result(result: Result, language: str) -> str:
    """Seeds and settings of finished pictures as a row of small facts, in HTML; the size is the saved file's own."""
    request = result.request
    width, height = read_size(result.files[0], "file")  # an inpainted upload keeps its size, whatever was drawn
    seeds = ", ".join(str(seed) for seed in result.seeds)
    steps = " + ".join(say(f"fact.steps.{expert}", language, steps=count) for expert, count in result.steps.items())
    facts = [
        (say("label.seed", language), seeds),
        (say("label.num_inference_steps", language), steps),
        (say("label.scheduler", language), SCHEDULER_TITLES[request.scheduler]),
        (say("label.guidance_scale", language), f"{request.guidance_scale:g}"),
        (say("label.size", language), f"{width} × {height}"),
        (say("label.elapsed", language), say("fact.seconds", language, seconds=f"{result.elapsed_seconds:.1f}")),
    ]
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{cells}</dl>'
