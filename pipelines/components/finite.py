"""Weights are numbers, or they are refused: one NaN makes every picture black."""

import torch

from pipelines.schema.errors import ModelError


def check_finite(module: torch.nn.Module, title: str) -> None:
    """Raises `ModelError` that begins with `title` and names the first weight that is NaN or infinite."""
    for name, weight in module.state_dict().items():
        if not is_finite(weight):
            raise ModelError(f"{title} is damaged: {name} holds NaN or infinity")


def is_finite(weight: torch.Tensor) -> bool:
    """Whether no number in it is NaN or infinite; True for integers and for what holds no number at all."""
    if not weight.is_floating_point() or not weight.numel():
        return True
    if weight.element_size() == 1:  # 8 bits know few operations
        weight = weight.to(torch.float32)
    low, high = torch.aminmax(weight)  # both are NaN where one number is; and no second tensor of this size is made
    return bool(torch.isfinite(low) & torch.isfinite(high))
