"""What an event looks like: a sentence, a thin line, and the picture as far as it is."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from pipelines.schema.events import Event, Loading, Notice, Queued, Result, Saving, Step
from pipelines.schema.requests import GenerationRequest
from pipelines.schema.schedulers import SCHEDULE_TITLES, SCHEDULER_TITLES
from ui.headers import read_size
from ui.i18n import say

GB = 1_000_000_000
MB = 1_000_000


def describe_event(event: Event, language: str) -> str:
    """One sentence for an event on the way: "step 12 of 30 · 4.1 it/s · 5 s left"."""
    match event:
        case Queued(position=0):
            return say("status.next", language)
        case Queued(position=position):
            return say("status.waiting", language, position=position)
        case Loading(what=what, done_bytes=int(done), total_bytes=int(total)) if total:
            return say("status.downloading", language, what=what, amount=_say_amount(done, total, language))
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


def show_status(sentence: str, share: float | None = None, kind: str = "running", notices: Sequence[str] = ()) -> str:
    """The sentence under its line; `share` is what is done, 0 to 1, or `None` where nobody can know.

    `notices` are sentences that stay: what the engine did to bring the picture about.
    The line changes several times a second: `script.js` reads only a run's begin and end to those who do not see it.
    """
    words = escape(sentence)
    bar = f'role="progressbar" aria-label="{words}" aria-valuemin="0" aria-valuemax="100"'
    line = f'<div class="line unknown" {bar}></div>'
    if share is not None:
        percent = round(share * 100)
        line = f'<div class="line" {bar} aria-valuenow="{percent}"><i style="width: {percent}%"></i></div>'
    if kind != "running":
        line = '<div class="line empty"></div>'
    told = "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
    return f'{line}<p class="sentence {kind}" aria-live="off">{words}</p>{told}'


def share_done(event: Event) -> float | None:
    """How far the job is, 0 to 1; `None` while it waits."""
    match event:
        case Step(index=index, total=total):
            return index / total
        case Loading(done_bytes=int(done), total_bytes=int(total)) if total:
            return min(1.0, done / total)
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
    seeds = ", ".join(dict.fromkeys(str(seed) for seed in result.seeds))  # all combinations have the same
    facts = [
        (say("label.seed", language), seeds),
        (say("label.num_inference_steps", language), name_steps(result.steps, language)),
        (say("label.scheduler", language), _name_sampling(request)),
        (say("label.guidance_scale", language), f"{request.guidance_scale:g}"),
        (say("label.size", language), f"{width} × {height}"),
        (say("label.elapsed", language), say("fact.seconds", language, seconds=f"{result.elapsed_seconds:.1f}")),
    ]
    if request.loras:
        loras = ", ".join(f"{lora.name} {lora.weight:g}" for lora in request.loras)
        facts.append((say("section.loras", language), loras))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    told = "".join(f'<p class="notice">{escape(say_notice(notice, language))}</p>' for notice in result.notices)
    return f'<dl class="facts">{cells}</dl>{told}'


def say_notice(notice: Notice, language: str) -> str:
    """What the engine did so that a picture came about."""
    return say(f"notice.{notice}", language)


def name_steps(steps: Mapping[str, int], language: str) -> str:
    """The steps of each expert: "24 + 6 by the refiner"."""
    return " + ".join(say(f"fact.steps.{expert}", language, steps=count) for expert, count in steps.items())


def say_bytes(count: int, language: str) -> str:
    """A file's or a part's size, in GB from one on, else in MB."""
    if count >= GB:
        return say("unit.gb", language, amount=f"{count / GB:.1f}")
    return say("unit.mb", language, amount=f"{count / MB:.0f}" if count >= MB else f"{count / MB:.1f}")


def _say_amount(done: int, total: int, language: str) -> str:
    """ "1.2 of 6.9 GB"."""
    part = f"{done / GB:.1f}" if total >= GB else f"{done / MB:.0f}"
    return say("status.amount", language, done=part, total=say_bytes(total, language))


def _name_sampling(request: GenerationRequest) -> str:
    """The scheduler, and the choices that go with it where they are not its usual ones: "DPM++ 2M · Karras"."""
    choices = [SCHEDULE_TITLES.get(name, name) for name in (request.sigmas, request.timesteps) if name != "default"]
    spacing = [request.timestep_spacing] if request.timestep_spacing != "default" else []
    return " · ".join([SCHEDULER_TITLES[request.scheduler], *spacing, *choices])
