"""What is known of a prompt before anything is drawn: how it is cut into chunks, and the names in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transformers import CLIPTokenizer

from pipelines.prompts.answers import Answers
from pipelines.prompts.chunking import ResolvedWeighting, cut, passages_of, sections_of, weighting_of
from pipelines.prompts.drawing import count_combinations, draw_text, final_texts, wildcards_in
from pipelines.prompts.inversion_names import name_placeholders, rewrite, stands_in
from pipelines.prompts.limits import is_too_long
from pipelines.prompts.reading import Reading
from pipelines.prompts.styles import Style
from pipelines.prompts.syntax import parse
from pipelines.prompts.syntax.hints import EXCERPT, TOO_LONG
from pipelines.prompts.tokenizers import Tokenizers
from pipelines.prompts.wildcards import Wildcards
from pipelines.schema.counts import EncoderCount, Hint, Known, PromptCount
from pipelines.schema.models import ModelEntry
from pipelines.schema.requests import GenerationRequest
from pipelines.schema.types import Weighting

STEPS = 20
"""A scheduled prompt is counted as it stands when it is longest, in a run of so many steps."""
WORD_END = "</w>"
LAST_WORDS = 3
MAX_END_CHARACTERS = 40


class PromptCounter:
    """Counts prompts for the interface, as they will be drawn. Safe from any thread."""

    def __init__(self, wildcards: Wildcards, styles: Mapping[str, Style], tokenizers: Tokenizers) -> None:
        self.wildcards = wildcards
        self.styles = styles
        self._tokenizers = tokenizers
        self._answers = Answers()

    def count(self, request: GenerationRequest, name: str, model: ModelEntry, known: Known) -> PromptCount:
        """What the prompt in the request's field `name` is to this model; without a seed as drawn with seed 0.

        Raises `InvalidRequest` for styles that cannot be put around it, `QueueFull` where too many others ask.
        """
        plain = self._tokenizers.of(model)
        question = request, name, plain, frozenset(known.embeddings.items())
        counted = self._answers.find(
            question, self.wildcards.words, lambda: self._count(request, name, model, known.embeddings)
        )
        here = tuple(lora for lora in counted.loras if known.finds_lora(lora))
        away = tuple(lora for lora in counted.loras if lora not in here)
        return replace(counted, loras=here, unknown=(*away, *counted.unknown))

    def count_combinations(self, texts: GenerationRequest | Mapping[str, str]) -> int:
        """How many different texts a request, or prompts by their fields, can become; raises as `count` does."""
        question: Any = texts if isinstance(texts, GenerationRequest) else tuple(sorted(texts.items()))
        return self._answers.find(question, self.wildcards.words, lambda: count_combinations(texts, self.wildcards))

    def _count(
        self, request: GenerationRequest, name: str, model: ModelEntry, embeddings: Mapping[str, int]
    ) -> PromptCount:
        """The count with every LoRA of a tag in `loras`, whether it is there or not."""
        typed: str = getattr(request, name)
        drawn = draw_text(typed, self.wildcards, seed=max(request.seed, 0), field=name)
        final: str = getattr(final_texts(request.model_copy(update={name: drawn}), self.styles), name)
        prompt = parse(final, request.prompt_syntax)
        own = prompt if final == drawn else parse(drawn, request.prompt_syntax)
        vectors = {word: count for word, count in embeddings.items() if stands_in(word, drawn)}
        words = name_placeholders(vectors)
        tokenizers = self._tokenizers.of(model, sum(vectors.values()))
        if name.endswith("_2"):
            tokenizers = tokenizers[-1:]
        counted = parse(rewrite(final, words), request.prompt_syntax) if words else prompt
        readings = [reading for _, reading in counted.stages(STEPS)]
        unknown = [word for word in dict.fromkeys(own.embeddings) if word not in vectors]
        fits = not is_too_long(readings, tokenizers[-1], request.prompt_weighting)
        return PromptCount(
            dialect=prompt.dialect,
            encoders=tuple(count_tokens(readings, each, request.prompt_weighting, words) for each in tokenizers),
            drawn=final,
            loras=tuple(dict.fromkeys(tag.name for tag in own.loras)),
            unknown=tuple(unknown),
            wildcards=wildcards_in(typed, self.wildcards),
            combinations=count_combinations({name: typed}, self.wildcards),
            hints=own.hints if fits else (*own.hints, Hint(TOO_LONG, drawn[:EXCERPT].strip())),
        )


def count_tokens(
    readings: Sequence[Reading], tokenizer: CLIPTokenizer, weighting: Weighting, words: Mapping[str, str]
) -> EncoderCount:
    """The longest of a prompt's readings, as one text encoder gets it; `words`: names for runs of placeholders."""
    cuts = (chunks_of(reading, tokenizer, weighting_of(reading, weighting)) for reading in readings)
    longest = max(cuts, key=lambda chunks: sum(map(len, chunks)))
    return EncoderCount(sum(map(len, longest)), tuple(_end_of(chunk, tokenizer, words) for chunk in longest))


def chunks_of(reading: Reading, tokenizer: CLIPTokenizer, weighting: ResolvedWeighting) -> list[list[int]]:
    """The ids of all chunks one after the other; of a blend those of its longest passage."""
    chunks: list[list[int]] = []
    for part in reading.parts:
        passages = (
            [ids for section in sections_of(passage) for ids in cut(section, tokenizer, weighting)]
            for passage in passages_of(part)
        )
        chunks += max(passages, key=lambda passage: sum(map(len, passage)))
    return chunks


def _end_of(chunk: list[int], tokenizer: CLIPTokenizer, placeholders: Mapping[str, str]) -> str:
    """A chunk's last words as they can be shown."""
    tokens = tokenizer.convert_ids_to_tokens(chunk)
    begins = [True, *(token.endswith(WORD_END) for token in tokens[:-1])]
    words = [place for place, token in enumerate(tokens) if begins[place] and token[0].isalnum()]
    first = words[-LAST_WORDS] if len(words) >= LAST_WORDS else 0
    text = str(tokenizer.decode(chunk[first:])).replace(WORD_END, " ")
    for name, characters in placeholders.items():
        text = text.replace(characters, f"{name} ")
    text = re.sub(r"\s+(?=[,.;:!?)]|$)", "", text)
    return text if len(text) <= MAX_END_CHARACTERS else "…" + text[-MAX_END_CHARACTERS:]
