"""Prompts mean what compel and diffusers say they mean, and are read once."""

import time
from typing import Any

import pytest
import torch
from compel import CompelForSDXL
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

from pipelines.components.expert import Expert
from pipelines.prompts.cache import EmbeddingCache, PromptEmbeds
from pipelines.prompts.encoding import PromptEncoder
from pipelines.schema.errors import InvalidRequest

PROMPT, NEGATIVE = "a fox on a blue background", "blurry"


@pytest.fixture
def encoder(base: Expert) -> PromptEncoder:
    return PromptEncoder(base, EmbeddingCache())


@pytest.fixture(scope="module")
def pipeline(base: Expert) -> Any:
    parts: dict[str, Any] = {**base.modules, "tokenizer": base.tokenizer, "tokenizer_2": base.tokenizer_2}
    return StableDiffusionXLPipeline(**parts, scheduler=EulerDiscreteScheduler(), add_watermarker=False)


@torch.inference_mode()
def test_an_unweighted_prompt_equals_diffusers_exactly(encoder: PromptEncoder, pipeline: Any) -> None:
    embeds, pooled = encoder.encode_pair(PROMPT, NEGATIVE)
    positive, negative, pooled_positive, pooled_negative = pipeline.encode_prompt(PROMPT, negative_prompt=NEGATIVE)
    assert torch.equal(embeds, torch.cat([negative, positive]))
    assert torch.equal(pooled, torch.cat([pooled_negative, pooled_positive]))


@torch.inference_mode()
def test_weights_act_as_in_compel(encoder: PromptEncoder, pipeline: Any) -> None:
    weighted = "a fox++ on a (blue background)0.6"
    embeds, pooled = encoder.encode_pair(weighted, NEGATIVE)
    reference = CompelForSDXL(pipeline)(weighted, negative_prompt=NEGATIVE)
    assert torch.equal(embeds, torch.cat([reference.negative_embeds, reference.embeds]))
    assert torch.equal(pooled, torch.cat([reference.negative_pooled_embeds, reference.pooled_embeds]))
    assert not torch.equal(embeds[1], encoder.encode_pair(PROMPT, NEGATIVE)[0][1])


@torch.inference_mode()
def test_a_long_prompt_is_not_cut_and_the_negative_is_padded_to_it(encoder: PromptEncoder) -> None:
    long = ", ".join([PROMPT] * 20)
    embeds, _ = encoder.encode_pair(long, NEGATIVE)
    assert embeds.shape[0] == 2
    assert embeds.shape[1] % 77 == 0
    assert embeds.shape[1] > 77
    other_end, _ = encoder.encode_pair(long + " and a banana", NEGATIVE)
    assert not torch.equal(other_end[1], embeds[1, : other_end.shape[1]])
    short, _ = encoder.encode_pair(PROMPT, NEGATIVE)
    assert torch.equal(embeds[0, :77], short[0])


@torch.inference_mode()
def test_an_empty_negative_prompt_is_zeros_for_the_base_and_the_empty_text_for_the_refiner(
    base: Expert, refiner: Expert
) -> None:
    cache = EmbeddingCache()
    embeds, pooled = PromptEncoder(base, cache).encode_pair(PROMPT, "")
    assert not embeds[0].any()
    assert not pooled[0].any()
    embeds, _ = PromptEncoder(refiner, cache).encode_pair(PROMPT, "")
    assert embeds[0].any()


@torch.inference_mode()
def test_the_refiner_reads_the_prompt_with_the_second_encoder_alone(base: Expert, refiner: Expert) -> None:
    cache = EmbeddingCache()
    both, pooled = PromptEncoder(base, cache).encode_pair(PROMPT, NEGATIVE)
    second, pooled_again = PromptEncoder(refiner, cache).encode_pair(PROMPT, NEGATIVE)
    width = second.shape[-1]
    assert width < both.shape[-1]
    assert torch.equal(second, both[..., -width:])
    assert torch.equal(pooled, pooled_again)


@torch.inference_mode()
def test_a_repeated_prompt_is_not_encoded_again(
    encoder: PromptEncoder, base: Expert, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for text_encoder in (base.text_encoder, base.text_encoder_2):
        assert text_encoder is not None
        forward = text_encoder.forward
        monkeypatch.setattr(
            text_encoder, "forward", lambda *a, forward=forward, **k: (calls.append(1), forward(*a, **k))[1]
        )
    encoder.encode_pair(PROMPT, NEGATIVE)
    assert calls
    calls.clear()
    encoder.encode_pair(PROMPT, NEGATIVE)
    assert not calls


@torch.inference_mode()
@pytest.mark.parametrize("depth", [8, 20])
def test_nested_brackets_are_read_in_a_moment(encoder: PromptEncoder, depth: int) -> None:
    started = time.process_time()
    embeds, _ = encoder.encode_pair("(" * depth + "a fox" + ")" * depth, "")
    assert embeds.isfinite().all()
    assert time.process_time() - started < 5  # without the parser's memory depth 8 takes more than a minute


@pytest.mark.parametrize(
    ("prompt", "rule"),
    [
        ("(a)0.5 " * 101, "must have at most 100 opening brackets"),
        ("fox, " * 999 + "🦊" * 500, "must have at most 3000 tokens, not "),
    ],
)
def test_a_prompt_that_would_hold_up_everybody_is_refused(encoder: PromptEncoder, prompt: str, rule: str) -> None:
    with pytest.raises(InvalidRequest, match=rule):
        encoder.encode_pair(prompt, "")


@pytest.mark.parametrize("prompt", ["(" * 90, "()", '("a", "b").blend(1)', '("a", "b").blend(nan, 1)'])
def test_a_prompt_that_compel_cannot_read_is_refused_by_field(encoder: PromptEncoder, prompt: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encoder.encode_pair(prompt, "")
    assert caught.value.field == "prompt"
    with pytest.raises(InvalidRequest) as caught:
        encoder.encode_pair(PROMPT, prompt)
    assert caught.value.field == "negative_prompt"


@torch.inference_mode()
@pytest.mark.parametrize(
    "prompt", ["", "   ", "\x00", "🦊 狐狸", "((((", "a)", '"', '("a", "b").and(1, 0.5)', "a" + "+" * 99]
)
def test_awkward_prompts_give_finite_embeddings(encoder: PromptEncoder, prompt: str) -> None:
    embeds, pooled = encoder.encode_pair(prompt, NEGATIVE)
    assert embeds.isfinite().all()
    assert pooled.isfinite().all()


def test_the_cache_drops_the_least_recently_used_within_its_bytes() -> None:
    def embeds() -> PromptEmbeds:
        return PromptEmbeds(parts=(torch.zeros(1, 77, 4),), pooled=torch.zeros(1, 4))

    cache = EmbeddingCache(max_bytes=embeds().bytes * 2)
    cache.put(("base", "a"), embeds())
    cache.put(("base", "b"), embeds())
    assert cache.get(("base", "a")) is not None
    cache.put(("base", "c"), embeds())
    assert cache.get(("base", "b")) is None
    assert cache.get(("base", "a")) is not None
    assert cache.get(("base", "c")) is not None
