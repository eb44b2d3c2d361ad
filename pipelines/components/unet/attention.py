"""Attention whose keys and values of the prompt are taken from what the call is told."""

import inspect
from contextvars import ContextVar
from typing import Any, cast

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn

from pipelines.components.unet.told import Rows

heard: ContextVar[Rows | None] = ContextVar("heard", default=None)
"""What the call under way in this thread is told; `None` in one that is made as diffusers makes it."""


class KeepingAttention(AttnProcessor2_0):
    """diffusers' processor, with the projections of the prompt made once for each run."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """(rows, positions, channels) of what attends, as those positions are changed by it."""
        rows = heard.get()
        if rows is None or attention_mask is not None or not is_plain(attn):
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        if encoder_hidden_states is None:
            key, value = project(attn, hidden_states)
        else:
            key, value = rows.make(attn, lambda told: project(attn, told.prompt_embeds))
        query, key, value = (split_heads(attn, states) for states in (attn.to_q(hidden_states), key, value))
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=0.0, is_causal=False)
        attended = attended.transpose(1, 2).flatten(2).to(query.dtype)
        for layer in cast(nn.ModuleList, attn.to_out):
            attended = layer(attended)
        if attn.residual_connection:
            attended = attended + hidden_states
        return attended if attn.rescale_output_factor == 1 else attended / attn.rescale_output_factor


# diffusers asks for the signature in each of 140 calls a step; one that is there is not made again.
KeepingAttention.__call__.__signature__ = inspect.signature(KeepingAttention.__call__)  # type: ignore[attr-defined]


def is_plain(attn: Attention) -> bool:
    """Whether the layer consists of projections alone, as in SDXL's transformer blocks."""
    norms = attn.group_norm, attn.spatial_norm, attn.norm_cross, attn.norm_q, attn.norm_k
    return all(norm is None for norm in norms)


def project(attn: Attention, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of what is attended to, each (rows, positions, channels)."""
    to_k, to_v = cast(nn.Module, attn.to_k), cast(nn.Module, attn.to_v)
    return to_k(states), to_v(states)


def split_heads(attn: Attention, states: torch.Tensor) -> torch.Tensor:
    """(rows, positions, channels) as (rows, heads, positions, channels of a head)."""
    return states.unflatten(2, (attn.heads, -1)).transpose(1, 2)
