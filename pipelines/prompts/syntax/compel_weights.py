"""How much a word or a group counts in compel by what stands behind it, and whether that was meant as a weight."""

import re

from pipelines.prompts.syntax.compel_tokens import Token
from pipelines.prompts.syntax.draft import Signs
from pipelines.prompts.syntax.hints import Hints
from pipelines.prompts.syntax.numbers import read_number

PLUS = 1.1
MINUS = 0.9
MOST_SIGNS = 1000
"""More of them are beyond any weight, and soon beyond what a number can hold."""
END_OF_WORD = re.compile(r"[\s,.;:!?)\]}\"'|]|\Z")
LETTER = re.compile(r"[^\W\d_]|[^\x00-\x7F]")
"""Other signs too, such as emoji and those that stand for textual inversions."""
CAPITAL_OR_DIGIT = re.compile(r"[A-Z\d]")
NAMES = ("c++", "g++", "notepad++")
"""Words that end in signs and have nothing to do with weights."""


def read_suffix(suffix: str, hints: Hints) -> float:
    """The weight that `++`, `1.3` or `.attend(1.3)` stands for; 1 with a hint where it stands for none."""
    method, _, argument = suffix.strip(".)").partition("(")
    if suffix.startswith(".swap("):
        hints.add("no_effect", suffix)
        return 1.0
    value = argument.strip() if method == "attend" else suffix
    if value and set(value) in ({"+"}, {"-"}):
        return (PLUS if value[0] == "+" else MINUS) ** min(len(value), MOST_SIGNS)
    number = read_number(value)
    if number is None:
        hints.add("bad_weight", suffix)
    return 1.0 if number is None else number


def note_suffix(signs: Signs, token: Token, shown: str, text: str) -> None:
    """Remembers how surely what stands behind a word or a group is a weight, and not part of a name or a hyphen.

    A single `+` counts behind a word of small letters alone (`cat+`, but not `18+` or `Disney+`), a single `-` never:
    words end in hyphens too. Behind brackets and quotes all of them count, if nothing follows without space.
    """
    if token.suffix.startswith("."):
        signs.decisive = signs.decisive or shown
        return
    if not END_OF_WORD.match(text, token.end):
        return
    if token.kind == "close":
        is_weight = True
    elif not LETTER.search(token.words):
        return
    elif token.words.lower() + token.suffix in NAMES:
        is_weight = False
    else:
        is_weight = len(token.suffix) > 1 or (token.suffix == "+" and not CAPITAL_OR_DIGIT.search(token.words))
    if is_weight:
        signs.strong = signs.strong or shown
    else:
        signs.weak = signs.weak or shown
