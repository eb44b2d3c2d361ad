"""Prompts mean what compel and diffusers say they mean, and are read once."""

import time
from typing import Any

import pytest
import torch
from compel import Compel, CompelForSDXL, ReturnedEmbeddingsType
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

from pipelines.components.expert import Expert
from pipelines.prompts.cache import EmbeddingCache, PromptEmbeds
from pipelines.prompts.encoding import PromptEncoder, Side
from pipelines.prompts.reading import Blend, Fragment, Passage, Reading
from pipelines.prompts.syntax import parse
from pipelines.schema.errors import InvalidRequest

PROMPT, NEGATIVE = "a fox on a blue background", "blurry"
LONG = ", ".join([PROMPT] * 12)
COMPEL_FORMS = (
    PROMPT,
    "a fox++ on a (blue background)0.6",
    "a fox-- (on a (blue)1.3 background)0.8, (sky)1.5",
    'a "red fox"+++ on blue',
    "a (fox)0 on blue",
    '("a fox", "a cat on a red background").blend(0.3, 0.7)',
    '("a fox++", "a (cat)0.5").blend(1, 1, no_normalize)',
    '("a fox", "a cat").and()',
    f"a fox++. {LONG}",
    f'("a fox", "{LONG}").blend(0.3, 0.7)',
    "a \\(fox\\) on blue++",
)


@pytest.fixture
def encoder(base: Expert) -> PromptEncoder:
    return PromptEncoder(base, EmbeddingCache())


@pytest.fixture(scope="module")
def pipeline(base: Expert) -> Any:
    parts: dict[str, Any] = {**base.modules, "tokenizer": base.tokenizer, "tokenizer_2": base.tokenizer_2}
    return StableDiffusionXLPipeline(**parts, scheduler=EulerDiscreteScheduler(), add_watermarker=False)


def read(text: str, syntax: Any = "auto") -> Reading:
    return parse(text, syntax).reading(1, 1)


def encode(encoder: PromptEncoder, prompt: str, negative: str, syntax: Any = "auto") -> Any:
    return encoder.encode_pair(Side("prompt", read(prompt, syntax)), Side("negative_prompt", read(negative, syntax)))


@torch.inference_mode()
def test_an_unweighted_prompt_equals_diffusers_exactly(encoder: PromptEncoder, pipeline: Any) -> None:
    embeds, pooled = encode(encoder, PROMPT, NEGATIVE)
    positive, negative, pooled_positive, pooled_negative = pipeline.encode_prompt(PROMPT, negative_prompt=NEGATIVE)
    assert torch.equal(embeds, torch.cat([negative, positive]))
    assert torch.equal(pooled, torch.cat([pooled_negative, pooled_positive]))


@torch.inference_mode()
@pytest.mark.parametrize("form", COMPEL_FORMS)
def test_compels_forms_equal_compel_called_by_hand(encoder: PromptEncoder, pipeline: Any, form: str) -> None:
    embeds, pooled = encode(encoder, form, "blurry--", "compel")
    reference = CompelForSDXL(pipeline)(form, negative_prompt="blurry--")
    assert (embeds - torch.cat([reference.negative_embeds, reference.embeds])).abs().max() < 1e-5
    assert (pooled - torch.cat([reference.negative_pooled_embeds, reference.pooled_embeds])).abs().max() < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("name", ["base", "refiner"])
def test_parts_of_other_weights_equal_each_encoders_compel(base: Expert, refiner: Expert, name: str) -> None:
    """CompelForSDXL fails for them, where it looks for the empty text's states."""
    expert, form = {"base": base, "refiner": refiner}[name], '("a fox", "a cat++").and(1, 0.5)'
    parts: list[Any] = []
    for tokenizer, text_encoder in (
        (expert.tokenizer, expert.text_encoder),
        (expert.tokenizer_2, expert.text_encoder_2),
    ):
        if tokenizer and text_encoder:
            kind = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
            compel = Compel(tokenizer, text_encoder, returned_embeddings_type=kind, truncate_long_prompts=False)
            parts.append(compel(form))
    embeds, _ = encode(PromptEncoder(expert, EmbeddingCache()), form, "a", "compel")
    assert (embeds[1:] - torch.cat(parts, dim=-1)).abs().max() < 1e-5


