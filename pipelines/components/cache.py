"""One copy of every component: loaded when first asked for, given to all tasks alike."""

import torch

from pipelines.components.expert import Expert
from pipelines.components.loading import Report, load_expert
from pipelines.schema.models import ModelEntry
from pipelines.schema.status import LoadedComponent

SHARED_WITH_REFINER = ("vae", "text_encoder_2", "tokenizer_2")


class ComponentCache:
    """Holds the experts of one model on one device. Only the device's thread asks it to load."""

    def __init__(self, model: ModelEntry, device: torch.device, dtype: torch.dtype) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self._experts: dict[str, Expert] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The experts that this model has."""
        return ("base", "refiner") if self.model.refiner else ("base",)

    def expert(self, name: str, report: Report) -> Expert:
        """The expert called `name`, "base" or "refiner"; the same object every time. Raises `ModelError`."""
        if name not in self._experts:
            self._experts[name] = self._load(name, report)
        return self._experts[name]

    def loaded(self) -> tuple[LoadedComponent, ...]:
        """What is in memory, each component once under the expert that brought it."""
        seen: set[int] = set()
        parts: list[LoadedComponent] = []
        for expert in list(self._experts.values()):
            for name, module in expert.modules.items():
                if id(module) not in seen:
                    seen.add(id(module))
                    parts.append(LoadedComponent(name, expert.name, _bytes_of(module)))
        return tuple(parts)

    def _load(self, name: str, report: Report) -> Expert:
        base = self.expert("base", report) if name != "base" else None
        shared = {part: getattr(base, part) for part in SHARED_WITH_REFINER} if base else {}
        return load_expert(self.model, name, self.device, self.dtype, shared, report)


def _bytes_of(module: torch.nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
