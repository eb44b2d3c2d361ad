"""Begin from an exported model: same networks, another vocabulary."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedTokenizerBase

from training.base import BaseModel

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
