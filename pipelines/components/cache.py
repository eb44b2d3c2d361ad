"""One copy of every component: loaded when first asked for, shared by content, freed when nobody wants it."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipelines.components.adapters import Adapters
from pipelines.components.device import lay_out, name_of_dtype
from pipelines.components.digest import digest_of
from pipelines.components.expert import Expert
from pipelines.components.finite import is_finite
from pipelines.components.hub import fetch as fetch_from_hub
from pipelines.components.loading import CLASSES, Report, check_fit, load_part, read_index
from pipelines.components.memory import Memory, bytes_of
from pipelines.components.parts import parts_by_entry, plan_parts, stamp_of
from pipelines.components.single_file import CONFIGS
from pipelines.components.use import Identity, Use, origin
from pipelines.schema.errors import ModelError
from pipelines.schema.events import Loading
from pipelines.schema.models import Entry, Selection
from pipelines.schema.status import LoadedComponent

SHARED_BY_CONTENT = ("text_encoder", "text_encoder_2", "vae")
"""Parts that checkpoints often have alike. A UNet is what makes a checkpoint one of its own."""


@dataclass(eq=False)
class Component:
    """One part in memory."""

    part: str
    module: Any
    title: str
    dtype: torch.dtype
    component_bytes: int = 0
    digest: str | None = None
    found_as: set[Identity] = field(default_factory=set)
    """The files it was read from, and those whose content turned out to be the same."""
    wanted_by: set[Identity] = field(default_factory=set)
    """The uses that have asked for it."""


class ComponentCache:
    """The components of one device. Only the device's thread asks it to load.

    A part is kept by where it comes from, its revision and its dtype. What belongs to no selection in use is freed
    before a new UNet is loaded; with a budget the least recently used goes first, once the budget is exceeded.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        memory: Memory,
        budget_bytes: int = 0,
        fetch: Callable[[Entry, Sequence[str] | None, Report], Path] = fetch_from_hub,
        configs: Path = CONFIGS,
    ) -> None:
        self.device = device
        self.dtype = dtype
        self.memory = memory
        self.budget_bytes = budget_bytes
        self.adapters = Adapters(refresh=memory.refresh)
        self.in_use: Sequence[Use] = ()
        """What the jobs on the device are drawn with; never freed."""
        self.generation = 0
        """Grows whenever a text encoder is freed: embeddings of before are of no more use."""
        self.fetch = fetch
        self._configs = configs
        self._components: OrderedDict[int, Component] = OrderedDict()
        self._experts: dict[Identity, Expert] = {}
        self._latest: Use | None = None
        self._loaded: tuple[LoadedComponent, ...] = ()

    def expert(self, use: Use, name: str, report: Report) -> Expert:
        """The expert called `name`, "base" or "refiner"; the same object while nothing of it was freed.

        Raises `ModelError`.
        """
        if use.dtype == self.dtype:
            self._latest = use
        key = (name, use.identity)
        if key not in self._experts:
            self._experts[key] = self._load(use, name, report)
        for component in [part for part in self._components.values() if use.identity in part.wanted_by]:
            self._components.move_to_end(id(component))
        return self._experts[key]

    def vae(self, use: Use, report: Report) -> Any:
        """The VAE of a use alone, for another precision than that of the rest."""
        entry = use.selection.vae or use.selection.model
        component = self._find("vae", entry, self.fetch(entry, ["vae"], report), use)
        self._place([component], use)
        return component.module

    def holds(self, expert: Expert) -> bool:
        """Whether all of the expert is still what is in memory: damaged weights are dropped whoever uses them."""
        held = {id(component.module) for component in self._components.values()}
        return held.issuperset(map(id, expert.modules.values()))

    def use_adapters(self, expert: Expert, selection: Selection, report: Report) -> None:
        """Lets the selection's LoRAs act on the base from now on, on a refiner none; cheap when they do already."""
        loras = selection.loras if expert.name == "base" else ()
        self.adapters.switch_to(expert, loras, lambda add_on: self.fetch(add_on, None, report))

    def embedding_files(self, selection: Selection, report: Report) -> list[tuple[str, Path]]:
        """Name and file of each textual inversion that the selection's prompts mention."""
        return [(entry.name, self.fetch(entry, None, report)) for entry in selection.embeddings]

    def loaded(self) -> tuple[LoadedComponent, ...]:
        """What is in memory, each component once, as it was last noted. May be asked by any thread."""
        return (*self._loaded, *self.adapters.loaded())

    def note(self) -> None:
        """Looks where everything is now, for `loaded`: only the device's thread may walk through modules."""
        self._loaded = tuple(
            LoadedComponent(
                name=component.part,
                source=component.title,
                component_bytes=component.component_bytes,
                device=str(self.memory.where(component.module)),
                dtype=name_of_dtype(component.dtype),
            )
            for component in self._components.values()
            if isinstance(component.module, torch.nn.Module)
        )

    def trim(self, coming: Use | None = None, coming_bytes: int = 0) -> None:
        """Frees what neither `coming` (else what was drawn with last) nor a job on the device needs.

        All of it; or, with a budget, what was used longest ago until the budget is kept.
        """
        uses = {use.identity for use in (*self.in_use, coming or self._latest) if use}
        idle = [component for component in self._components.values() if not component.wanted_by & uses]
        for component in idle:
            total = coming_bytes + sum(other.component_bytes for other in self._components.values())
            if self.budget_bytes and total <= self.budget_bytes:
                break
            self._evict(component)
        if idle:
            self.memory.free()

    def drop_damaged(self) -> bool:
        """Frees every component whose weights are not finite, so that it is read anew; whether there was one."""
        modules = [part for part in self._components.values() if isinstance(part.module, torch.nn.Module)]
        damaged = [part for part in modules if not all(map(is_finite, part.module.state_dict().values()))]
        for component in damaged:
            self._evict(component)
        return bool(damaged)

    def clear(self) -> None:
        """Frees everything."""
        for component in list(self._components.values()):
            self._evict(component)
        self.memory.free()

    def _load(self, use: Use, name: str, report: Report) -> Expert:
        own = use.selection.entry(name)
        if own is None:
            raise ModelError(f"{use.selection.model.title} has no {name}")
        sources = plan_parts(use.selection, name)
        paths = self._fetch_all(sources, report)
        index = read_index(own, paths["unet"], self._configs)
        missing = [part for part in ("tokenizer_2", "text_encoder_2", "vae", "unet") if part not in index.parts]
        if missing:
            raise ModelError(
                f"{own.title} is no SDXL {own.kind} checkpoint: its model_index.json lists no {missing[0]}"
            )
        wanted = [part for part in CLASSES if part in index.parts and part in sources]
        found: dict[str, Component] = {}
        for position, part in enumerate(wanted):
            report(Loading(f"{own.title} · {part}", position / len(wanted)))
            if part == "unet":
                self.trim(use)  # what is shared has been found by now: the rest makes room for the largest part
            found[part] = self._find(part, sources[part], paths[part], use)
        self._place(list(found.values()), use)
        modules: dict[str, Any] = {part: found[part].module if part in found else None for part in CLASSES}
        check_fit(modules["unet"], modules["vae"], own)
        report(Loading(own.title, 1.0))
        return Expert(
            name=name,
            scheduler_config=index.scheduler_config,
            force_zeros_for_empty_prompt=index.force_zeros_for_empty_prompt,
            requires_aesthetics_score=index.requires_aesthetics_score,
            device=self.device,
            dtype=use.dtype,
            vae_dtype=found["vae"].dtype,
            **modules,
        )

    def _fetch_all(self, sources: dict[str, Entry], report: Report) -> dict[str, Path]:
        """Where each part lies on this disk; what has to be downloaded is."""
        paths = {entry.name: self.fetch(entry, parts, report) for entry, parts in parts_by_entry(sources)}
        return {part: paths[entry.name] for part, entry in sources.items()}

    def _find(self, part: str, entry: Entry, path: Path, use: Use) -> Component:
        """The part from memory, or read; where another checkpoint brought an equal one, that one."""
        identity = (part, use.dtype, *origin(entry), stamp_of(path, part))
        component = next((known for known in self._components.values() if identity in known.found_as), None)
        component = component or self._read(part, entry, path, use.dtype)
        component.found_as.add(identity)
        component.wanted_by.add(use.identity)
        return component

    def _read(self, part: str, entry: Entry, path: Path, dtype: torch.dtype) -> Component:
        module = load_part(part, entry, path, dtype, self._configs)
        if not isinstance(module, torch.nn.Module):
            return Component(part, module, entry.title, dtype)
        digest = digest_of(module) if part in SHARED_BY_CONTENT else None
        for known in self._components.values():
            if digest is not None and known.digest == digest:
                return known
        return Component(part, module, entry.title, next(module.parameters()).dtype, bytes_of(module), digest)

    def _place(self, components: list[Component], use: Use) -> None:
        """Brings what was read to the device, or wherever the memory mode keeps it."""
        new = [component for component in components if id(component) not in self._components]
        self.trim(use, sum(component.component_bytes for component in new))
        if any(component.part == "unet" for component in new):
            together = [*self._components.values(), *new]
            self.memory.choose(
                {f"{component.title} {component.part}": component.component_bytes for component in together}
            )
        for component in new:
            if isinstance(component.module, torch.nn.Module):
                if component.part == "vae":
                    lay_out(component.module, self.device)
                self.memory.place(component.part, component.module, component.dtype)
            self._components[id(component)] = component
        self.note()

    def _evict(self, component: Component) -> None:
        del self._components[id(component)]
        self._experts = {
            key: expert
            for key, expert in self._experts.items()
            if getattr(expert, component.part) is not component.module
        }
        if isinstance(component.module, torch.nn.Module):
            self.adapters.forget([component.module])
            self.memory.release(component.module)
        if component.part.startswith("text_encoder"):
            self.generation += 1
        self.note()