@torch.inference_mode()
def test_plain_text_is_the_same_whichever_way_weights_act(base: Expert, pipeline: Any) -> None:
    positive, negative, pooled, _ = pipeline.encode_prompt(PROMPT, negative_prompt=NEGATIVE)
    for weighting in ("a1111", "compel"):
        encoder = PromptEncoder(base, EmbeddingCache(), weighting=weighting)
        embeds, pooled_pair = encode(encoder, PROMPT, NEGATIVE)
        assert torch.equal(embeds, torch.cat([negative, positive]))
        assert torch.equal(pooled_pair[1:], pooled)


@torch.inference_mode()
def test_the_dialect_decides_how_weights_act_unless_it_is_said(base: Expert) -> None:
    def states(text: str, weighting: Any) -> torch.Tensor:
        return encode(PromptEncoder(base, EmbeddingCache(), weighting=weighting), text, "a")[0][1]

    a1111, compel = "a (fox:1.5) on blue", "a (fox)1.5 on blue"
    assert torch.equal(states(a1111, "auto"), states(a1111, "a1111"))
    assert torch.equal(states(compel, "auto"), states(compel, "compel"))
    assert not torch.allclose(states(a1111, "a1111"), states(a1111, "compel"), atol=1e-2)
    assert torch.allclose(states(a1111, "compel"), states(compel, "compel"), atol=1e-5)


@torch.inference_mode()
def test_what_was_encoded_with_other_weights_is_not_taken_for_this(base: Expert) -> None:
    cache = EmbeddingCache()
    for weighting in ("a1111", "compel", "auto"):
        shared, own = (PromptEncoder(base, there, weighting=weighting) for there in (cache, EmbeddingCache()))
        assert torch.equal(encode(shared, "(fox:1.5)", "a")[0], encode(own, "(fox:1.5)", "a")[0])


@torch.inference_mode()
def test_sections_written_for_a1111_are_read_by_compel_one_by_one(base: Expert, pipeline: Any) -> None:
    encoder = PromptEncoder(base, EmbeddingCache(), weighting="compel")
    embeds, pooled = encode(encoder, "a (fox:1.5) BREAK (blue:0.5) sky", "", "a1111")
    first, second = (CompelForSDXL(pipeline)(text) for text in ("a (fox)1.5", "(blue)0.5 sky"))
    assert torch.allclose(embeds[1:], torch.cat([first.embeds, second.embeds], dim=1), atol=1e-5)
    plain = pipeline.encode_prompt("a fox", do_classifier_free_guidance=False)[2]
    assert torch.allclose(pooled[1:], plain, atol=1e-5)


