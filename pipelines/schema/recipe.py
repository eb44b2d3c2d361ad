"""The settings of one picture as a short text for a link: no picture, no mask, and nothing that is left empty.

The text is URL-safe base64 of deflated JSON, `{"schema": 1, "task": ..., "values": {...}}`.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.schema.errors import InvalidRequest, Plain
from pipelines.schema.partial import Checked, check_values, setting_names
from pipelines.schema.requests import REQUESTS

SCHEMA = 1
MAX_CHARACTERS = 16_000
"""Longer links are cut by mail programs and chats."""
MAX_UNPACKED_BYTES = 500_000
"""Prompts of the longest kind in every box, and not what a few bytes could blow up to."""
EMPTY = ("", None, [], ())
"""A field that holds one of these holds its default, today and later."""


@dataclass(frozen=True)
class Recipe:
    """What a link holds: every setting of its task, those it does not name at their defaults."""

    task: str
    values: dict[str, Any]
    checked: Checked
    """The values that the link names, and what was wrong with the others."""


def encode_recipe(task: str, values: Mapping[str, Any]) -> str:
    """The text for a link; raises `InvalidRequest` where a value is wrong or the text would be too long."""
    request_class = REQUESTS[task]
    named = {name: values[name] for name in setting_names(request_class) if values.get(name) not in EMPTY}
    checked = check_values(request_class, named)
    if checked.wrong:
        raise checked.wrong[0]
    data = json.dumps({"schema": SCHEMA, "task": task, "values": checked.values}, ensure_ascii=False)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data.encode()) + packer.flush()
    text = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    if len(text) > MAX_CHARACTERS:
        raise InvalidRequest("link", f"must have at most {MAX_CHARACTERS} characters", len(text))
    return text


def decode_recipe(text: str) -> Recipe:
    """What a link's text says, read up to the limits; raises `InvalidRequest` for one that no studio wrote."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidRequest("link", f"must have at most {MAX_CHARACTERS} characters", len(text))
    try:
        data = json.loads(_unpack(text))
    except (ValueError, RecursionError, zlib.error) as error:
        raise _foreign() from error
    is_ours = isinstance(data, dict) and set(data) == {"schema", "task", "values"} and data["schema"] == SCHEMA
    if not is_ours or not isinstance(data["task"], str) or data["task"] not in REQUESTS:
        raise _foreign()
    request_class = REQUESTS[data["task"]]
    if not isinstance(data["values"], dict) or len(data["values"]) > 2 * len(request_class.model_fields):
        raise _foreign()
    checked = check_values(request_class, data["values"])
    fields = request_class.model_fields
    defaults = {name: fields[name].get_default() for name in setting_names(request_class)}
    return Recipe(data["task"], defaults | checked.values, checked)


def _unpack(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError("not of base64's letters")
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64") from error
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    data = unpacker.decompress(packed, MAX_UNPACKED_BYTES)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("cut short, or more than a recipe can hold")
    return data.decode()


def _foreign() -> InvalidRequest:
    return InvalidRequest("link", "must be a recipe that this studio made", Plain("one cut short, or from elsewhere"))
