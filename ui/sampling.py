"""Steps, guidance and scheduler, and one choice of quality that sets several of them at once."""

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from pydantic_core import PydanticCustomError

from pipelines.schema.schedulers import SCHEDULER_NAMES, SCHEDULER_TITLES, check_sampling
from ui.fields import Fields, section
from ui.i18n import word

DRAFT = {"num_inference_steps": 10, "scheduler": "dpmpp_2m", "sigmas": "karras"}
"""A quick look."""
QUALITY_FACTOR = 1.75
"""The best quality takes so many times the model's own number of steps."""
FEW_STEPS = 12
"""A model that takes no more by itself was distilled: with another sampler it would draw noise."""
OPTIONS = ("timestep_spacing", "sigmas", "timesteps")
"""What schedulers know in part only."""
LEVEL = ("num_inference_steps", "scheduler", *OPTIONS)
"""What a choice of quality sets; its chip holds their values in this order."""
TO_LEVEL = "(...values) => values.join(' ')"
FROM_LEVEL = "(level) => { const [steps, ...names] = level.split(' '); return [Number(steps), ...names]; }"


def build_sampling(fields: Fields) -> None:
    """Chips for the quality and, folded, the inputs they set."""
    levels = list_levels(fields, fields.model.defaults)
    chips = gr.Radio(
        levels, value=levels[len(levels) // 2][1], label=word("label.quality"), elem_classes=["chips", "equal"]
    )
    fields.quality = chips
    with section("sampling"):
        fields.slider("num_inference_steps", step=1)
        fields.slider("guidance_scale", step=0.1)
        titles = [(SCHEDULER_TITLES[name], name) for name in SCHEDULER_NAMES]
        own = fields.default("scheduler")
        fields.add("scheduler", gr.Dropdown(titles, value=own, filterable=False, **fields.labels("scheduler")))
        options = {name: fields.choice(name) for name in OPTIONS}
        for name, shown in limit_options(fields, own, *(fields.default(name) for name in OPTIONS)).items():
            options[name].visible = shown["visible"]
            options[name].choices = shown["choices"]
    inputs = [fields.components[name] for name in LEVEL]
    chips.input(None, chips, inputs, js=FROM_LEVEL, api_visibility="private")
    for part in inputs:
        part.change(None, inputs, chips, js=TO_LEVEL, api_visibility="private")  # type: ignore[attr-defined]
    _bind_options(fields)


def list_levels(fields: Fields, defaults: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Chips for the levels of quality; one equal to another is left out, the model's own settings stay."""
    levels = find_levels(fields, defaults)
    chips: dict[str, Any] = {}
    for level in ("balanced", "draft", "quality"):
        chips.setdefault(join_level(levels[level]), level)
    order = tuple(levels)
    return sorted(
        ((word(f"choice.quality.{level}"), value) for value, level in chips.items()),
        key=lambda chip: order.index(chips[chip[1]]),
    )


def find_levels(fields: Fields, defaults: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a draft, the model's own settings and the best quality set."""
    own = {name: defaults.get(name, fields.describe(name).default) for name in LEVEL}
    steps = own["num_inference_steps"]
    draft = {**own, **dict.fromkeys(OPTIONS, "default"), **DRAFT}
    if steps <= FEW_STEPS:
        draft = {**own, "num_inference_steps": -(-steps // 2)}
    return {"draft": draft, "balanced": own, "quality": {**own, "num_inference_steps": round(steps * QUALITY_FACTOR)}}


def join_level(values: Mapping[str, Any]) -> str:
    """The values of a level as its chip holds them."""
    return " ".join(str(values[name]) for name in LEVEL)


def limit_options(fields: Fields, scheduler: str, *chosen: str) -> dict[str, Any]:
    """Updates of the options' chips, so that only what the scheduler knows can be chosen."""
    updates = {}
    for name, value in zip(OPTIONS, chosen, strict=True):
        known = [option for option in fields.describe(name).choices if is_known(scheduler, {name: option})]
        choices = [(word(f"choice.{name}.{option}"), option) for option in known]
        kept = value if value in known else "default"
        updates[name] = gr.update(choices=choices, value=kept, visible=len(known) > 1)
    return updates


def keep_known(scheduler: str, chosen: str, values: Mapping[str, str]) -> dict[str, str]:
    """The options after `chosen` was changed: where they do not go together, the others give way."""
    if is_known(scheduler, values):
        return dict(values)
    for other in (name for name in OPTIONS if name != chosen):
        kept = {**values, other: "default"}
        if is_known(scheduler, kept):
            return kept
    return {**dict.fromkeys(OPTIONS, "default"), chosen: values[chosen]}


def is_known(scheduler: str, options: Mapping[str, str]) -> bool:
    """Whether a scheduler obeys the options; the request's own rule decides."""
    values: dict[str, Any] = {**dict.fromkeys(OPTIONS, "default"), **options}
    try:
        check_sampling(scheduler, values["timestep_spacing"], values["sigmas"], values["timesteps"])  # type: ignore[arg-type]
    except PydanticCustomError:
        return False
    return True


def _bind_options(fields: Fields) -> None:
    scheduler, *options = (fields.components[name] for name in ("scheduler", *OPTIONS))
    quiet: dict[str, Any] = {
        "queue": False, "preprocess": False, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip

    def limit(name: str, *chosen: str) -> list[Any]:
        return list(limit_options(fields, name, *chosen).values()) if name in SCHEDULER_NAMES else [gr.skip()] * 3

    def make_settle(chosen: str) -> Callable[..., list[str]]:
        def settle(name: str, *values: str) -> list[str]:
            if name not in SCHEDULER_NAMES:
                return list(values)
            return list(keep_known(name, chosen, dict(zip(OPTIONS, values, strict=True))).values())

        return settle

    scheduler.change(limit, [scheduler, *options], options, **quiet)  # type: ignore[attr-defined]
    for name, part in zip(OPTIONS, options, strict=True):
        part.input(make_settle(name), [scheduler, *options], options, **quiet)  # type: ignore[attr-defined]
