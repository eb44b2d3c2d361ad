"""What a UNet is told and keeps: once for each run whoever asks, and in layers of SDXL's kind alone."""

import threading
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from pipelines.components.unet.attention import KeepingAttention, heard
from pipelines.components.unet.told import Rows, Share, Told, repeat


@pytest.fixture
def told() -> Told:
    generator = torch.Generator().manual_seed(0)
    return Told(torch.randn(2, 7, 16, generator=generator), torch.zeros(2, 4), torch.zeros(2, 6))


def test_lanes_that_make_the_same_at_once_keep_it_once(told: Told) -> None:
    together = threading.Barrier(2)

    def make(part: Told) -> tuple[torch.Tensor]:
        together.wait(10)
        return (part.prompt_embeds,)

    lanes = [threading.Thread(target=told.make, args=("key", 0, (1,), make, True)) for _ in range(2)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join(20)
    assert len(told._made["key"]) == 1
    assert told._bytes == 7 * 16 * 4


@torch.inference_mode()
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ({"cross_attention_dim": 16}, (2, 9, 8)),
        ({}, (2, 9, 8)),
        ({"qk_norm": "layer_norm"}, (2, 9, 8)),
        ({"cross_attention_dim": 16, "cross_attention_norm": "layer_norm"}, (2, 9, 8)),
        ({"norm_num_groups": 2, "residual_connection": True}, (2, 8, 3, 3)),
    ],
)
def test_attention_is_diffusers_own_in_layers_of_any_kind(
    told: Told, layer: dict[str, Any], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    attention = Attention(query_dim=8, heads=2, dim_head=4, **layer).eval()
    hidden_states = torch.randn(shape)
    prompt = repeat(told.prompt_embeds, (1, 1)) if "cross_attention_dim" in layer else None
    attention.set_processor(AttnProcessor2_0())
    plain = attention(hidden_states, prompt)
    attention.set_processor(KeepingAttention())
    token = heard.set(Rows([Share(told, 0, (1, 1))]))
    try:
        kept = [attention(hidden_states, prompt) for _ in range(2)]
    finally:
        heard.reset(token)
    assert torch.equal(kept[0], plain)
    assert torch.equal(kept[1], plain)
    assert len(told._made) == (layer == {"cross_attention_dim": 16})
