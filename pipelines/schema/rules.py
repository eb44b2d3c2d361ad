"""pydantic's errors in our words."""

from typing import Any

from pydantic import ValidationError

from pipelines.schema.types import MAX_LORAS, MAX_STYLES

PAIR_RULE = "must be two whole numbers from 0 to 8192"
LORAS_RULE = f"must be a list of at most {MAX_LORAS}, each with a name and a weight from -4 to 4"
STYLES_RULE = f"must be a list of at most {MAX_STYLES} names"

RULES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "literal_error": "must be one of {expected}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "too_short": "must have at least {min_length} of them",
    "too_long": "must have at most {max_length} of them",
    "tuple_type": "must be a list",
    "dict_type": "must be values under names",
    "path_type": "must be a file",
    "string_unicode": "must be text that UTF-8 can write",
}
"""pydantic's error types as the second half of a sentence."""


def rule_of(error_type: str, context: dict[str, Any], message: str) -> str:
    """The second half of a sentence that begins with a field's name."""
    if error_type in RULES:
        whole = {key: int(limit) for key, limit in context.items() if isinstance(limit, float) and limit.is_integer()}
        return RULES[error_type].format(**{**context, **whole})
    if error_type.startswith("int_"):
        return "must be a whole number"
    if error_type.startswith("float_"):
        return "must be a number"
    return message


def field_and_rule(error: ValidationError) -> tuple[str, str]:
    """The field of a request that is wrong, the first of several, and the rule that it breaks."""
    first = error.errors()[0]
    context = first.get("ctx", {})
    field = str(first["loc"][0]) if first["loc"] else str(context.get("field", "request"))
    if field == "styles":
        return field, STYLES_RULE
    if field == "loras" and first["type"] != "named_twice":
        return field, LORAS_RULE
    is_pair = len(first["loc"]) > 1 or first["type"] in ("too_long", "tuple_type")
    return field, PAIR_RULE if is_pair else rule_of(first["type"], context, first["msg"])
