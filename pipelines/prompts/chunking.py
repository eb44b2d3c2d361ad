"""Texts with weights as chunks: what a text encoder reads in one go is at most 75 tokens, so longer texts are cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compel import SplitLongTextMode
from compel.embeddings_provider import EmbeddingsProvider
from transformers import CLIPTokenizer

from pipelines.prompts.reading import Blend, Fragment, Passage, Reading, Section
from pipelines.schema.types import Weighting

CHUNK_TOKENS = 75
CHUNK_LENGTH = CHUNK_TOKENS + 2
"""With the start and the end that every chunk has of its own."""
COMMA_REACH = 20
"""A full chunk is cut after a comma among its last so many tokens, as in AUTOMATIC1111."""
COMMA = ",</w>"

ResolvedWeighting = Literal["a1111", "compel"]
Token = tuple[int, float]
"""An id with its weight."""


@dataclass(frozen=True)
class Cost:
    """What it takes to read a prompt with one text encoder."""

    tokens: int
    chunks: int
    """Chunks that the UNet attends to."""
    passes: int
    """Chunks that the encoder reads for them: compel reads all once more for each fragment weighted below 1."""


def weighting_of(reading: Reading, weighting: Weighting) -> ResolvedWeighting:
    """The weighting itself, or for "auto" that of the dialect; plain text is cut as in A1111."""
    if weighting != "auto":
        return weighting
    return "compel" if reading.dialect == "compel" else "a1111"


def sections_of(passage: Passage) -> tuple[Section, ...]:
    """The sections that are read, always one at least: as in A1111, a last `BREAK` with nothing after it adds none."""
    sections = passage.sections
    while len(sections) > 1 and not any(fragment.text.strip() for fragment in sections[-1]):
        sections = sections[:-1]
    return sections or ((Fragment(""),),)


def passages_of(part: Passage | Blend) -> tuple[Passage, ...]:
    """The flat texts of one part of a prompt."""
    return part.passages if isinstance(part, Blend) else (part,)


def cut(section: Section, tokenizer: CLIPTokenizer, weighting: ResolvedWeighting) -> list[list[int]]:
    """The ids of each chunk of a section, without start, end and padding; one empty chunk for an empty section."""
    if weighting == "a1111":
        return [[token for token, _ in chunk] for chunk in cut_at_commas(section, tokenizer)]
    return cut_at_sentences(section, tokenizer)


def cut_at_commas(section: Section, tokenizer: CLIPTokenizer) -> list[list[Token]]:
    """Chunks of 75 tokens as A1111 makes them: what stands after a late comma goes over into the next chunk.

    The vectors of a textual inversion stay together.
    """
    comma = tokenizer.convert_tokens_to_ids(COMMA)
    chunks: list[list[Token]] = [[]]
    after_comma = 0
    for unit in _units(section, tokenizer):
        chunk, is_comma = chunks[-1], unit[0][0] == comma
        if len(chunk) == CHUNK_TOKENS and not is_comma and CHUNK_TOKENS - after_comma < COMMA_REACH:
            chunks.append(chunk[after_comma:])
            del chunk[after_comma:]
            after_comma = 0
        if len(chunks[-1]) + len(unit) > CHUNK_TOKENS:
            chunks.append([])
            after_comma = 0
        chunks[-1].extend(unit)
        if is_comma:
            after_comma = len(chunks[-1])
    return chunks


def cut_at_sentences(section: Section, tokenizer: CLIPTokenizer) -> list[list[int]]:
    """Chunks as compel makes them, by its own rules: at a sentence's end, else at a phrase's, else at a word's."""
    splitter = EmbeddingsProvider(
        tokenizer,
        None,  # pyright: ignore[reportArgumentType] - it splits without one
        truncate=False,
        split_long_text_mode=SplitLongTextMode.SENTENCES,
        device="cpu",
        model_max_length=CHUNK_LENGTH,
    )
    texts = [fragment.text for fragment in section] or [""]
    # tokens of the text get the weight 0, which tells them from starts, ends and padding, whose weight is 1
    tokens, marks, _ = splitter.get_token_ids_and_expand_weights(texts, [0.0] * len(texts), device="cpu")
    rows = zip(tokens.view(-1, CHUNK_LENGTH).tolist(), marks.view(-1, CHUNK_LENGTH).tolist(), strict=True)
    return [[token for token, mark in zip(*row, strict=True) if mark == 0] for row in rows]


def cost_of(reading: Reading, tokenizer: CLIPTokenizer, weighting: ResolvedWeighting) -> Cost:
    """What encoding the prompt will take, without an encoder: a blend is as long as its longest passage."""
    tokens = chunks = passes = 0
    for part in reading.parts:
        lengths: list[int] = []
        for passage in passages_of(part):
            lengths.append(0)
            for section in sections_of(passage):
                ids = cut(section, tokenizer, weighting)
                tokens += sum(map(len, ids))
                lengths[-1] += len(ids)
                weakened = sum(fragment.weight < 1 for fragment in section) if weighting == "compel" else 0
                passes += len(ids) * (1 + weakened)
        chunks += max(lengths, default=0)
    return Cost(tokens, chunks, passes)


def tokenize(texts: Sequence[str], tokenizer: CLIPTokenizer) -> list[list[int]]:
    """The ids of each text, without start and end."""
    options: dict[str, Any] = {"add_special_tokens": False, "verbose": False}
    return tokenizer(list(texts), **options).input_ids if texts else []


def _units(section: Section, tokenizer: CLIPTokenizer) -> Iterator[list[Token]]:
    """What is not cut apart: single tokens, and runs of vectors, whose ids follow on those of the vocabulary."""
    texts = tokenize([fragment.text for fragment in section], tokenizer)
    run: list[Token] = []
    for fragment, ids in zip(section, texts, strict=True):
        for token in ids:
            goes_on = run and token == run[-1][0] + 1 and len(run) < CHUNK_TOKENS
            if token < tokenizer.vocab_size or not goes_on:
                if run:
                    yield run
                run = []
            if token < tokenizer.vocab_size:
                yield [(token, fragment.weight)]
            else:
                run.append((token, fragment.weight))
    if run:
        yield run
