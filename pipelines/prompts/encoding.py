"""Prompts to embeddings with compel: weights such as `word++` and any number of 75-token chunks."""

from typing import cast

import torch
from compel import Compel, ReturnedEmbeddingsType
from compel.prompt_parser import Conjunction
from pyparsing import ParserElement

from pipelines.components.expert import Expert
from pipelines.prompts.cache import EmbeddingCache, PromptEmbeds
from pipelines.schema.errors import InvalidRequest

UNREADABLE = "must be text that compel can read as a prompt with weights"
MAX_BRACKETS = 100
"""Each weighted part is encoded once more with all the rest, while everybody waits."""
MAX_TOKENS = 3000
"""Forty chunks of 75: all of them are attended to in every step."""


class PromptEncoder:
    """Reads prompts for one expert: base with both text encoders, refiner with the second alone."""

    def __init__(self, expert: Expert, cache: EmbeddingCache) -> None:
        self.expert = expert
        self.cache = cache
        pairs = [(expert.tokenizer, expert.text_encoder), (expert.tokenizer_2, expert.text_encoder_2)]
        self._compels = [
            Compel(
                tokenizer=tokenizer,
                text_encoder=text_encoder,
                returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
                truncate_long_prompts=False,
            )
            for tokenizer, text_encoder in pairs
            if text_encoder is not None
        ]

    def encode_pair(self, prompt: str, negative_prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """`prompt_embeds` (2, 77*k, width) and `pooled_prompt_embeds` (2, projection), negative first.

        Both texts are padded to the longer one. An empty negative prompt becomes zeros for a model trained
        so (`force_zeros_for_empty_prompt`), as in diffusers. Raises `InvalidRequest`.
        """
        positive = self._encode("prompt", prompt)
        if not negative_prompt and self.expert.force_zeros_for_empty_prompt:
            negative = PromptEmbeds(tuple(map(torch.zeros_like, positive.parts)), torch.zeros_like(positive.pooled))
        else:
            negative = self._encode("negative_prompt", negative_prompt)
        length = max(part.shape[1] for part in (*positive.parts, *negative.parts))
        embeds = torch.cat([self._join(text, length) for text in (negative, positive)])
        pooled = torch.cat([negative.pooled, positive.pooled])
        target = {"device": self.expert.device, "dtype": self.expert.dtype}
        return embeds.to(**target), pooled.to(**target)

    def _encode(self, field: str, text: str) -> PromptEmbeds:
        key = (self.expert.name, text)
        embeds = self.cache.get(key)
        if embeds is None:
            embeds = self._encode_anew(field, text)
            self.cache.put(key, embeds)
        return embeds

    def _encode_anew(self, field: str, text: str) -> PromptEmbeds:
        conjunction = self._parse(field, text)
        try:
            parts = [compel.build_conditioning_tensor_for_conjunction(conjunction)[0] for compel in self._compels]
        except (ValueError, TypeError, IndexError) as error:  # a form that parses and yet means nothing
            raise InvalidRequest(field, UNREADABLE, text) from error
        if not all(part.isfinite().all() for part in parts):
            raise InvalidRequest(field, "must have finite weights", text)
        last = self._compels[-1].conditioning_provider
        pooled = last.get_pooled_embeddings([text], device=str(self.expert.device))
        return PromptEmbeds(parts=tuple(parts), pooled=cast(torch.Tensor, pooled))

    def _parse(self, field: str, text: str) -> Conjunction:
        """compel's reading of the text, refused where it would hold up everybody else."""
        if text.count("(") > MAX_BRACKETS:
            raise InvalidRequest(field, f"must have at most {MAX_BRACKETS} opening brackets", text)
        tokens = len(self.expert.tokenizer_2(text, verbose=False).input_ids)
        if tokens > MAX_TOKENS:
            raise InvalidRequest(field, f"must have at most {MAX_TOKENS} tokens, not {tokens}", text)
        # without its memory the parser takes three times as long with every bracket inside a bracket
        ParserElement.enable_packrat(cache_size_limit=None)
        try:
            return Compel.parse_prompt_string(text)
        except Exception as error:  # compel raises whatever its parser met, IndexError to RecursionError
            raise InvalidRequest(field, UNREADABLE, text) from error

    def _join(self, text: PromptEmbeds, length: int) -> torch.Tensor:
        """Fills each encoder's states up to `length` with those of the empty text; then joins their widths."""
        parts = list(text.parts)
        for position, part in enumerate(parts):
            if part.shape[1] < length:
                filler = self._encode("prompt", "").parts[position]
                parts[position] = torch.cat([part, filler.repeat(1, (length - part.shape[1]) // filler.shape[1], 1)], 1)
        return torch.cat(parts, dim=-1)
