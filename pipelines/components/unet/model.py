"""diffusers' SDXL UNet, which may be told things by rows whose projections it keeps."""

from contextvars import ContextVar
from functools import wraps
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from pipelines.components.unet.attention import KeepingAttention, heard
from pipelines.components.unet.told import Rows, Told

noted: ContextVar[list[torch.Tensor] | None] = ContextVar("noted", default=None)
"""Where the call under way in this thread notes its deep features; `None` where nobody wants them."""


class KeepingUNet(UNet2DConditionModel):
    """`UNet2DConditionModel`: called as it is, it computes as it does.

    Called with `rows` in place of prompts and sizes, it gives the same and keeps what does not change between steps.
    """

    @wraps(UNet2DConditionModel.__init__)  # whose parameters are those of a configuration
    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        self.identity = object()
        """Tells this UNet from others also after it is gone, when its address may be another's."""
        self.set_attn_processor(KeepingAttention())
        self.up_blocks[-1].register_forward_pre_hook(note_deep, with_kwargs=True)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: Any,
        *args: Any,
        rows: Rows | None = None,
        deep: torch.Tensor | None = None,
        gives_deep: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The prediction for `sample` (rows, channels, h/8, w/8); `timestep`: one, or one for each row.

        With `deep`, features that an earlier call gave, (rows, channels, h/8, w/8), only the outermost blocks are
        computed (DeepCache, arXiv:2312.00858, section 3.2). With `gives_deep` the result is prediction and features.
        """
        if rows is None:
            return super().forward(sample, timestep, *args, **kwargs)
        features: list[torch.Tensor] = []
        tokens = heard.set(rows), noted.set(features if gives_deep else None)
        try:
            if deep is not None:
                return self._redraw(sample, timestep, rows, deep)
            prediction = super().forward(sample, timestep, **rows.arguments, return_dict=False)[0]
        finally:
            heard.reset(tokens[0])
            noted.reset(tokens[1])
        return (prediction, features[0]) if gives_deep else prediction

    def get_aug_embed(
        self, emb: torch.Tensor, encoder_hidden_states: torch.Tensor, added_cond_kwargs: dict[str, Any]
    ) -> torch.Tensor | None:
        """The embedding of pooled prompt and sizes, (rows, channels)."""
        rows = heard.get()
        if rows is None:
            return super().get_aug_embed(emb, encoder_hidden_states, added_cond_kwargs)

        def embed(told: Told) -> tuple[torch.Tensor]:
            added = {"text_embeds": told.text_embeds, "time_ids": told.time_ids}
            return (super(KeepingUNet, self).get_aug_embed(emb, told.prompt_embeds, added),)  # type: ignore[return-value]

        return rows.make("added", embed)[0]

    def _redraw(self, sample: torch.Tensor, timestep: Any, rows: Rows, deep: torch.Tensor) -> torch.Tensor:
        """The outermost blocks around `deep`: diffusers' forward without what lies between."""
        arguments = rows.arguments
        emb = self.time_embedding(self.get_time_embed(sample, timestep))
        emb = emb + self.get_aug_embed(emb, **arguments)
        sample = self.conv_in(sample)
        first, last = self.down_blocks[0], self.up_blocks[-1]
        _, kept = first(sample, emb, **_for_block(first, arguments))
        kept = (sample, *kept)[: len(cast(nn.ModuleList, last.resnets))]  # without what goes on to the next block
        sample = last(deep, temb=emb, res_hidden_states_tuple=kept, **_for_block(last, arguments))
        return self.conv_out(cast(nn.Module, self.conv_act)(cast(nn.Module, self.conv_norm_out)(sample)))


def note_deep(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Notes what comes into the last block from below, where somebody wants it."""
    if (features := noted.get()) is not None:
        features.append(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0])


def _for_block(block: nn.Module, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a block with attention is told besides."""
    has_attention = getattr(block, "has_cross_attention", False)
    return {"encoder_hidden_states": arguments["encoder_hidden_states"]} if has_attention else {}
