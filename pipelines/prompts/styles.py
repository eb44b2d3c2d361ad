"""Styles: words of the studio that are put around a prompt, from `presets/styles.json`."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from pipelines.schema.paths import PRESETS

FILE = PRESETS / "styles.json"
PLACE = "{prompt}"

Group = Literal["photography", "painting", "illustration", "three_d", "print", "design", "material", "light"]
Language = Literal["en", "zh-CN"]
GROUPS: tuple[Group, ...] = get_args(Group)
"""In the order in which they are shown."""


class Style(BaseModel):
    """One style: what it puts around a prompt, and what it adds to the negative one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    group: Group
    title: dict[Language, Annotated[str, Field(min_length=1, max_length=60)]]
    prompt: Annotated[str, Field(max_length=600)]
    """A text that holds `{prompt}` once; commas divide it into terms."""
    negative: Annotated[str, Field(max_length=600)] = ""
    """Terms to add, or a text around `{prompt}`."""
    colour: Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
    """The colour of its chip."""

    @field_validator("title")
    @classmethod
    def _check_languages(cls, title: dict[Language, str]) -> dict[Language, str]:
        if set(title) != set(get_args(Language)):
            raise ValueError("must have a title in each language")
        return title

    @field_validator("prompt")
    @classmethod
    def _check_place(cls, prompt: str) -> str:
        if prompt.count(PLACE) != 1:
            raise ValueError("must hold {prompt} once")
        return prompt

    @field_validator("negative")
    @classmethod
    def _check_no_two_places(cls, negative: str) -> str:
        if negative.count(PLACE) > 1:
            raise ValueError("must hold {prompt} at most once")
        return negative


_DANGLING = re.compile(r"\s*\b(of|with|showing|as|in|on|for)$")
"""What a template leaves open before an empty prompt."""
_FILE = TypeAdapter(dict[Group, dict[str, dict[str, object]]])


def load_styles() -> dict[str, Style]:
    """Every style by name, group after group; raises `ValueError` for a file that breaks the rules."""
    groups = _FILE.validate_json(FILE.read_text(encoding="utf-8"))
    return {
        name: Style.model_validate({"name": name, "group": group, **entry})
        for group in GROUPS
        for name, entry in groups.get(group, {}).items()
    }


def apply_styles(text: str, templates: Iterable[str]) -> str:
    """Puts templates around a text, the first one innermost; a term that is there already is not said again."""
    text = text.strip().rstrip(",").rstrip()
    said = {term.casefold() for term in _terms(text)}
    for template in templates:
        before, place, after = template.partition(PLACE)
        if not place:
            before, after = "", f",{template}"
        beside, _, behind = after.partition(",")
        phrase = f"{before}{text}{beside}" if text else _DANGLING.sub("", before.rstrip()) + beside
        new = {term.casefold(): term for term in _terms(behind) if term.casefold() not in said}
        said |= set(new)
        text = ", ".join(part for part in (phrase.strip(), *new.values()) if part)
    return text


def _terms(text: str) -> list[str]:
    """What stands between commas."""
    return [term for part in text.split(",") if (term := part.strip())]
