"""Reads compel's signs: `word++`, `(some words)1.3`, quotes, `.and()` and `.blend()`.

Source: the grammar of compel 2.5, whose own parser the tests compare with. Unlike there nothing is lost: text behind
an `.and()` is a part of its own, and a lone sign between brackets leaves their weight standing.
"""

import re
from dataclasses import dataclass, field

from pipelines.prompts.syntax.compel_tokens import Token, scan
from pipelines.prompts.syntax.compel_weights import note_suffix, read_suffix
from pipelines.prompts.syntax.draft import Draft, LoraTag, Mix, Signs
from pipelines.prompts.syntax.hints import EXCERPT, Hints
from pipelines.prompts.syntax.numbers import read_number
from pipelines.prompts.syntax.program import Break, Operation, Program, Unweigh, Weigh, Words, limit

LIST = re.compile(r"\s*\.(and|add|blend)\s*\(([^()]*)\)")
ESCAPED = re.compile(r'\\([()"{}|]|_(?=_))')
"""compel takes the backslash from brackets and quotes only; the others are signs of wildcards and variants."""


def read_compel(text: str) -> Draft:
    """The text as compel reads it; broken brackets are text."""
    text = re.sub(r",(\S)", r", \1", text)  # compel's own first step
    reader = Reader(text)
    first = next((number for number, token in enumerate(reader.tokens) if token.kind not in ("space", "lora")), -1)
    listed = reader.find_list(first)
    if listed is None:
        return reader.draft((reader.read_words(),), (1.0,))
    reader.signs.special, reader.signs.decisive = True, reader.show(first)
    reader.read_words(first)  # the LoRAs before it
    items = reader.read_items(first)
    parts: tuple[Program | Mix, ...] = items
    weights, normalized = _read_options(listed, len(items), reader.hints)
    if listed[1] == "blend":
        parts, weights = (Mix(_without_breaks(items, reader.hints), weights, normalized),), (1.0,)
    rest = Reader(text[listed.end() :], reader.signs, reader.hints, reader.loras).read_words()
    if rest:
        reader.hints.add("misplaced", listed[0])
        parts, weights = (*parts, rest), (*weights, 1.0)
    return reader.draft(parts, weights)


