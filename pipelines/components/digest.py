"""Whether two components are the same, whatever files they came from."""

import hashlib
import json
from typing import Any

import torch

NAMES_ONLY = ("transformers_version", "architectures", "dtype", "torch_dtype")
"""What a config says beside what the module computes."""


def digest_of(module: Any) -> str:
    """SHA-256 over a module's config and the names, shapes, precision and bytes of all its weights."""
    config = module.config if isinstance(module.config, dict) else module.config.to_dict()
    meaning = {key: value for key, value in config.items() if not key.startswith("_") and key not in NAMES_ONLY}
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
