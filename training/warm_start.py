"""Begin from a trained model: the base from an exported one with another vocabulary, the refiner from the base."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedTokenizerBase

from training.base import BaseModel
from training.config import TIME_ID_DIM

logger = logging.getLogger(__name__)

EMBEDDING = "token_embedding.weight"


@torch.no_grad()
def start_from(model: BaseModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Copy all weights of an exported model; embeddings go by token, and new tokens keep their random start.

    Raises:
        RuntimeError: the networks have other shapes.
    """
    model.unet.load_state_dict(UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32).state_dict())
    old_tokens = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    new_tokens = tokenizer.get_vocab()
    shared = [(new_tokens[token], row) for token, row in old_tokens.items() if token in new_tokens]
    new_rows, old_rows = (list(rows) for rows in zip(*shared, strict=True))
    for target, kind, name in (
        (model.text_encoder, CLIPTextModel, "text_encoder"),
        (model.text_encoder_2, CLIPTextModelWithProjection, "text_encoder_2"),
    ):
        source = kind.from_pretrained(folder / name, dtype=torch.float32).state_dict()
        weights = target.state_dict()
        for key, value in source.items():
            if key.endswith(EMBEDDING):
                weights[key][new_rows] = value[old_rows]
            else:
                weights[key] = value
        target.load_state_dict(weights)
    logger.info("base: started from %s, %d of %d tokens known", folder.name, len(shared), len(new_tokens))


@torch.no_grad()
def start_from_base(refiner: UNet2DConditionModel, base: UNet2DConditionModel, hidden_1: int) -> None:
    """Copy what refiner and base have in common: the blocks of equal width, which see the finest detail.

    Of layers that read the prompt, the columns of the second encoder, which come after `hidden_1` of the first; of the
    added embedding, those of the pooled text, the original size and the crop. Narrower blocks keep their random start.
    """
    source, weights = base.state_dict(), refiner.state_dict()
    copied = 0
    for name, weight in weights.items():
        value = source.get(name)
        if value is None:
            continue
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            value = value[:, hidden_1:]
        elif name == "add_embedding.linear_1.weight":
            shared = weight.shape[1] - TIME_ID_DIM
            weight[:, :shared] = value[:, :shared]
            continue
        if value.shape == weight.shape:
            weight.copy_(value)
            copied += weight.numel()
    refiner.load_state_dict(weights)
    total = sum(weight.numel() for weight in weights.values())
    logger.info("refiner: %.0f %% of its weights start as the base's", 100 * copied / total)
