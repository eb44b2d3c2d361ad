"""Prompts to embeddings with compel: weights such as `word++` and any number of 75-token chunks."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any, NoReturn, cast

import torch
from compel import Compel, ReturnedEmbeddingsType
from compel.prompt_parser import Conjunction
from pyparsing import ParserElement

from pipelines.components.expert import Expert
from pipelines.prompts.cache import EmbeddingCache, PromptEmbeds
from pipelines.prompts.textual_inversion import Inversions
from pipelines.schema.errors import InvalidRequest, NumericalError

UNREADABLE = "must be text that compel can read as a prompt with weights"
MAX_BRACKETS = 100
"""Each weighted part is encoded once more with all the rest, while everybody waits."""
MAX_TOKENS = 3000
"""Forty chunks of 75: all of them are attended to in every step."""


class PromptEncoder:
    """Reads prompts for one expert: base with both text encoders, refiner with the second alone.

    `acting` says what acts on the text encoders beside their weights (LoRAs): texts read with it are kept apart.
    """

    def __init__(
        self,
        expert: Expert,
        cache: EmbeddingCache,
        clip_skip: int = 0,
        inversions: Inversions | None = None,
        acting: Hashable = (),
    ) -> None:
        self.expert = expert
        self.cache = cache
        self.clip_skip = clip_skip
        most = min(encoder.config.num_hidden_layers for encoder in self._text_encoders()) - 1
        if clip_skip > most:
            raise InvalidRequest("clip_skip", f"must be at most {most} for this model", clip_skip)
        self.inversions = inversions or Inversions(expert, ())
        encoders = (expert.text_encoder, expert.text_encoder_2)
        self._key = (*map(id, encoders), self.inversions.key, acting)

    @cached_property
    def _compels(self) -> list[Compel]:
        """One for each encoder. Made for a text that is new: tokenizers that know inversions are copied for it."""
        encoders = (self.expert.text_encoder, self.expert.text_encoder_2)
        return [
            Compel(
                tokenizer=tokenizer,
                text_encoder=text_encoder,
                returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
                truncate_long_prompts=False,
                device=str(self.expert.device),
            )
            for tokenizer, text_encoder in zip(self.inversions.tokenizers, encoders, strict=True)
            if text_encoder is not None
        ]

    def encode_pair(
        self, prompt: str, negative_prompt: str, prompt_2: str = "", negative_prompt_2: str = ""
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`prompt_embeds` (2, 77*k, width) and `pooled_prompt_embeds` (2, projection), negative first.

        `prompt_2` is read by the base's second encoder where it is given; a refiner has no use for it. Both texts
        are padded to the longer one. Without a negative prompt there are zeros for a model trained so
        (`force_zeros_for_empty_prompt`), as in diffusers. Raises `InvalidRequest`.
        """
        positive = self._encode("prompt", prompt, prompt_2)
        if not (negative_prompt or negative_prompt_2) and self.expert.force_zeros_for_empty_prompt:
            negative = PromptEmbeds(tuple(map(torch.zeros_like, positive.parts)), torch.zeros_like(positive.pooled))
        else:
            negative = self._encode("negative_prompt", negative_prompt, negative_prompt_2)
        length = max(part.shape[1] for part in (*positive.parts, *negative.parts))
        fields = {"negative_prompt": negative, "prompt": positive}
        embeds = torch.cat([self._join(field, text, length) for field, text in fields.items()])
        pooled = torch.cat([negative.pooled, positive.pooled])
        target = {"device": self.expert.device, "dtype": self.expert.dtype}
        return embeds.to(**target), pooled.to(**target)

    def _encode(self, field: str, text: str, text_2: str = "") -> PromptEmbeds:
        skip = self.clip_skip if field == "prompt" else 0  # as in diffusers, what to move away from is read whole
        key = (self._key, skip, text, text_2)
        embeds = self.cache.get(key)
        if embeds is None:
            fields = {field: text, f"{field}_2": text_2 or text}
            # the refiner has one encoder, and it reads the first text
            embeds = self._encode_anew(list(fields.items())[: len(self._compels)], skip)
            self.cache.put(key, embeds)
        return embeds

    def _encode_anew(self, fields: list[tuple[str, str]], skip: int) -> PromptEmbeds:
        parts = []
        with self.inversions.active(), skipping_layers(self._text_encoders(), skip):
            for compel, (field, text) in zip(self._compels, fields, strict=True):
                conjunction = self._parse(field, text)
                try:
                    part = compel.build_conditioning_tensor_for_conjunction(conjunction)[0]
                except (ValueError, TypeError, IndexError) as error:  # a form that parses and yet means nothing
                    raise InvalidRequest(field, UNREADABLE, text) from error
                if not part.isfinite().all():
                    self._blame(compel, field, text)
                parts.append(part.to(self.expert.device))
            last = self._compels[-1].conditioning_provider
            text = self.inversions.rewrite(fields[-1][1])
            pooled = last.get_pooled_embeddings([text], device=str(self.expert.device))
        return PromptEmbeds(parts=tuple(parts), pooled=cast(torch.Tensor, pooled).to(self.expert.device))

    @staticmethod
    def _blame(compel: Compel, field: str, text: str) -> NoReturn:
        """Says whose fault it is that a text became NaN: its weights', or the encoder's if nothing becomes NaN too."""
        nothing = compel.build_conditioning_tensor_for_conjunction(Compel.parse_prompt_string(""))[0]
        if nothing.isfinite().all():
            raise InvalidRequest(field, "must have finite weights", text)
        raise NumericalError("a text encoder returned NaN; try --dtype float32", "latents")

    def _text_encoders(self) -> list[Any]:
        return [encoder for encoder in (self.expert.text_encoder, self.expert.text_encoder_2) if encoder is not None]

    def _parse(self, field: str, text: str) -> Conjunction:
        """compel's reading of the text, refused where it would hold up everybody else."""
        if text.count("(") > MAX_BRACKETS:
            raise InvalidRequest(field, f"must have at most {MAX_BRACKETS} opening brackets", text)
        rewritten = self.inversions.rewrite(text)
        tokens = len(self.inversions.tokenizers[1](rewritten, verbose=False).input_ids)
        if tokens > MAX_TOKENS:
            raise InvalidRequest(field, f"must have at most {MAX_TOKENS} tokens, not {tokens}", text)
        # without its memory the parser takes three times as long with every bracket inside a bracket
        ParserElement.enable_packrat(cache_size_limit=None)
        try:
            return Compel.parse_prompt_string(rewritten)
        except Exception as error:  # compel raises whatever its parser met, IndexError to RecursionError
            raise InvalidRequest(field, UNREADABLE, text) from error

    def _join(self, field: str, text: PromptEmbeds, length: int) -> torch.Tensor:
        """Fills each encoder's states up to `length` with those of the empty text; then joins their widths."""
        parts = list(text.parts)
        for position, part in enumerate(parts):
            if part.shape[1] < length:
                filler = self._encode(field, "").parts[position]
                parts[position] = torch.cat([part, filler.repeat(1, (length - part.shape[1]) // filler.shape[1], 1)], 1)
        return torch.cat(parts, dim=-1)


@contextmanager
def skipping_layers(text_encoders: Sequence[torch.nn.Module], clip_skip: int) -> Iterator[None]:
    """Lets the encoders' penultimate states be those of `clip_skip` layers before; pooled states stay.

    As `clip_skip` of diffusers' `StableDiffusionXLPipeline.encode_prompt`.
    """

    def shorten(_module: Any, _inputs: Any, output: Any) -> Any:
        states = output.hidden_states
        if states is not None:  # a call for the pooled state alone has none
            output.hidden_states = states[: len(states) - clip_skip]
        return output

    with ExitStack() as stack:
        if clip_skip:
            for encoder in text_encoders:
                stack.callback(encoder.register_forward_hook(shorten).remove)
        yield
