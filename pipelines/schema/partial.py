"""Values for some fields of a request, judged one by one, so that what is right outlives what is wrong.

Settings from elsewhere (a preset, a link, yesterday's browser) come this way; only a whole request is drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipelines.schema.errors import InvalidRequest, shorten
from pipelines.schema.requests import GenerationRequest, make_request

BESIDE = {
    "width": "height",
    "height": "width",
    "guidance_end": "guidance_start",
    "strength": "num_inference_steps",
}
"""What a rule of the request looks at beside the field that it names, where that one may break it at its default."""


@dataclass(frozen=True)
class Checked:
    """What is left of values that were judged."""

    values: dict[str, Any]
    """The right ones by field, as JSON writes them."""
    wrong: tuple[InvalidRequest, ...]
    """Why each of the others was left out."""


def check_values(request_class: type[GenerationRequest], values: Mapping[str, Any]) -> Checked:
    """Each value judged alone, then all of them together; pictures are no settings and count as wrong."""
    kept: dict[str, Any] = {}
    wrong: list[InvalidRequest] = []
    adapters = _adapters(request_class)
    for name, value in values.items():
        if name not in adapters:
            wrong.append(InvalidRequest(shorten(name), "is not a setting of this task", value))
            continue
        try:
            kept[name] = adapters[name].dump_python(adapters[name].validate_python(value), mode="json")
        except ValidationError:
            wrong.append(_reason(request_class, {name: value}) or InvalidRequest(name, "must be another value", value))
    while kept and (reason := _reason(request_class, kept)):
        culprit = reason.field if reason.field in kept else _partner(kept, reason.field)
        del kept[culprit]
        wrong.append(reason)
    return Checked(kept, tuple(wrong))


@cache
def setting_names(request_class: type[GenerationRequest]) -> tuple[str, ...]:
    """The fields that are no pictures."""
    return tuple(name for name, field in request_class.model_fields.items() if field.annotation is not Path)


def _partner(kept: dict[str, Any], field: str) -> str:
    """What does not go with the default of `field`; else any, so that the rest comes to an end."""
    return BESIDE[field] if BESIDE.get(field) in kept else next(iter(kept))


def _reason(request_class: type[GenerationRequest], values: dict[str, Any]) -> InvalidRequest | None:
    """What the request says against values beside its defaults."""
    pictures = dict.fromkeys(request_class.model_fields.keys() - _adapters(request_class).keys(), "unread")
    try:
        make_request(request_class, values | pictures)
    except InvalidRequest as error:
        return error
    return None


@cache
def _adapters(request_class: type[GenerationRequest]) -> dict[str, TypeAdapter[Any]]:
    fields = request_class.model_fields
    return {name: TypeAdapter(fields[name].rebuild_annotation()) for name in setting_names(request_class)}
