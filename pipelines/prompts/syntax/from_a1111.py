"""Reads A1111's signs: emphasis, weights, `BREAK`, edits and alternations.

Source: `parse_prompt_attention` and `get_learned_conditioning_prompt_schedules` of AUTOMATIC1111's
stable-diffusion-webui, whose examples are in the tests. Unlike there, a bracket that is never closed is text.
"""

import re
from dataclasses import dataclass, field

from pipelines.prompts.syntax.draft import Draft, Signs
from pipelines.prompts.syntax.hints import EXCERPT, Hints, hint_at_bracket
from pipelines.prompts.syntax.numbers import PATTERN, read_number
from pipelines.prompts.syntax.program import Alternate, Break, Edit, Jump, Operation, Unweigh, Weigh, Words

EMPHASIS = 1.1
TOKEN = re.compile(
    r"(?P<escape>\\.)"
    r"|(?P<open>[(\[])"
    r"|(?P<close>[)\]])"
    r"|(?P<separator>[:|])"
    r"|(?P<break>\bBREAK\b)"
    r"|(?P<text>\bembedding:[^\s,()\[\]:|<>\"\\]*|\\\Z|(?:(?!\bBREAK\b|\bembedding:)[^\\()\[\]:|])+)",
    re.DOTALL,
)
NUMBER = re.compile(rf"\s*([+-]?{PATTERN})\s*")
LIKE_A_NUMBER = re.compile(r"\s*[+-]?(?:nan|inf(?:inity)?|[0-9.][0-9A-Za-z.,+-]*)\s*", re.IGNORECASE)
OPENERS = {")": "(", "]": "["}
MEANT_LITERALLY = "()[]\\{}|_"
"""Signs of prompts, of wildcards and of variants, which a backslash makes text."""
COMPOSED = re.compile(r"\bAND\b")


@dataclass
class Frame:
    """An open bracket: where it stands in the text and in the program, and its colons and bars."""

    start: int
    at: int
    separators: list[tuple[str, int, int]] = field(default_factory=list)
    """Character, operation, and the place in the text behind it."""


def read_a1111(text: str) -> Draft:
    """The text as A1111 reads it; broken brackets are text."""
    tokens = list(TOKEN.finditer(text))
    hints = Hints()
    paired = pair_brackets(tokens, text, hints)
    signs = Signs()
    program: list[Operation] = []
    frames: list[Frame] = []
    for number, token in enumerate(tokens):
        kind, words = token.lastgroup, token[0]
        if number in paired and kind == "open":
            frames.append(Frame(token.start(), len(program)))
            program.append(Words(words))
        elif number in paired:
            _close(frames.pop(), program, text, token.start(), signs, hints)
        elif kind == "break":
            signs.special = True
            program.append(Break())
        elif kind == "separator" and frames:
            frames[-1].separators.append((words, len(program), token.end()))
            program.append(Words(words))
        elif kind == "escape":
            signs.special = signs.special or words[1] in MEANT_LITERALLY
            program.append(Words(words[1:]))
        else:
            program.append(Words(_beside_breaks(words, number, tokens)))
    if (found := COMPOSED.search(text)) and text != text.upper():
        hints.add("no_effect", found[0])
    return Draft((tuple(program),), (1.0,), signs, hints)


def pair_brackets(tokens: list[re.Match[str]], text: str, hints: Hints) -> set[int]:
    """The numbers of those brackets that have a partner; one that stands across another has none."""
    paired: set[int] = set()
    waiting: list[int] = []
    open_brackets = {"(": 0, "[": 0}
    for number, token in enumerate(tokens):
        if token.lastgroup == "open":
            waiting.append(number)
            open_brackets[token[0]] += 1
        elif token.lastgroup == "close":
            opener = OPENERS[token[0]]
            if not open_brackets[opener]:
                hint_at_bracket(hints, "unopened", text, token.start())
                continue
            while tokens[waiting[-1]][0] != opener:
                crossed = waiting.pop()
                open_brackets[tokens[crossed][0]] -= 1
                hint_at_bracket(hints, "unclosed", text, tokens[crossed].start())
            open_brackets[opener] -= 1
            paired |= {number, waiting.pop()}
    for number in waiting:
        hint_at_bracket(hints, "unclosed", text, tokens[number].start())
    return paired


def _close(frame: Frame, program: list[Operation], text: str, end: int, signs: Signs, hints: Hints) -> None:
    """Says what the bracket that began `frame` means, now that all in it is known; `end` is the closing one's place."""
    signs.special = True
    is_round = text[frame.start] == "("
    number = _last_number(frame, text, end, hints)
    colons = [separator for separator in frame.separators if separator[0] == ":"]
    bars = [separator for separator in frame.separators if separator[0] == "|"]
    after = len(program)  # where the closing bracket's operation stands, if it needs one
    if not is_round or number is not None:
        signs.strong = signs.strong or text[frame.start : min(end + 1, frame.start + EXCERPT)]
    if is_round and number is not None:
        program[frame.at] = Weigh(float(number))
        program[colons[-1][1]] = Jump(after)
        program.append(Unweigh())
    elif not is_round and number is not None and len(colons) <= 2:
        begin, middle = frame.at + 1, colons[0][1]
        before, behind = (middle, begin) if len(colons) == 1 else (begin, middle + 1)
        program[frame.at] = Edit(before, behind, float(number), is_share="." in number)
        for _, at, _ in colons:
            program[at] = Jump(after)
    elif not is_round and bars:
        program[frame.at] = Alternate((frame.at + 1, *(at + 1 for _, at, _ in bars)))
        for _, at, _ in bars:
            program[at] = Jump(after)
    else:
        program[frame.at] = Weigh(EMPHASIS if is_round else 1 / EMPHASIS)
        program.append(Unweigh())


def _last_number(frame: Frame, text: str, end: int, hints: Hints) -> str | None:
    """The number between the last colon and the closing bracket, if it is one and finite."""
    if not frame.separators or frame.separators[-1][0] != ":":
        return None
    start = frame.separators[-1][2]
    found = NUMBER.match(text, start, end)
    if found and found.end() == end and read_number(found[1]) is not None:
        return found[1]
    found = LIKE_A_NUMBER.match(text, start, end)
    if found and found.end() == end:
        hints.add("bad_weight", found[0])
    return None


def _beside_breaks(words: str, number: int, tokens: list[re.Match[str]]) -> str:
    """Words without the space between them and a `BREAK`."""
    if number and tokens[number - 1].lastgroup == "break":
        words = words.lstrip()
    if number + 1 < len(tokens) and tokens[number + 1].lastgroup == "break":
        words = words.rstrip()
    return words
