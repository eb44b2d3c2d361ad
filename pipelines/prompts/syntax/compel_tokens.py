"""Pieces of a text as compel tells them apart, with brackets and quotes in pairs."""

import re
from dataclasses import dataclass, replace

from pipelines.prompts.syntax.hints import Hints, hint_at_bracket
from pipelines.prompts.syntax.numbers import PATTERN

METHOD = r"\.(?:attend|swap)\((?>[^()]|\([^()]*\))*+\)"
TOKEN = re.compile(
    rf"""(?P<space>[ \t\n\r\v\f]+)
    |(?P<lora>(?:with|use)Lora\(\s*[\w-]+\s*(?:,\s*[+-]?{PATTERN}\s*)?\))
    |(?P<open>\()
    |(?P<close>\))
    |(?P<quote>")
    |(?P<mark>[,.=])
    |(?P<word>(?:\\[()".,+=-]|[+-](?![ \t\n\r\v\f()".,+=-]|\Z)|[^ \t\n\r\v\f()".,+=-])+)
    |(?P<run>\++|-+)""",
    re.VERBOSE,
)
QUOTED = re.compile(r'(?<![\w\\])"(?>\\"|[^"\n])*+"')
BEHIND_GROUP = re.compile(rf"\++|-+|{PATTERN}|{METHOD}")
BEHIND_WORD = re.compile(rf"\++|-+|{METHOD}")


@dataclass(frozen=True)
class Token:
    """A piece of the text from `start` to `end`."""

    kind: str
    start: int
    end: int
    words: str
    suffix: str = ""
    """What stands behind the words without space and says how much they count; it belongs to the piece."""
    partner: int = -1
    """The number of the other bracket or quote; -1 for one that is text."""


def scan(text: str, hints: Hints) -> list[Token]:
    """All of the text in pieces. What is quoted pairs its brackets by itself."""
    tokens: list[Token] = []
    waiting: list[int] = []
    quote_end = -1
    at = 0
    while found := TOKEN.match(text, at):
        kind = str(found.lastgroup)
        suffix, partner = "", -1
        if kind == "quote" and at == quote_end:
            kind, quote_end = "close", -1
            while tokens[waiting[-1]].kind == "open":
                hint_at_bracket(hints, "unclosed", text, tokens[waiting.pop()].start)
            partner = waiting.pop()
        elif kind == "quote" and quote_end < 0 and (quoted := QUOTED.match(text, at)):
            quote_end = quoted.end() - 1
            waiting.append(len(tokens))
        elif kind == "open":
            waiting.append(len(tokens))
        elif kind == "close" and waiting and tokens[waiting[-1]].kind == "open":
            partner = waiting.pop()
        elif kind == "close":
            hint_at_bracket(hints, "unopened", text, at)
        if partner >= 0:
            tokens[partner] = replace(tokens[partner], partner=len(tokens))
        behind = {"close": BEHIND_GROUP, "word": BEHIND_WORD}.get(kind)
        if behind and (more := behind.match(text, found.end(), len(text) if quote_end < 0 else quote_end)):
            suffix = more[0]
        tokens.append(Token(kind, at, found.end() + len(suffix), found[0], suffix, partner))
        at = tokens[-1].end
    for number in waiting:
        hint_at_bracket(hints, "unclosed", text, tokens[number].start)
    return tokens
