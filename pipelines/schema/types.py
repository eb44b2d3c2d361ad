"""What a field of a request may hold: numbers with their limits, pairs, names, LoRAs."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError, PydanticKnownError

MAX_PROMPT_CHARACTERS = 20_000
MAX_SEED = 2**32 - 1
MAX_LORAS = 8
MAX_STYLES = 8
SIZE_MULTIPLE = 8
"""The VAE shrinks a picture eight times; a size must divide evenly."""


def _reject_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "must be a number")
    return value


def _parse_pair(value: Any) -> Any:
    """Accepts "256, 256" beside [256, 256], because a text box has no lists; an empty box means `None`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",", 2)] if value.strip() else None
    return value


def at_most(maximum: int) -> BeforeValidator:
    """Refuses a list or an object of more entries unseen; pydantic would make an error of each, with its own text."""

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple | dict) and len(value) > maximum:
            counts = {"field_type": "List", "max_length": maximum, "actual_length": len(value)}
            raise PydanticKnownError("too_long", counts)
        return value

    return BeforeValidator(check)


def _no_text_means_none(value: Any) -> Any:
    return () if value in ("", None) else value


def _reject_repetition(loras: "tuple[LoraChoice, ...]") -> "tuple[LoraChoice, ...]":
    if len({lora.name for lora in loras}) < len(loras):
        raise PydanticCustomError("named_twice", "must name each LoRA once")
    return loras


NotBool = BeforeValidator(_reject_bool)
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]
Side = Annotated[int, Field(ge=64, le=2048, multiple_of=SIZE_MULTIPLE), NotBool]
Pixels = Annotated[int, Field(ge=0, le=8192), NotBool]
Pair = Annotated[tuple[Pixels, Pixels], BeforeValidator(_parse_pair)]
OptionalPair = Annotated[tuple[Pixels, Pixels] | None, BeforeValidator(_parse_pair)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NotBool]
AestheticScore = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False), NotBool]
Zero = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NotBool]
Name = Annotated[str, Field(max_length=200)]
ResizeMode = Literal["crop", "pad", "stretch"]
Syntax = Literal["auto", "a1111", "compel"]
Weighting = Literal["auto", "a1111", "compel"]


class LoraChoice(BaseModel):
    """A LoRA by its name, and how strongly it acts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    weight: Annotated[float, Field(ge=-4, le=4, allow_inf_nan=False), NotBool] = 1.0


Loras = Annotated[
    tuple[Annotated[LoraChoice, at_most(2)], ...],
    Field(max_length=MAX_LORAS),
    at_most(MAX_LORAS),
    BeforeValidator(_no_text_means_none),
    AfterValidator(_reject_repetition),
]
Styles = Annotated[
    tuple[Name, ...], Field(max_length=MAX_STYLES), at_most(MAX_STYLES), BeforeValidator(_no_text_means_none)
]
