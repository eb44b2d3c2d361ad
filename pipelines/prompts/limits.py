"""How much a prompt may say: what would hold up everybody else is refused."""

from collections.abc import Iterable, Mapping

from transformers import CLIPTokenizer

from pipelines.prompts.chunking import cost_of, weighting_of
from pipelines.prompts.reading import Reading
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.types import Weighting

MAX_TOKENS = 3000
MAX_CHUNKS = 80
"""Twice what the tokens fill where no `BREAK` leaves gaps: all of them are attended to in every step."""
MAX_PASSES = 400
"""Chunks that one encoder reads for a prompt, over all its stages, while everybody waits."""
MAX_STAGE_CHUNKS = 200
"""Chunks that the stages of a scheduled prompt keep for one picture: 130 MB in half precision."""


def check_length(readings: Mapping[Reading, str], tokenizer: CLIPTokenizer, weighting: Weighting) -> int:
    """The chunks of the longest reading; raises `InvalidRequest` for those that take a text encoder too long.

    `readings`: all that a field, and the one for the second encoder, say over a run, with the names of the fields.
    """
    longest = passes = most = 0
    worst = next(iter(readings))
    for reading, field in readings.items():
        cost = cost_of(reading, tokenizer, weighting_of(reading, weighting))
        for name, count, limit in (("tokens", cost.tokens, MAX_TOKENS), ("chunks", cost.chunks, MAX_CHUNKS)):
            if count > limit:
                raise InvalidRequest(field, f"must have at most {limit} {name}, not {count}", reading.text)
        longest, passes = max(longest, cost.chunks), passes + cost.passes
        if cost.passes > most:
            worst, most = reading, cost.passes
        if passes > MAX_PASSES:  # the rest is not counted: there may be hundreds of stages
            rule = (
                f"must take the text encoder at most {MAX_PASSES} chunks, not {passes} or more: each weight below 1 "
                "costs all of them once more with compel's weighting, and so does each stage of [from:to:when] or [a|b]"
            )
            raise InvalidRequest(readings[worst], rule, worst.text)
    return longest


def check_stages(count: int, chunks: int, field: str, text: str) -> None:
    """Raises `InvalidRequest` where the stages of a prompt, each of so many chunks, are too much to hold."""
    if count > 1 and count * chunks > MAX_STAGE_CHUNKS:
        rule = f"must have fewer or shorter stages: {count} of {chunks} chunks are too much to hold"
        raise InvalidRequest(field, rule, text)


def is_too_long(readings: Iterable[Reading], tokenizer: CLIPTokenizer, weighting: Weighting) -> bool:
    """Whether a prompt that says these things, one after the other, would be refused."""
    fields = dict.fromkeys(readings, "prompt")
    try:
        check_stages(len(fields), check_length(fields, tokenizer, weighting), "prompt", "")
    except InvalidRequest:
        return True
    return False
