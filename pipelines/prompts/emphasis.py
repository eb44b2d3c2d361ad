"""A1111's weights: each token's states times its weight, and the mean of the whole put back to what it was."""

from typing import Any

import torch
from compel.embeddings_provider import EmbeddingsProvider

from pipelines.prompts.chunking import CHUNK_LENGTH, Token, cut_at_commas
from pipelines.prompts.reading import Fragment, Section


def emphasize(states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`states`, (chunks, 77, width), with each token's times its weight, (chunks, 77), and each chunk's mean as before.

    A chunk whose weights are all 1 stays as it is to the bit.
    """
    exact = states.float()
    weighted = exact * weights.unsqueeze(-1)
    restored = weighted * (exact.mean((1, 2), keepdim=True) / weighted.mean((1, 2), keepdim=True))
    is_plain = (weights == 1).all(1)[:, None, None]
    return torch.where(is_plain, states, restored.to(states.dtype))


class EmphasisProvider(EmbeddingsProvider):
    """Stands in for compel's own provider, so that what compel blends and joins is chunked and weighted as in A1111."""

    tokenizer: Any

    def get_embeddings_for_weighted_prompt_fragments(
        self,
        text_batch: list[list[str]],
        fragment_weights_batch: list[list[float]],
        should_return_tokens: bool = False,
        device: str = "cpu",
    ) -> Any:
        """States of one section, (1, 77*k, width); with its ids, (1, 77*k), where they are asked for."""
        section = tuple(map(Fragment, text_batch[0], fragment_weights_batch[0]))
        ids, weights = self._lay_out(cut_at_commas(section, self.tokenizer))
        output = self.text_encoder(ids.to(device), output_hidden_states=True)
        states = emphasize(output.hidden_states[-2], weights.to(device)).flatten(0, 1).unsqueeze(0)
        return (states, ids.view(1, -1)) if should_return_tokens else states

    def pool(self, section: Section, device: str) -> torch.Tensor:
        """The pooled state of a section's first chunk, (1, projection), whatever its weights."""
        ids, _ = self._lay_out(cut_at_commas(section, self.tokenizer)[:1])
        return self.text_encoder(ids.to(device)).text_embeds

    def _lay_out(self, chunks: list[list[Token]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and weights of whole chunks, both (chunks, 77): a start, the tokens, an end, and padding."""
        tokenizer = self.tokenizer
        ids = torch.full((len(chunks), CHUNK_LENGTH), tokenizer.pad_token_id)
        weights = torch.ones(ids.shape)
        for row, chunk in enumerate(chunks):
            tokens = [tokenizer.bos_token_id, *(token for token, _ in chunk), tokenizer.eos_token_id]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            weights[row, 1 : len(chunk) + 1] = torch.tensor([weight for _, weight in chunk])
        return ids, weights
