"""LoRAs on shared modules: injected once, switched per request, base weights never touched."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig
from peft.tuners import lora
from torch import nn

from pipelines.components.device import name_of_dtype
from pipelines.components.expert import Expert
from pipelines.components.lora_file import ADAPTED, LoraLayer, read_lora
from pipelines.schema.models import AddOn
from pipelines.schema.status import LoadedComponent

MAX_BYTES = 2 * 2**30
CONFIG = LoraConfig(init_lora_weights=False, inference_mode=True)
"""peft's layers as they are; rank and alpha are each layer's own."""

Refresh = Callable[[nn.Module], None]
"""Called with a module when layers were put into it or taken out, so that the memory mode's hooks follow."""
Weights = tuple[tuple[str, float], ...]
"""Adapters in the order in which they are added, each with its weight."""


class Adapters:
    """Puts LoRAs beside the layers of experts and says which of them count. Used by the device's thread alone.

    Several stay beside the same layers, and a switch only names those that count: nothing is read, copied or fused.
    So diffusers' hot-swap, which overwrites one adapter with another, has nothing to do here.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, refresh: Refresh = lambda module: None) -> None:
        self.max_bytes = max_bytes
        self._refresh = refresh
        self._modules: dict[int, _AdaptedModule] = {}
        self._titles: OrderedDict[str, str] = OrderedDict()
        self._loaded: tuple[LoadedComponent, ...] = ()

    def switch_to(self, expert: Expert, loras: Sequence[tuple[AddOn, float]], fetch: Callable[[AddOn], Path]) -> None:
        """Makes exactly these LoRAs count in the expert's modules, reading those that are new. Raises `ModelError`.

        After an error the modules compute as before the call. A LoRA of weight 0 is as good as none.
        """
        weights: dict[str, float] = {}
        entries: dict[str, AddOn] = {}
        for entry, weight in loras:
            name = _name_of(entry)
            entries[name] = entry
            weights[name] = weights.get(name, 0.0) + weight
        wanted = tuple((name, weight) for name, weight in weights.items() if weight != 0)
        parts = self._parts_of(expert, create=bool(wanted))
        if all(part.active == wanted for part in parts.values()):
            return
        for name, _ in wanted:
            self._load(name, entries[name], parts, expert, fetch)
        for part in parts.values():
            part.activate(wanted)
        self._drop_unused()

    def clear(self) -> None:
        """Takes every LoRA out again: the modules consist of the same objects as before the first one."""
        modules = [part.module for part in self._modules.values() if part.adapters]
        self.forget(modules)
        for module in modules:
            self._refresh(module)

    def forget(self, modules: Iterable[nn.Module]) -> None:
        """Takes the LoRAs out of modules that are about to go, and keeps no reference to them."""
        for module in modules:
            part = self._modules.pop(id(module), None)
            if part is not None:
                part.clear()
        self._note()

    def loaded(self) -> tuple[LoadedComponent, ...]:
        """The LoRAs in memory, used or not. May be asked by any thread."""
        return self._loaded

    def _parts_of(self, expert: Expert, create: bool) -> dict[str, "_AdaptedModule"]:
        parts: dict[str, _AdaptedModule] = {}
        for name, module in expert.modules.items():
            if name not in ADAPTED:
                continue
            if create and id(module) not in self._modules:
                self._modules[id(module)] = _AdaptedModule(module)
            if id(module) in self._modules:
                parts[name] = self._modules[id(module)]
        return parts

    def _load(
        self,
        name: str,
        entry: AddOn,
        parts: dict[str, "_AdaptedModule"],
        expert: Expert,
        fetch: Callable[[AddOn], Path],
    ) -> None:
        self._titles[name] = entry.title
        self._titles.move_to_end(name)
        missing = {component: part for component, part in parts.items() if name not in part.adapters}
        if not missing:
            return
        try:
            layers = read_lora(fetch(entry), expert)
            for component, part in missing.items():
                if part.add(name, layers[component]):
                    self._refresh(part.module)
        except BaseException:
            self._remove(name, missing.values())
            raise
        finally:
            self._note()

    def _drop_unused(self) -> None:
        """Takes out LoRAs that no module counts, the least recently wanted first, until the rest fits."""
        active = {name for part in self._modules.values() for name, _ in part.active}
        for name in list(self._titles):
            if sum(part.component_bytes for part in self._loaded) <= self.max_bytes:
                return
            if name not in active:
                self._remove(name, self._modules.values())
                self._note()

    def _remove(self, name: str, parts: Iterable["_AdaptedModule"]) -> None:
        """Out of all modules first: the memory's hooks may fail, the layers must not stay half changed."""
        changed = [part.module for part in parts if part.remove(name)]
        for module in changed:
            self._refresh(module)

    def _note(self) -> None:
        """Brings the list of what is loaded up to date."""
        loaded: list[LoadedComponent] = []
        for name, title in list(self._titles.items()):
            tensors = [tensor for part in self._modules.values() for tensor in part.tensors(name)]
            if tensors:
                size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
                dtype = name_of_dtype(tensors[0].dtype)
                loaded.append(LoadedComponent("lora", title, size, str(tensors[0].device), dtype))
            else:
                del self._titles[name]
        self._loaded = tuple(loaded)


