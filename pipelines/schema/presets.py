"""Settings under a name: the studio's own of `presets/presets.json`, and those that a visitor keeps and passes on."""

import json
import re
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipelines.schema.errors import InvalidRequest, Plain, shorten
from pipelines.schema.partial import check_values
from pipelines.schema.paths import PRESETS
from pipelines.schema.requests import REQUESTS
from pipelines.schema.rules import rule_of
from pipelines.schema.types import at_most

KEY = "sdxl_studio_presets"
"""What tells a file of presets from any other JSON; its value counts changes of the shape."""
SCHEMA = 1
MAX_PRESETS = 200
MAX_NAME_CHARACTERS = 60
MAX_FILE_CHARACTERS = 4_000_000
"""Two hundred presets with long prompts."""
MAX_SENTENCES = 20
"""A file may be wrong in more places than anybody reads."""


def _check_task(task: Any) -> Any:
    if not isinstance(task, str) or task not in REQUESTS:
        raise PydanticCustomError("unknown_task", "must be tasks of this studio")
    return task


def _check_shape(shape: str) -> str:
    sides = re.fullmatch(r"([1-9][0-9]?):([1-9][0-9]?)", shape)
    if sides is None or not 1 / 4 <= int(sides[1]) / int(sides[2]) <= 4:
        raise PydanticCustomError("odd_shape", "must be a shape from 1:4 to 4:1")
    return shape


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


class Preset(BaseModel):
    """Values for some fields; what it does not name stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: Name
    title: Annotated[dict[Name, Name], at_most(8)] = {}
    """What the studio's own are called, by language; a visitor's has its name alone."""
    tasks: Annotated[tuple[Annotated[str, BeforeValidator(_check_task)], ...], Field(min_length=1), at_most(8)]
    """The tasks whose tabs offer it."""
    shape: Annotated[str, AfterValidator(_check_shape)] | None = None
    """Width to height, for the trained size of the chosen model that is nearest to it."""
    quality: Literal["draft", "balanced", "quality"] | None = None
    """Steps, sampler and guidance as the chosen model wants them at that level; `values` go over them."""
    needs: Annotated[tuple[Literal["refiner", "many_steps"], ...], at_most(8)] = ()
    """What the chosen model must have for it: a refiner that fits, or no training for few steps alone."""
    values: dict[str, Any] = {}
    """Request fields, as JSON writes them."""

    @model_validator(mode="after")
    def _check_values(self) -> "Preset":
        for task in self.tasks:
            if wrong := check_values(REQUESTS[task], self.values).wrong:
                raise PydanticCustomError("wrong_value", "{sentence}", {"sentence": str(wrong[0]), "field": "values"})
        return self

    def title_in(self, language: str) -> str:
        """What it is called in a language."""
        return self.title.get(language, self.name)

    def as_json(self) -> dict[str, Any]:
        """Without what is left at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


@cache
def load_presets() -> tuple[Preset, ...]:
    """The studio's own, in the order of the file."""
    data = json.loads((PRESETS / "presets.json").read_text(encoding="utf-8"))
    return tuple(Preset(name=name, **entry) for name, entry in data.items())


def read_presets(text: str) -> tuple[list[Preset], list[str]]:
    """The presets of a file that a visitor brings, and a sentence for each thing in it that was left out.

    Raises `InvalidRequest` where it is no such file, or larger than a browser would keep.
    """
    if len(text) > MAX_FILE_CHARACTERS:
        limit = MAX_FILE_CHARACTERS // 1_000_000
        raise InvalidRequest("file", f"must have at most {limit} million characters", len(text))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    entries = data.get("presets") if isinstance(data, dict) and data.get(KEY) == SCHEMA else None
    if not isinstance(entries, list):
        raise InvalidRequest("file", "must be presets that this studio exported", Plain("a file of something else"))
    if len(entries) > MAX_PRESETS:
        raise InvalidRequest("file", f"must hold at most {MAX_PRESETS} presets", len(entries))
    presets: list[Preset] = []
    sentences: list[str] = []
    for number, entry in enumerate(entries, 1):
        preset, wrong = read_preset(entry)
        label = preset.name if preset else f"preset {number}"
        presets += [preset] if preset else []
        sentences += [f"{label}: {sentence}" for sentence in wrong]
    if len(sentences) > MAX_SENTENCES:
        sentences = [*sentences[:MAX_SENTENCES], f"… and {len(sentences) - MAX_SENTENCES} more"]
    return presets, sentences


def read_preset(entry: Any) -> tuple[Preset | None, list[str]]:
    """One preset from elsewhere without its wrong values, and what was wrong; `None` where nothing is left of it."""
    tasks = entry.get("tasks") if isinstance(entry, dict) else None
    values = entry.get("values", {}) if isinstance(entry, dict) else None
    if not isinstance(tasks, list) or not isinstance(values, dict) or len(values) > MAX_PRESETS:
        return None, ["must have a name, tasks and values"]
    foreign = next((key for key in entry if key not in Preset.model_fields), None)
    if foreign is not None:
        return None, [f"{shorten(foreign)} is not a field of a preset"]
    wrong: list[str] = []
    for task in (task for task in tasks[: len(REQUESTS)] if isinstance(task, str) and task in REQUESTS):
        checked = check_values(REQUESTS[task], values)
        values = checked.values
        wrong += [str(error) for error in checked.wrong]
    try:
        return Preset.model_validate({**entry, "values": values}), wrong
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0]) if first["loc"] else "values"
        return None, [f"{place} {rule_of(first['type'], first.get('ctx', {}), first['msg'])}"]