@torch.inference_mode()
def test_compels_parts_and_blends_can_have_a1111s_weights(base: Expert) -> None:
    """The passages are weighted, then blended and joined as ever; so are their pooled states."""
    encoder = PromptEncoder(base, EmbeddingCache(), weighting="a1111")
    fox, fox_pooled = (rows[1] for rows in encode(encoder, "a (fox:1.5)", "a", "a1111"))
    cat, cat_pooled = (rows[1] for rows in encode(encoder, "a (cat:0.5)", "a", "a1111"))
    blended, pooled = (rows[1] for rows in encode(encoder, '("a (fox)1.5", "a (cat)0.5").blend(1, 3)', "a", "compel"))
    assert torch.allclose(blended, (fox + 3 * cat) / 4, atol=1e-5)
    assert torch.allclose(pooled, (fox_pooled + 3 * cat_pooled) / 4, atol=1e-5)
    joined, pooled = (rows[1] for rows in encode(encoder, '("a (fox)1.5", "a (cat)0.5").and()', "a", "compel"))
    assert torch.allclose(joined, torch.cat([fox, cat]), atol=1e-5)
    assert torch.allclose(pooled, fox_pooled, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("weighting", ["a1111", "compel"])
def test_the_second_encoder_may_read_another_prompt_and_the_shorter_is_padded(base: Expert, weighting: Any) -> None:
    encoder = PromptEncoder(base, EmbeddingCache(), weighting=weighting)
    width = base.text_encoder.config.hidden_size  # pyright: ignore
    embeds, pooled = encoder.encode_pair(
        Side("prompt", read(PROMPT), read(LONG)), Side("negative_prompt", read("a"), read("b"))
    )
    alone, _ = encode(encoder, PROMPT, "a")
    long, long_pooled = encode(encoder, LONG, "b")
    assert torch.equal(embeds[1, :77, :width], alone[1, :, :width])
    assert torch.allclose(embeds[1, :, width:], long[1, :, width:], atol=1e-5)
    assert torch.allclose(embeds[0, :, width:], long[0, :, width:], atol=1e-5)
    assert torch.equal(embeds[1, 77:, :width], long[0, 77:, :width])
    assert torch.equal(pooled[1], long_pooled[1])


@torch.inference_mode()
def test_a_long_prompt_is_not_cut_and_the_negative_is_padded_to_it(encoder: PromptEncoder) -> None:
    long = ", ".join([PROMPT] * 20)
    embeds, _ = encode(encoder, long, NEGATIVE)
    assert embeds.shape[0] == 2
    assert embeds.shape[1] % 77 == 0
    assert embeds.shape[1] > 77
    other_end, _ = encode(encoder, long + " and a banana", NEGATIVE)
    assert not torch.equal(other_end[1], embeds[1, : other_end.shape[1]])
    short, _ = encode(encoder, PROMPT, NEGATIVE)
    assert torch.equal(embeds[0, :77], short[0])


@torch.inference_mode()
def test_an_empty_negative_prompt_is_zeros_for_the_base_and_the_empty_text_for_the_refiner(
    base: Expert, refiner: Expert
) -> None:
    cache = EmbeddingCache()
    embeds, pooled = encode(PromptEncoder(base, cache), PROMPT, "")
    assert not embeds[0].any()
    assert not pooled[0].any()
    embeds, _ = encode(PromptEncoder(refiner, cache), PROMPT, "")
    assert embeds[0].any()


@torch.inference_mode()
def test_the_refiner_reads_the_prompt_with_the_second_encoder_alone(base: Expert, refiner: Expert) -> None:
    cache = EmbeddingCache()
    both, pooled = encode(PromptEncoder(base, cache), PROMPT, NEGATIVE)
    second, pooled_again = encode(PromptEncoder(refiner, cache), PROMPT, NEGATIVE)
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
    encode(encoder, PROMPT, NEGATIVE)
    assert calls
    calls.clear()
    encode(encoder, PROMPT, NEGATIVE)
    assert not calls


@torch.inference_mode()
def test_ten_thousand_brackets_are_read_in_a_moment(encoder: PromptEncoder) -> None:
    started = time.process_time()
    embeds, _ = encode(encoder, "(" * 9_000 + "a fox" + ")" * 9_000, "")
    assert embeds.isfinite().all()
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("prompt", "weighting", "rule"),
    [
        ("(a)0.5 b " * 400, "compel", "must take the text encoder at most 400 chunks, not "),
        ("fox, " * 999 + "🦊" * 500, "auto", "must have at most 3000 tokens, not "),
        (" BREAK ".join("a" * 81), "auto", "must have at most 80 chunks, not 81"),
        (" BREAK ".join("a" * 81), "compel", "must have at most 80 chunks, not 81"),
    ],
)
def test_a_prompt_that_would_hold_up_everybody_is_refused(base: Expert, prompt: str, weighting: Any, rule: str) -> None:
    encoder = PromptEncoder(base, EmbeddingCache(), weighting=weighting)
    with pytest.raises(InvalidRequest, match=rule) as caught:
        encode(encoder, prompt, "")
    assert caught.value.field == "prompt"
    with pytest.raises(InvalidRequest, match=rule) as caught:
        encoder.encode_pair(Side("prompt", read("a")), Side("negative_prompt", read("a"), read(prompt)))
    assert caught.value.field == "negative_prompt_2"


@torch.inference_mode()
@pytest.mark.parametrize(
    "reading",
    [
        Reading("a1111", (Passage(((Fragment("a", 1e38), Fragment("fox", 1e38)),)),), (1.0,), "a fox"),
        Reading("compel", (Blend((Passage(((Fragment("a"),),)),) * 2, (1.0, -1.0)),), (1.0,), "a"),
    ],
)
def test_weights_that_make_nan_are_refused_by_field(encoder: PromptEncoder, reading: Reading) -> None:
    with pytest.raises(InvalidRequest, match="negative_prompt must have finite weights"):
        encoder.encode_pair(Side("prompt", read("a")), Side("negative_prompt", reading))


@torch.inference_mode()
@pytest.mark.parametrize("weighting", ["a1111", "compel"])
@pytest.mark.parametrize(
    "prompt",
    ["", "   ", "\x00", "🦊 狐狸", "((((", "a)", '"', '("a", "b").and(1, 0.5)', "a" + "+" * 99, "BREAK", "()0.5 a"],
)
def test_awkward_prompts_give_finite_embeddings(base: Expert, prompt: str, weighting: Any) -> None:
    encoder = PromptEncoder(base, EmbeddingCache(), weighting=weighting)
    for syntax in ("a1111", "compel"):
        embeds, pooled = encode(encoder, prompt, NEGATIVE, syntax)
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
