"""Limits and help texts of a request's fields, for whoever draws an input for them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from pipelines.schema.requests import GenerationRequest


@dataclass(frozen=True)
class FieldInfo:
    """What an input needs to know about the field it fills."""

    default: Any
    """`None` also for a field that has to be given."""
    description: str
    required: bool
    minimum: float | None
    maximum: float | None
    multiple_of: float | None
    choices: tuple[str, ...]


def describe_field(request_class: type[GenerationRequest], name: str) -> FieldInfo:
    """Reads one field from the request's JSON schema; raises `KeyError` for a name it does not have."""
    field = request_class.model_fields[name]
    schema = _properties(request_class)[name]
    rules = schema["anyOf"][0] if "anyOf" in schema else schema
    return FieldInfo(
        default=None if field.is_required() else field.default,
        description=field.description or "",
        required=field.is_required(),
        minimum=rules.get("minimum", rules.get("exclusiveMinimum")),
        maximum=rules.get("maximum"),
        multiple_of=rules.get("multipleOf"),
        choices=tuple(rules.get("enum", ())),
    )


@cache
def _properties(request_class: type[GenerationRequest]) -> dict[str, Any]:
    """The JSON schema of each field; pydantic writes all of it anew each time it is asked."""
    return request_class.model_json_schema()["properties"]
