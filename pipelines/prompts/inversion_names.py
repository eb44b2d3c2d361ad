"""Names of textual inversions in prompts, and the characters that stand for their vectors."""

import re
from collections.abc import Mapping
from itertools import accumulate, pairwise
from pathlib import Path

from pipelines.components.header import read_header
from pipelines.schema.errors import ModelError

KEYS = ("clip_l", "clip_g")
"""The tensors of an SDXL textual inversion: one for each text encoder."""
FIRST_PLACEHOLDER = 0xE000
"""The first code point of Unicode's private use area: nobody types it, and to compel it is part of a word."""
PLACEHOLDERS = 0xF900 - FIRST_PLACEHOLDER
_WHOLE_WORD = r"(?<!\w)(?<!\w-){}(?!-?\w)"
"""A hyphen joins words, unless it is compel's sign for less weight, after which no letter follows."""


def name_placeholders(vectors: Mapping[str, int]) -> dict[str, str]:
    """For each name as many characters as it has vectors; raises `ModelError` for more than there are."""
    ends = list(accumulate(vectors.values(), initial=FIRST_PLACEHOLDER))
    if ends[-1] > FIRST_PLACEHOLDER + PLACEHOLDERS:
        raise ModelError(f"textual inversions of one prompt must have at most {PLACEHOLDERS} vectors together")
    return {name: "".join(map(chr, range(*span))) for name, span in zip(vectors, pairwise(ends), strict=True)}


def count_vectors(path: Path) -> int:
    """How many tokens a textual inversion takes, from the file's header; raises `ModelError`."""
    shape = read_header(path).shape(KEYS[0])
    return shape[0] if len(shape) == 2 else 1


def stands_in(name: str, prompt: str) -> bool:
    """Whether a name stands in a prompt as a whole word; "neg" does in "neg--" and not in "neg-xl" or "negative"."""
    return name in prompt and re.search(_WHOLE_WORD.format(re.escape(name)), prompt) is not None


def rewrite(prompt: str, words: Mapping[str, str]) -> str:
    """The prompt with every name in `words`, or `embedding:` and the name, replaced by its characters.

    A name counts as a whole word only, in the same letters. The characters stay one word, so that weights such as
    `name++` or `(name)1.2` hold for all vectors.
    """
    if not words:
        return prompt
    names = "|".join(re.escape(name) for name in sorted(words, key=len, reverse=True))
    return re.sub(_WHOLE_WORD.format(f"(?:embedding:)?({names})"), lambda match: words[match[1]], prompt)
