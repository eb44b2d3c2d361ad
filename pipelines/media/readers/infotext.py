"""The text that A1111's web UI writes under a picture: prompt, "Negative prompt:", and a last line of settings."""

import json
import re
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 1_000_000
"""More than two prompts of the longest kind and every setting of every extension."""
MAX_SETTINGS = 2000
NEGATIVE = "negative prompt:"
_FIRST = re.compile(r"[ \t]*Steps:[ \t]*\d+[ \t]*(?:,|$)")
_LATER = re.compile(r",[ \t]*Steps:[ \t]*\d+[ \t]*(?:,|$)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_SPACE = re.compile(r"[ \t]*")


@dataclass(frozen=True)
class Infotext:
    """The three parts of such a text."""

    prompt: str
    negative_prompt: str
    settings: dict[str, str]
    """By key, as they stand in the line; the first of a name counts."""


def split_infotext(text: str) -> Infotext | None:
    """The parts of a text that holds a line of settings with the steps among them, else `None`; takes linear time."""
    if len(text) > MAX_CHARACTERS:
        return None
    lines = text.replace("\r\n", "\n").replace("\0", "").strip().split("\n")
    last = next((number for number in range(len(lines) - 1, -1, -1) if _holds_settings(lines[number])), None)
    if last is None:
        return None
    prompts = lines[:last]
    negative = next((number for number, line in enumerate(prompts) if _is_negative(line)), last)
    return Infotext(
        prompt="\n".join(prompts[:negative]).strip(),
        negative_prompt="\n".join(prompts[negative:last]).strip()[len(NEGATIVE) :].strip(),
        settings=split_settings(lines[last]),
    )


def split_settings(line: str) -> dict[str, str]:
    """`Steps: 20, Lora hashes: "a: b, c: d", Hashes: {"model": "e"}` by key; what has no key is left out."""
    settings: dict[str, str] = {}
    place = 0
    has_json = True
    for _ in range(MAX_SETTINGS):
        if place >= len(line):
            break
        comma = _find(line, ",", place)
        colon = line.find(":", place, comma)
        if colon < 0:
            place = comma + 1
            continue
        key, place = line[place:colon].strip(), _SPACE.match(line, colon + 1).end()  # type: ignore[union-attr]
        end = _find_end(line, place, has_json)
        if end is None:
            has_json = has_json and line[place : place + 1] == '"'  # looked for once: it may have taken the whole line
            end = _find(line, ",", place)
        settings.setdefault(key, _unquote(line[place:end].strip()))
        place = end + 1
    return settings


def quote(value: Any) -> str:
    """A value for the line: in quotes where commas, colons or line ends would split it for its readers."""
    text = str(value)
    marks = any(mark in text for mark in ",:\n\r") or text[:1] in ('"', "{", "[") or text != text.strip()
    return json.dumps(text, ensure_ascii=False) if marks else text


def _holds_settings(line: str) -> bool:
    if _FIRST.match(line):
        return line.count(":") > 1
    return line.count(":") > 2 and _LATER.search(line) is not None


def _is_negative(line: str) -> bool:
    return line.lstrip()[: len(NEGATIVE)].casefold() == NEGATIVE


def _find_end(line: str, place: int, has_json: bool) -> int | None:
    """Where the value at `place` ends, past its own commas; `None` where it is not closed before one."""
    first = line[place : place + 1]
    end = None
    if first == '"' and (quoted := _QUOTED.match(line, place)):
        end = quoted.end()
    elif first in ("{", "[") and has_json:
        end = _close(line, place)
    elif first not in ('"', "{", "["):
        return _find(line, ",", place)
    if end is None:
        return None
    end = _SPACE.match(line, end).end()  # type: ignore[union-attr]
    return end if line[end : end + 1] in ("", ",") else None


def _close(line: str, place: int) -> int | None:
    """Behind the bracket that closes the one at `place`; those inside of strings do not count."""
    depth = 0
    for mark in _BRACKETS.finditer(line, place):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return None


def _find(line: str, mark: str, place: int) -> int:
    found = line.find(mark, place)
    return len(line) if found < 0 else found


def _unquote(text: str) -> str:
    if not _QUOTED.fullmatch(text):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]
