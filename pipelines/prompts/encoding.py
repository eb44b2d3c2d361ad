"""Prompts to embeddings: compel blends, joins and weights them, in its own way or with A1111's weights and chunks."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, cast

import torch
from compel import Compel, ReturnedEmbeddingsType
from compel import prompt_parser as forms
from compel.embeddings_provider import EmbeddingsProvider, SplitLongTextMode
from transformers import CLIPTokenizer

from pipelines.components.expert import Expert
from pipelines.prompts.cache import EmbeddingCache, PromptEmbeds
from pipelines.prompts.chunking import CHUNK_LENGTH, ResolvedWeighting, cut, passages_of, sections_of, weighting_of
from pipelines.prompts.emphasis import EmphasisProvider
from pipelines.prompts.limits import check_length
from pipelines.prompts.reading import Blend, Fragment, Passage, Reading, Section
from pipelines.prompts.textual_inversion import Inversions
from pipelines.schema.errors import InvalidRequest, NumericalError
from pipelines.schema.types import Weighting

EMPTY = Reading("plain", (Passage(((Fragment(""),),)),), (1.0,), "")


@dataclass(frozen=True)
class Side:
    """What the prompts say at one step, or the negative prompts: a row of classifier-free guidance."""

    field: str
    """Where it was typed: "prompt" or "negative_prompt"."""
    reading: Reading
    reading_2: Reading | None = None
    """What the base's second encoder reads, where that is something else; a refiner has no use for it."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is said."""
        return self.reading.is_empty and (self.reading_2 is None or self.reading_2.is_empty)

    def readings(self, encoders: int) -> list[tuple[str, Reading]]:
        """What each of so many encoders reads, with the field it comes from; a refiner's only one reads the first."""
        first = (self.field, self.reading)
        second = (f"{self.field}_2", self.reading_2) if self.reading_2 else first
        return [first, second][:encoders]


def check_sides(sides: Sequence[Side], tokenizers: Sequence[CLIPTokenizer], weighting: Weighting) -> int:
    """As `PromptEncoder.check`, before there is an encoder; `tokenizers`: one for each."""
    readings = {reading: field for side in sides for field, reading in side.readings(len(tokenizers))}
    return check_length(readings, tokenizers[-1], weighting)