@dataclass
class Reader:
    """One text in pieces, and what is noticed while parts of it become programs."""

    text: str
    signs: Signs = field(default_factory=Signs)
    hints: Hints = field(default_factory=Hints)
    loras: list[LoraTag] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = scan(self.text, self.hints)

    def draft(self, parts: tuple[Program | Mix, ...], weights: tuple[float, ...]) -> Draft:
        """These parts, and what was noticed."""
        return Draft(parts, weights, self.signs, self.hints, tuple(self.loras))

    def show(self, number: int) -> str:
        """The text of a token, or of all from one bracket to the other, shortened."""
        token = self.tokens[number]
        partner = self.tokens[token.partner] if token.partner >= 0 else token
        start, end = min(token.start, partner.start), max(token.end, partner.end)
        return self.text[start : min(end, start + EXCERPT)]

    def find_list(self, number: int) -> re.Match[str] | None:
        """The `.and()` or `.blend()` behind the brackets that this token opens."""
        if number < 0 or self.tokens[number].kind != "open" or self.tokens[number].partner < 0:
            return None
        closing = self.tokens[self.tokens[number].partner]
        return None if closing.suffix else LIST.match(self.text, closing.end)

    def read_words(self, stop: int | None = None) -> Program:
        """The tokens up to `stop`. Outside of brackets a word ends at the next space, and brackets in it are text."""
        program: list[Operation] = []
        opened: list[int] = []
        word: list[Token] = []
        in_words: set[int] = set()
        for number, token in enumerate(self.tokens[:stop]):
            if opened:
                self._read_inside(number, program, opened)
            elif token.kind == "space":
                self._end_word(word, program)
            elif word or number in in_words:
                word.append(token)
                in_words.add(token.partner)
            elif token.partner >= 0 or token.kind == "lora" or (token.kind == "word" and token.suffix):
                self._read_inside(number, program, opened)
            else:
                word.append(token)
        self._end_word(word, program)
        return tuple(program)

    def read_items(self, number: int) -> tuple[Program, ...]:
        """What stands between the brackets that this token opens: a program for each item between commas."""
        programs: list[list[Operation]] = [[]]
        opened: list[int] = []
        for inside in range(number + 1, self.tokens[number].partner):
            if self.tokens[inside].words == "," and not opened:
                programs.append([])
            else:
                self._read_inside(inside, programs[-1], opened)
        return tuple(tuple(program) for program in programs)

    def _read_inside(self, number: int, program: list[Operation], opened: list[int]) -> None:
        """One token where words, commas and brackets stand for themselves: between brackets and between quotes.

        `opened`: the operations of the brackets around it, whose weight is known when they close.
        """
        token = self.tokens[number]
        if token.kind == "lora":
            self._take_lora(token)
        elif token.partner > number:
            opened.append(len(program))
            program.append(Weigh(1.0))
        elif token.partner >= 0:
            program[opened.pop()] = Weigh(self._weight(number))
            program.append(Unweigh())
        elif token.kind == "word" and token.suffix:
            program += [Weigh(self._weight(number)), Words(self._unescape(token.words)), Unweigh()]
        elif token.words == "BREAK":
            program.append(Break())
            self.signs.special = True
        elif token.kind != "space":
            program.append(Words(self._unescape(self.text[token.start : token.end])))

    def _end_word(self, word: list[Token], program: list[Operation]) -> None:
        """Adds a word that holds no sign of its own."""
        if len(word) == 1 and word[0].words == "BREAK":
            program.append(Break())
            self.signs.special = True
        elif word:
            program.append(Words(self._unescape(self.text[word[0].start : word[-1].end])))
        word.clear()

    def _weight(self, number: int) -> float:
        """What the token, a word or the end of a group, makes its words count."""
        token = self.tokens[number]
        self.signs.special = True
        if token.suffix:
            note_suffix(self.signs, token, self.show(number), self.text)
            return read_suffix(token.suffix, self.hints)
        if token.words == ")":
            self.signs.bare = self.signs.bare or self.show(number)
            if found := LIST.match(self.text, token.end):
                self.signs.strong = self.signs.strong or found[0]
                self.hints.add("misplaced", found[0])
        return 1.0

    def _take_lora(self, token: Token) -> None:
        self.signs.special, self.signs.decisive = True, self.signs.decisive or token.words
        name, _, weight = token.words[token.words.index("(") + 1 : -1].partition(",")
        number = read_number(weight.strip() or "1")
        if number is None:
            self.hints.add("bad_weight", token.words)
        self.loras.append(LoraTag(name.strip(), 1.0 if number is None else number))

    def _unescape(self, words: str) -> str:
        plain = ESCAPED.sub(r"\1", words)
        self.signs.special = self.signs.special or plain != words
        return plain


def _read_options(listed: re.Match[str], count: int, hints: Hints) -> tuple[tuple[float, ...], bool]:
    """The weights that `.and()` or `.blend()` gives its `count` items, and whether a blend divides by their sum."""
    options = [option.strip() for option in listed[2].split(",") if option.strip()]
    numbers = [read_number(option) for option in options if option != "no_normalize"]
    weights = [1.0 if number is None else limit(number) for number in numbers]
    if None in numbers or (numbers and len(numbers) != count):
        hints.add("bad_weight", listed[0])
    elif weights != numbers:
        hints.add("weight_limited", listed[0])
    return tuple([*weights, *[1.0] * count][:count]), "no_normalize" not in options


def _without_breaks(items: tuple[Program, ...], hints: Hints) -> tuple[Program, ...]:
    """Programs of one section each: what is blended cannot be torn apart."""
    kept = tuple(tuple(operation for operation in item if not isinstance(operation, Break)) for item in items)
    if kept != items:
        hints.add("no_effect", "BREAK")
    return kept
