"""One prompt, parsed: what it says at each step, and what it names."""

import re
from dataclasses import dataclass

from pipelines.prompts.reading import Blend, Dialect, Fragment, Passage, Reading, Section
from pipelines.prompts.syntax.draft import Draft, LoraTag, Mix
from pipelines.prompts.syntax.from_a1111 import read_a1111
from pipelines.prompts.syntax.from_compel import read_compel
from pipelines.prompts.syntax.hints import Hints
from pipelines.prompts.syntax.program import Alternate, Edit, Piece, Program, is_limited, run
from pipelines.prompts.syntax.tags import find_embeddings, take_tags
from pipelines.schema.counts import Hint
from pipelines.schema.types import Syntax

WORD_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Prompt:
    """A text, its dialect, and what can be asked of it without a model."""

    text: str
    """As it was typed."""
    dialect: Dialect
    loras: tuple[LoraTag, ...]
    embeddings: tuple[str, ...]
    """Names behind `embedding:`, whether anybody knows them or not."""
    hints: tuple[Hint, ...]
    bare_text: str
    """Without tags."""
    parts: tuple[Program | Mix, ...]
    weights: tuple[float, ...]

    @property
    def is_scheduled(self) -> bool:
        """Whether it says different things at different steps."""
        return any(isinstance(operation, Edit | Alternate) for operation in self._program())

    def reading(self, step: int, steps: int) -> Reading:
        """What the text says at one of `steps`, counted from 1."""
        if self.dialect == "plain":
            passage = Passage(((Fragment(self.bare_text),),))
            return Reading(self.dialect, (passage,), (1.0,), self.bare_text)
        parts: list[Passage | Blend] = []
        weights: list[float] = []
        for part, weight in zip(self.parts, self.weights, strict=True):
            if isinstance(part, Mix):
                passages = tuple(Passage(self._sections(program, step, steps)) for program in part.programs)
                read = [Blend(passages, part.weights, part.normalized)]
            elif self.dialect == "compel":  # which knows several texts, but no sections
                read = [Passage((section,)) for section in self._sections(part, step, steps)]
            else:
                read = [Passage(self._sections(part, step, steps))]
            parts += read
            weights += [weight] * len(read)
        return Reading(self.dialect, tuple(parts), tuple(weights), self._whole_text(parts))

    def _whole_text(self, parts: list[Passage | Blend]) -> str:
        """compel reads the pooled state of all that was typed; A1111's edits and weights would be noise there."""
        if self.dialect == "compel":
            return WORD_BREAK.sub("", self.bare_text)
        sections = [section for part in parts if isinstance(part, Passage) for section in part.sections]
        return " ".join("".join(fragment.text for fragment in section) for section in sections)

    def stages(self, steps: int) -> tuple[tuple[int, Reading], ...]:
        """The readings in order, each with the last step it holds for; the last one's is `steps`."""
        found: list[tuple[int, Reading]] = []
        for step in self._last_steps(steps):
            reading = self.reading(step, steps)
            if found and found[-1][1] == reading:
                found.pop()
            found.append((step, reading))
        return tuple(found)

    def _last_steps(self, steps: int) -> list[int]:
        """Every step after which something may change, and the last one."""
        if any(isinstance(operation, Alternate) for operation in self._program()):
            return list(range(1, max(1, steps) + 1))
        edits = {operation.last_step(steps) for operation in self._program() if isinstance(operation, Edit)}
        return [*sorted(step for step in edits if 1 <= step < steps), steps]

    def _program(self) -> Program:
        """The operations of an A1111 prompt, the only one that can be scheduled."""
        return self.parts[0] if self.dialect == "a1111" and not isinstance(self.parts[0], Mix) else ()

    def _sections(self, program: Program, step: int, steps: int) -> tuple[Section, ...]:
        """At least one section of at least one fragment each; as in A1111, one that is empty ends nothing."""
        glue = " " if self.dialect == "compel" else ""
        sections = [_join(pieces, glue) for pieces in run(program, step, steps)]
        if len(sections) > 1 and not any(fragment.text for fragment in sections[-1]):
            sections.pop()
        return tuple(sections)


def parse(text: str, syntax: Syntax = "auto") -> Prompt:
    """Reads a prompt of A1111's or compel's syntax, in time that grows with its length alone; never raises."""
    hints = Hints()
    bare_text, loras = take_tags(text, hints)
    has_tags = bare_text != text
    a1111, compel = read_a1111(bare_text), read_compel(bare_text)
    dialect = _choose(a1111, compel, syntax, has_tags)
    draft = compel if dialect == "compel" else a1111
    hints.update(draft.hints)
    other = a1111.signs.strong if dialect == "compel" else compel.signs.decisive or compel.signs.strong
    if other:
        hints.add("other_syntax", other)
    if dialect == "plain" and syntax == "auto" and compel.signs.weak:
        hints.add("maybe_weight", compel.signs.weak)
    if dialect == "compel" and syntax == "auto" and compel.signs.bare:
        hints.add("unweighted_brackets", compel.signs.bare)
    for part in draft.parts:
        for program in part.programs if isinstance(part, Mix) else (part,):
            if is_limited(program):
                hints.add("weight_limited", text)
    return Prompt(
        text=text,
        dialect=dialect,
        loras=loras + (compel.loras if dialect == "compel" else ()),
        embeddings=find_embeddings(bare_text, signs_end_names=dialect == "compel"),
        hints=tuple(hints),
        bare_text=bare_text,
        parts=draft.parts,
        weights=draft.weights,
    )


def _choose(a1111: Draft, compel: Draft, syntax: Syntax, has_tags: bool) -> Dialect:
    """Whose signs the text holds; where both are seen, what only one of them can mean decides."""
    if syntax == "auto":
        is_compel = compel.signs.decisive or (compel.signs.strong and not a1111.signs.strong)
        syntax = "compel" if is_compel else "a1111"
    draft = compel if syntax == "compel" else a1111
    return syntax if draft.signs.special or has_tags else "plain"


def _join(pieces: list[Piece], glue: str) -> Section:
    """Neighbours of one weight as one fragment."""
    joined: list[tuple[list[str], float]] = []
    for text, weight in pieces:
        if joined and joined[-1][1] == weight:
            joined[-1][0].append(text)
        elif text:
            joined.append(([text], weight))
    return tuple(Fragment(glue.join(texts), weight) for texts, weight in joined) or (Fragment(""),)