class PromptEncoder:
    """Encodes prompts for one expert: base with both text encoders, refiner with the second alone.

    `acting` says what acts on the text encoders beside their weights (LoRAs): texts read with it are kept apart.
    """

    def __init__(
        self,
        expert: Expert,
        cache: EmbeddingCache,
        clip_skip: int = 0,
        inversions: Inversions | None = None,
        acting: Hashable = (),
        weighting: Weighting = "auto",
    ) -> None:
        self.expert = expert
        self.cache = cache
        self.clip_skip = clip_skip
        self.weighting: Weighting = weighting
        most = min(encoder.config.num_hidden_layers for encoder in self._text_encoders()) - 1
        if clip_skip > most:
            raise InvalidRequest("clip_skip", f"must be at most {most} for this model", clip_skip)
        self.inversions = inversions or Inversions(expert, ())
        encoders = (expert.text_encoder, expert.text_encoder_2)
        self._key = (*map(id, encoders), self.inversions.key, acting)

    def check(self, sides: Sequence[Side]) -> int:
        """The chunks of the longest side; raises `InvalidRequest` for prompts that would hold up everybody else.

        `sides`: all that one field, and the one for the second encoder, say over a run.
        """
        return check_sides(sides, self._tokenizers, self.weighting)

    def encode_pair(self, positive: Side, negative: Side) -> tuple[torch.Tensor, torch.Tensor]:
        """`prompt_embeds` (2, 77*k, width) and `pooled_prompt_embeds` (2, projection), negative first.

        All texts are padded to the longest with chunks of the empty text. Where nothing is said there are zeros for a
        model trained so (`force_zeros_for_empty_prompt`), as in diffusers. Raises `InvalidRequest` for a prompt
        that is too long, and for weights that make NaN of it.
        """
        said = self._encode(positive)
        if negative.is_empty and self.expert.force_zeros_for_empty_prompt:
            unsaid = PromptEmbeds(tuple(map(torch.zeros_like, said.parts)), torch.zeros_like(said.pooled))
        else:
            unsaid = self._encode(negative)
        length = max(part.shape[1] for part in (*said.parts, *unsaid.parts))
        rows = {negative.field: unsaid, positive.field: said}
        embeds = torch.cat([self._join(field, embeds, length) for field, embeds in rows.items()])
        pooled = torch.cat([unsaid.pooled, said.pooled])
        target = {"device": self.expert.device, "dtype": self.expert.dtype}
        return embeds.to(**target), pooled.to(**target)

    @property
    def _tokenizers(self) -> tuple[CLIPTokenizer, ...]:
        return tuple(tokenizer for tokenizer in self.inversions.tokenizers if tokenizer is not None)

    @cached_property
    def _compels(self) -> dict[ResolvedWeighting, list[Compel]]:
        """One for each encoder. Made for a text that is new: tokenizers that know inversions are copied for it."""
        pairs = list(zip(self._tokenizers, self._text_encoders(), strict=True))
        device = str(self.expert.device)
        return {
            "a1111": [_make_compel(EmphasisProvider, *pair, device) for pair in pairs],
            "compel": [_make_compel(_ResidentProvider, *pair, device) for pair in pairs],
        }

    def _text_encoders(self) -> list[Any]:
        return [encoder for encoder in (self.expert.text_encoder, self.expert.text_encoder_2) if encoder is not None]

    def _encode(self, side: Side) -> PromptEmbeds:
        skip = self.clip_skip if side.field == "prompt" else 0  # as in diffusers, what to move away from is read whole
        readings = side.readings(len(self._tokenizers))
        key = (self._key, skip, self.weighting, *(reading for _, reading in readings))
        embeds = self.cache.get(key)
        if embeds is None:
            self.check([side])
            embeds = self._encode_anew(readings, skip)
            self.cache.put(key, embeds)
        return embeds

    def _encode_anew(self, readings: list[tuple[str, Reading]], skip: int) -> PromptEmbeds:
        parts: list[torch.Tensor] = []
        with self.inversions.active(), skipping_layers(self._text_encoders(), skip):
            for number, (field, reading) in enumerate(readings):
                compel = self._compels[weighting_of(reading, self.weighting)][number]
                parts.append(self._states(compel, field, reading))
            field, reading = readings[-1]
            pooled = self._pooled(reading)
            if not pooled.isfinite().all():
                self._blame(self._compels["a1111"][-1], field, reading)
        return PromptEmbeds(tuple(part.to(self.expert.device) for part in parts), pooled.to(self.expert.device))

    def _states(self, compel: Compel, field: str, reading: Reading) -> torch.Tensor:
        """Penultimate states of one encoder, (1, 77*k, width)."""
        conjunction = _conjunction_of(reading, cast(CLIPTokenizer, compel.conditioning_provider.tokenizer))
        states = compel.build_conditioning_tensor_for_conjunction(conjunction)[0]
        if not states.isfinite().all():
            self._blame(compel, field, reading)
        return states

    def _pooled(self, reading: Reading) -> torch.Tensor:
        """The last encoder's pooled state, (1, projection), which no weights act on.

        compel reads it of the prompt as it was typed, brackets and all; in A1111 it is that of the first chunk.
        """
        weighting = weighting_of(reading, self.weighting)
        provider = cast(EmphasisProvider, self._compels[weighting][-1].conditioning_provider)
        device = str(self.expert.device)
        if weighting == "compel":
            words = "".join(fragment.text for fragment in sections_of(passages_of(reading.parts[0])[0])[0])
            text = reading.text if reading.dialect == "compel" else words
            return cast(torch.Tensor, provider.get_pooled_embeddings([text], device=device))
        first = reading.parts[0]
        states = [provider.pool(sections_of(passage)[0], device) for passage in passages_of(first)]
        if isinstance(first, Blend):
            together = torch.stack(states, dim=1).unsqueeze(2)
            return provider.apply_embedding_weights(together, list(first.weights), first.normalized).squeeze(1)
        return states[0]

    def _blame(self, compel: Compel, field: str, reading: Reading) -> NoReturn:
        """Says whose fault it is that a text became NaN: its weights', or the encoder's if nothing becomes NaN too."""
        tokenizer = cast(CLIPTokenizer, compel.conditioning_provider.tokenizer)
        nothing = compel.build_conditioning_tensor_for_conjunction(_conjunction_of(EMPTY, tokenizer))[0]
        if nothing.isfinite().all():
            raise InvalidRequest(field, "must have finite weights", reading.text)
        raise NumericalError("a text encoder returned NaN; try --dtype float32", "latents")

    def _join(self, field: str, embeds: PromptEmbeds, length: int) -> torch.Tensor:
        """Fills each encoder's states up to `length` with those of the empty text; then joins their widths."""
        parts = list(embeds.parts)
        for position, part in enumerate(parts):
            if part.shape[1] < length:
                filler = self._encode(Side(field, EMPTY)).parts[position]
                parts[position] = torch.cat([part, filler.repeat(1, (length - part.shape[1]) // filler.shape[1], 1)], 1)
        return torch.cat(parts, dim=-1)


class _ResidentProvider(EmbeddingsProvider):
    """compel's own, whose states stay where they were computed: the weights may wait on another device."""

    def get_embeddings_for_weighted_prompt_fragments(self, *args: Any, device: str = "cpu", **options: Any) -> Any:
        """As compel's: states, with the ids where they are asked for."""
        found = super().get_embeddings_for_weighted_prompt_fragments(*args, device=device, **options)
        return (found[0].to(device), found[1]) if isinstance(found, tuple) else found.to(device)


def _make_compel(provider: type[EmbeddingsProvider], tokenizer: Any, text_encoder: Any, device: str) -> Compel:
    options: dict[str, Any] = {
        "tokenizer": tokenizer,
        "text_encoder": text_encoder,
        "returned_embeddings_type": ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        "split_long_text_mode": SplitLongTextMode.SENTENCES,
        "device": device,
        "model_max_length": CHUNK_LENGTH,
    }
    compel = Compel(**options)
    compel.conditioning_provider = provider(**options, truncate=False)
    return compel


def _conjunction_of(reading: Reading, tokenizer: CLIPTokenizer) -> forms.Conjunction:
    """The prompt in compel's own objects; a section is a part of its own, of the same weight as its passage."""
    prompts: list[Any] = []
    weights: list[float] = []
    for part, weight in zip(reading.parts, reading.weights, strict=True):
        if isinstance(part, Blend):
            passages = [_flat(sum(sections_of(passage), ()), tokenizer) for passage in part.passages]
            prompts.append(forms.Blend(passages, list(part.weights), part.normalized))
            weights.append(weight)
        else:
            sections = sections_of(part)
            prompts += [_flat(section, tokenizer) for section in sections]
            weights += [weight] * len(sections)
    return forms.Conjunction(prompts, weights)


def _flat(section: Section, tokenizer: CLIPTokenizer) -> forms.FlattenedPrompt:
    """A section for compel, which cannot weaken fragments that hold no token."""
    said = [fragment for fragment in section if fragment.weight >= 1 or any(cut((fragment,), tokenizer, "a1111"))]
    flat = forms.FlattenedPrompt([(fragment.text, fragment.weight) for fragment in said])
    for child, fragment in zip(flat.children, said, strict=True):
        child.text = fragment.text  # compel has taken escapes out once more
    return flat


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
