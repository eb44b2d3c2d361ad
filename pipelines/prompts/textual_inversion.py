"""Textual inversions (arXiv:2208.01618): words that stand for learnt vectors, for the length of one encoding."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import AddedToken
from transformers import CLIPTokenizer

from pipelines.components.expert import Expert
from pipelines.components.kinds import MAX_EMBEDDING_VECTORS
from pipelines.prompts.inversion_names import FIRST_PLACEHOLDER, KEYS, name_placeholders, rewrite
from pipelines.schema.errors import ModelError


class Inversions:
    """Names that prompts may use, each with its vectors for one expert's text encoders.

    Nothing of the expert changes: copies of the tokenizers know one character more for each vector, and where such a
    character stands, hooks put the vector in place of what the embedding matrix says.
    """

    def __init__(self, expert: Expert, embeddings: Sequence[tuple[str, Path]]) -> None:
        """Reads (name, file) pairs. Raises `ModelError` for a file that is no SDXL textual inversion of this width."""
        self.key = tuple((name, path, *_written(path)) for name, path in embeddings)
        """What tells these from others, in a cache of encoded prompts: a file that is written anew is another one."""
        self._own_tokenizers = (expert.tokenizer, expert.tokenizer_2)
        self._encoders = (expert.text_encoder, expert.text_encoder_2)
        self._words: dict[str, str] = {}
        self._vectors: tuple[torch.Tensor, ...] = ()
        if not embeddings:
            return
        rows = {name: _read(path, self._encoders) for name, path in embeddings}
        self._words = name_placeholders({name: len(some[1]) for name, some in rows.items()})
        self._vectors = tuple(torch.cat(some) for some in zip(*rows.values(), strict=True))

    @cached_property
    def tokenizers(self) -> tuple[CLIPTokenizer | None, CLIPTokenizer]:
        """Those to read rewritten prompts with; of a refiner the first is `None`.

        Made when they are first asked for: a copy of SDXL's takes longer than finding a prompt in the cache.
        """
        first, second = self._own_tokenizers
        if not self._vectors:
            return first, second
        count = len(self._vectors[1])
        return None if first is None else extend(first, count), extend(second, count)

    def rewrite(self, prompt: str) -> str:
        """The prompt with every name, or `embedding:` and the name, replaced by its vectors' characters."""
        return rewrite(prompt, self._words)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the expert's text encoders read what `tokenizers` make of rewritten prompts."""
        with ExitStack() as stack:
            for encoder, tokenizer, vectors in zip(self._encoders, self.tokenizers, self._vectors, strict=False):
                if encoder is not None and tokenizer is not None:
                    stack.enter_context(_reading(encoder, len(tokenizer) - len(vectors), vectors))
            yield


def extend(tokenizer: CLIPTokenizer, count: int) -> CLIPTokenizer:
    """A copy that knows the first `count` placeholders as tokens; their ids follow on those of the vocabulary."""
    extended = copy.deepcopy(tokenizer)
    characters = map(chr, range(FIRST_PLACEHOLDER, FIRST_PLACEHOLDER + count))
    extended.add_tokens([AddedToken(character, normalized=False) for character in characters])  # pyright: ignore
    return extended


def _read(path: Path, encoders: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """(vectors, width) for each encoder, on the CPU; for an encoder that is not there they are not looked at."""
    try:
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            if keys != set(KEYS):
                found = ", ".join(sorted(keys)[:3]) or "nothing"
                raise ModelError(f"{path.name} is no SDXL textual inversion: it holds {found}, not clip_l and clip_g")
            rows = [file.get_tensor(key).float() for key in KEYS]
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} could not be read: it is no whole safetensors file") from error
    rows = [row.unsqueeze(0) if row.dim() == 1 else row for row in rows]
    for key, row, encoder in zip(KEYS, rows, encoders, strict=True):
        width = row.shape[-1] if encoder is None else encoder.config.hidden_size
        if row.dim() != 2 or row.shape[1] != width:
            rule = f"its {key} has the shape {tuple(row.shape)}, the text encoder is {width} wide"
            raise ModelError(f"{path.name} was made for another model: {rule}")
        if not 1 <= len(row) <= MAX_EMBEDDING_VECTORS:
            raise ModelError(f"{path.name} must have 1 to {MAX_EMBEDDING_VECTORS} vectors, its {key} has {len(row)}")
        if not row.isfinite().all():
            raise ModelError(f"{path.name}: tensor {key} holds NaN or infinity")
    if len(rows[0]) != len(rows[1]):
        raise ModelError(f"{path.name} must have as many vectors in clip_l as in clip_g")
    return rows[0], rows[1]


def _written(path: Path) -> tuple[int, int]:
    """When the file was last written, in nanoseconds, and its bytes."""
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path.name} could not be read: it is not there any more") from error
    return status.st_mtime_ns, status.st_size


@contextmanager
def _reading(encoder: Any, first_id: int, vectors: torch.Tensor) -> Iterator[None]:
    """Lets the encoder take ids from `first_id` on for rows of `vectors`.

    Such ids are hidden from the encoder itself: it looks for the end of the text by its id, in SDXL's first encoder by
    taking the highest one.
    """
    places: list[torch.Tensor] = []

    def hide(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = args[0] if args else kwargs["input_ids"]
        places[:] = [torch.where(ids >= first_id, ids - first_id, -1)]
        known = torch.where(ids >= first_id, 0, ids)
        return ((known, *args[1:]), kwargs) if args else (args, {**kwargs, "input_ids": known})

    def reveal(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        rows = places[0].to(output.device)
        chosen = vectors.to(output)[rows.clamp(min=0)]
        return torch.where(rows.unsqueeze(-1) >= 0, chosen, output)

    with ExitStack() as stack:
        stack.callback(encoder.register_forward_pre_hook(hide, with_kwargs=True).remove)
        stack.callback(encoder.get_input_embeddings().register_forward_hook(reveal).remove)
        yield