class _AdaptedModule:
    """One module, the layers of it that carry adapters, and the adapters that count."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.adapters: set[str] = set()
        self.active: Weights = ()
        self._layers: dict[str, lora.LoraLayer] = {}

    def add(self, name: str, layers: dict[str, LoraLayer]) -> bool:
        """Injects an adapter that does not count yet; True where layers changed.

        `remove` mends what an error leaves half done.
        """
        self.adapters.add(name)
        with torch.inference_mode(False), torch.no_grad():  # so that offloading may move the tensors later
            for path, layer in layers.items():
                self._inject(name, path, layer)
        self.activate(self.active)
        return bool(layers)

    def remove(self, name: str) -> bool:
        """Takes one adapter out, a layer left without any being the plain layer again; True where layers changed."""
        self.adapters.discard(name)
        self.activate(tuple(pair for pair in self.active if pair[0] != name))
        carrying = [path for path, layer in self._layers.items() if name in layer.r]
        for path in carrying:
            layer = self._layers[path]
            layer.delete_adapter(name)
            if not layer.r:
                self.module.set_submodule(path, layer.get_base_layer())
                del self._layers[path]
        return bool(carrying)

    def clear(self) -> None:
        """Takes every adapter out."""
        for name in list(self.adapters):
            self.remove(name)

    def activate(self, wanted: Weights) -> None:
        """Makes exactly these adapters count: a millisecond at SDXL's size.

        peft's `set_adapter` would take forty, to clear flags for gradients that were never set.
        """
        self.active = wanted
        names = [name for name, _ in wanted]
        for layer in self._layers.values():
            layer._active_adapter = names
            for name, weight in wanted:
                layer.set_scale(name, weight)

    def tensors(self, name: str) -> list[torch.Tensor]:
        """The weights of one adapter."""
        sides = [side for layer in self._layers.values() for side in (layer.lora_A, layer.lora_B)]
        return [cast(torch.Tensor, side[name].weight) for side in sides if name in side]

    def _inject(self, name: str, path: str, layer: LoraLayer) -> None:
        alpha = cast(int, layer.alpha)  # peft computes with any number
        with torch.device("meta"):  # peft makes empty weights first; here they cost nothing
            carrier = self._layers.get(path)
            if carrier is None:
                base = self.module.get_submodule(path)
                carry = lora.Linear if isinstance(base, nn.Linear) else lora.Conv2d
                carrier = carry(base, name, config=CONFIG, r=layer.rank, lora_alpha=alpha).train(base.training)
                self.module.set_submodule(path, carrier)
                self._layers[path] = carrier
            else:
                carrier.update_layer(name, layer.rank, lora_alpha=alpha, config=CONFIG)
        home = carrier.weight.device
        carrier.lora_A[name].weight = nn.Parameter(layer.down.to(home), requires_grad=False)
        carrier.lora_B[name].weight = nn.Parameter(layer.up.to(home), requires_grad=False)


def _name_of(entry: AddOn) -> str:
    """A name fit for a module's key, the same for the same file."""
    return hashlib.sha256(f"{entry.source}\n{entry.revision}\n{entry.file}\n{entry.stamp}".encode()).hexdigest()[:16]
