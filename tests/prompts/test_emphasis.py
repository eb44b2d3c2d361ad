"""A1111's weights equal their definition: each token's states times its weight, and the chunk's mean restored."""

from typing import Any

import pytest
import torch

from pipelines.components.expert import Expert
from pipelines.prompts.cache import EmbeddingCache
from pipelines.prompts.emphasis import emphasize
from pipelines.prompts.encoding import PromptEncoder, Side
from pipelines.prompts.syntax import parse
from tests.pipelines.demo_experts import load_demo_experts

Words = list[tuple[str, float]]
FORMS: dict[str, list[Words]] = {
    "a (fox:1.3) on a [blue] background": [
        [("a", 1), ("fox", 1.3), ("on a", 1), ("blue", 1 / 1.1), ("background", 1)],
    ],
    "a ((fox)), (night:0.5) sky": [[("a", 1), ("fox", 1.1**2), (",", 1), ("night", 0.5), ("sky", 1)]],
    "a ((house:1.3) [on] hill)": [[("a", 1), ("house", 1.3 * 1.1), ("on", 1), ("hill", 1.1)]],
    "(a fox": [[("(a fox", 1)]],
    r"a \(fox\) (on:0)": [[("a (fox)", 1), ("on", 0)]],
    "(fox:1.4) BREAK a (blue:0.6) sky": [[("fox", 1.4)], [("a", 1), ("blue", 0.6), ("sky", 1)]],
    "a fox BREAK (blue:0.6)": [[("a fox", 1)], [("blue", 0.6)]],
}


def by_definition(expert: Expert, chunks: list[Words]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (1, 77*k, width) and the pooled state of the first chunk, with transformers alone."""
    parts: list[torch.Tensor] = []
    pooled: list[torch.Tensor] = []
    for tokenizer, encoder in (
        (expert.tokenizer, expert.text_encoder),
        (expert.tokenizer_2, expert.text_encoder_2),
    ):
        if tokenizer is None or encoder is None:
            continue
        states: list[torch.Tensor] = []
        for words in chunks:
            ids, weights = [tokenizer.bos_token_id], [1.0]
            for text, weight in words:
                found = tokenizer(text, add_special_tokens=False).input_ids
                ids += found
                weights += [weight] * len(found)
            ids += [tokenizer.eos_token_id] + [tokenizer.pad_token_id] * (76 - len(ids))
            weights += [1.0] * (77 - len(weights))
            output: Any = encoder(torch.tensor([ids]), output_hidden_states=True)
            plain = output.hidden_states[-2]
            weighted = plain * torch.tensor(weights)[None, :, None]
            states.append(weighted * (plain.mean() / weighted.mean()))
            pooled.append(getattr(output, "text_embeds", None))  # pyright: ignore
        parts.append(torch.cat(states, dim=1))
    return torch.cat(parts, dim=-1), pooled[-len(chunks)]


@torch.inference_mode()
@pytest.mark.parametrize("expert", ["base", "refiner"])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_equals_its_definition(form: str, expert: str) -> None:
    encoder = PromptEncoder(load_demo_experts()[expert], EmbeddingCache())
    embeds, pooled = encoder.encode_pair(
        Side("prompt", parse(form, "a1111").reading(1, 1)), Side("negative_prompt", parse("a").reading(1, 1))
    )
    expected, expected_pooled = by_definition(encoder.expert, FORMS[form])
    assert (embeds[1:] - expected).abs().max() < 1e-5
    assert (pooled[1:] - expected_pooled).abs().max() < 1e-5


def test_a_chunk_without_weights_stays_as_it_is_beside_one_that_has_some() -> None:
    states = torch.randn(2, 77, 8, generator=torch.Generator().manual_seed(0)) + 1
    weights = torch.ones(2, 77)
    weights[1, 3:9] = 1.7
    emphasized = emphasize(states, weights)
    assert torch.equal(emphasized[0], states[0])
    assert torch.allclose(emphasized.mean((1, 2)), states.mean((1, 2)), atol=1e-6)
    ratio = emphasized[1] / states[1]
    assert torch.allclose(ratio[3:9] / ratio[0, 0], torch.tensor(1.7), atol=1e-4)


def test_half_precision_is_weighted_in_full_and_stays_half() -> None:
    states = torch.randn(1, 77, 8, generator=torch.Generator().manual_seed(0)) + 1
    weights = torch.full((1, 77), 1.3)
    weights[0, 0] = 1
    emphasized = emphasize(states.half(), weights)
    assert emphasized.dtype == torch.float16
    assert torch.equal(emphasized, emphasize(states.half().float(), weights).half())
