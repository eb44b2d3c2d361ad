"""The common graphs of ComfyUI in our words: one sampler, or two that share a schedule, and what they are fed with.

We walk the graph ourselves: sd-parsers finds prompts and samplers, but no LoRAs, sizes, strength or second expert; it
needs the editor's workflow beside the graph and follows links by recursion.
"""

import re
from typing import Any

from pipelines.media.readers.comfyui_text import Text, TextReader
from pipelines.media.readers.graph import Graph, Node
from pipelines.media.readers.restored import Claims, Restored, plain_name
from pipelines.media.readers.sampling import find_sampling

SOURCE = "ComfyUI"
CUSTOM = ("SamplerCustom", "SamplerCustomAdvanced")
"""Samplers whose settings stand in nodes of their own."""
MAX_PASSES = 20
MAX_STEP = 10_000
"""The editor's own limit; an `end_at_step` of as much means the end."""
LOADERS = ("ckpt_name", "unet_name", "model_name")
"""The inputs that name a file of a whole model."""
ENCODED = ("VAEEncode", "VAEEncodeTiled", "VAEEncodeForInpaint", "InpaintModelConditioning")
MASKED = ("VAEEncodeForInpaint", "InpaintModelConditioning", "SetLatentNoiseMask")
SCHEDULES = {
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "BetaSamplingScheduler": "beta",
    "AlignYourStepsScheduler": "ays",
    "SDTurboScheduler": "turbo",
}
"""Nodes that are a schedule by themselves."""


def read_graph(data: dict[Any, Any]) -> Restored:
    """What the graph draws, in the words of the request of its task."""
    return _Reader(Graph(data)).read()


class _Reader:
    """One walk through a graph: what was claimed so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.claims = Claims()
        self.texts = TextReader(graph, self.claims)

    def read(self) -> Restored:
        samplers = self._find_samplers()
        if not samplers:
            self.claims.miss("no sampler of the common kinds in this graph")
            return self.claims.judge(SOURCE, "text_to_image")
        last, first = samplers[0], samplers[-1]
        settings = self._read_settings(first)
        if len(samplers) == 2 and _shares_schedule(settings, self._read_settings(last)):
            self._read_second_expert(first, last, settings)
        else:
            for node in samplers[:-1]:
                self.claims.miss(_describe_pass(node, self._read_settings(node)))
        self._claim_settings(settings)
        self._claim_sampling(settings)
        task = self._read_latents(first, settings)
        self._read_model(first)
        self._read_prompts(first)
        self._read_vae(last)
        return self.claims.judge(SOURCE, task)

    # Which samplers

    def _find_samplers(self) -> list[Node]:
        """The sampler that a saved picture comes from, and those whose latents it goes on with, back to the first."""
        starts = self.graph.ends()
        chain: list[Node] = []
        while starts and len(chain) < MAX_PASSES:
            found = next((node for node in self.graph.upstream(*starts) if _is_sampler(node)), None)
            if found is None or found in chain:
                break
            chain.append(found)
            start = self.graph.follow(found, "latent_image", "latent")
            starts = [start] if start else []
        return chain

    # What a sampler says

    def _read_settings(self, node: Node) -> dict[str, Any]:
        """A sampler's settings under the names of `KSampler`, from whichever nodes they stand in."""
        inputs = {name: self._value(node, name) for name in node.inputs}
        if node.kind not in CUSTOM:
            return inputs | ({"seed": inputs["noise_seed"]} if "noise_seed" in inputs else {})
        settings = {"seed": inputs.get("noise_seed"), "cfg": inputs.get("cfg")}
        if noise := self.graph.follow(node, "noise"):
            settings["seed"] = self._value(noise, "noise_seed")
        if guider := self.graph.follow(node, "guider"):
            settings["cfg"] = self._value(guider, "cfg") if "cfg" in guider.inputs else 1.0
        if sampler := self.graph.follow(node, "sampler"):
            settings["sampler_name"] = self._value(sampler, "sampler_name") or sampler.kind
        if sigmas := self.graph.follow(node, "sigmas"):
            schedule = SCHEDULES.get(sigmas.kind) or self._value(sigmas, "scheduler") or sigmas.kind
            settings["scheduler"] = schedule
            settings |= {name: self._value(sigmas, name) for name in ("steps", "denoise") if name in sigmas.inputs}
        return settings

    def _value(self, node: Node, name: str) -> Any:
        """An input's value, or that of the node which it comes from: a seed, a number."""
        value = node.inputs.get(name)
        if node.link(name) is None:
            return value
        source = self.graph.follow(node, name)
        names = (name, "seed", "noise_seed", "value", "int", "float", "number", "Value", "Number")
        found = next((source.inputs[key] for key in names if key in source.inputs), None) if source else None
        return None if isinstance(found, list | dict) else found

    def _claim_settings(self, settings: dict[str, Any]) -> None:
        for key, field in (("seed", "seed"), ("steps", "num_inference_steps"), ("cfg", "guidance_scale")):
            if settings.get(key) is not None:
                self.claims.claim(f"{key}: {settings[key]}", **{field: settings[key]})

    def _claim_sampling(self, settings: dict[str, Any]) -> None:
        sampler, schedule = str(settings.get("sampler_name") or ""), str(settings.get("scheduler") or "normal")
        found = find_sampling(sampler, schedule)
        if found is None:
            self.claims.miss(f"sampler_name: {sampler}")
        else:
            self.claims.claim(f"sampler_name: {sampler}", **found.values)
        if not (found and found.obeyed):
            self.claims.miss(f"scheduler: {schedule}")

    def _read_second_expert(self, first: Node, second: Node, settings: dict[str, Any]) -> None:
        """Two samplers on one schedule: the base, and the refiner from its last step on. One model twice is one run."""
        name, steps, end = self._find_file(second), settings["steps"], settings["end_at_step"]
        if name is None or name == self._find_file(first):
            return
        self.claims.claim(f"refiner: {name}", refiner=plain_name(name))
        self.claims.claim(f"end_at_step: {end} of {steps}", denoising_end=round(end / steps, 4))
        self._read_scores(second)

    def _read_scores(self, sampler: Node) -> None:
        for role, field in (("positive", "aesthetic_score"), ("negative", "negative_aesthetic_score")):
            for node in self.texts.encoders(sampler, role):
                if "ascore" in node.inputs and node.link("ascore") is None:
                    self.claims.claim(f"ascore: {node.inputs['ascore']}", **{field: node.inputs["ascore"]})

    # What it starts from

    def _read_latents(self, sampler: Node, settings: dict[str, Any]) -> str:
        """The size, or the strength over a picture; gives back the task."""
        start = self.graph.follow(sampler, "latent_image", "latent")
        before = list(self.graph.upstream(start)) if start else []
        picture = next((node for node in before if node.kind in ENCODED), None)
        if picture is None:
            empty = next((node for node in before if {"width", "height"} <= set(node.inputs)), None)
            if empty is not None:
                self._claim_size(empty)
            if settings.get("denoise") not in (None, 1, 1.0):
                self.claims.miss(f"denoise: {settings['denoise']}")
            return "text_to_image"
        for node in before:
            if node.kind.startswith("LoadImage"):
                self.claims.miss(f"{node.kind}: {node.inputs.get('image')}")
        denoise, steps, start_at = settings.get("denoise"), _as_step(settings, "steps"), settings.get("start_at_step")
        if denoise is None and start_at is not None:
            first = _as_step(settings, "start_at_step")
            if steps and first is not None:
                denoise = 1 - first / steps
            else:
                self.claims.miss(f"start_at_step: {start_at}")
        if denoise is not None:
            self.claims.claim(f"denoise: {denoise}", strength=denoise)
        return "inpaint" if any(node.kind in MASKED for node in before) else "image_to_image"

    def _claim_size(self, node: Node) -> None:
        """Width, height and how many pictures are drawn at once."""
        width, height = self._value(node, "width"), self._value(node, "height")
        self.claims.claim(f"{node.kind}: {width}x{height}", width=width, height=height)
        if (count := self._value(node, "batch_size")) is not None:
            self.claims.claim(f"batch_size: {count}", num_images_per_prompt=count)

    # What it draws with

    def _read_model(self, sampler: Node) -> None:
        """The checkpoint, and what stands between it and the sampler."""
        loras: list[tuple[str, str, Any]] = []
        for node in self._model_chain(sampler):
            name = next((node.inputs[key] for key in LOADERS if isinstance(node.inputs.get(key), str)), None)
            if name is not None:
                self.claims.claim(f"{node.kind}: {name}", model=plain_name(name))
            elif node.kind == "RescaleCFG":
                multiplier = self._value(node, "multiplier")
                self.claims.claim(f"RescaleCFG: {multiplier}", guidance_rescale=multiplier)
            elif found := _read_loras(node):
                loras = [*found, *loras]
            elif not node.kind.startswith("Reroute"):
                self.claims.miss(f"{node.kind}: {_describe_inputs(node)}")
        for said, name, weight in loras:
            self.claims.claim_lora(said, name, weight)

    def _model_chain(self, sampler: Node) -> list[Node]:
        """The nodes from the sampler back to the checkpoint."""
        start = self.graph.follow(sampler, "guider") if sampler.link("guider") else sampler
        return self.graph.chain(start, "model", "model1") if start else []

    def _find_file(self, sampler: Node) -> str | None:
        names = (node.inputs.get(key) for node in self._model_chain(sampler) for key in LOADERS)
        return next((name for name in names if isinstance(name, str)), None)

    def _read_prompts(self, sampler: Node) -> None:
        start = self.graph.follow(sampler, "guider") if sampler.link("guider") else sampler
        if start is None:
            return
        positive, negative = self.texts.read(start, "positive"), self.texts.read(start, "negative")
        self._claim_text(positive, "")
        self._claim_text(negative, "negative_")
        for node in self.texts.clips(start):
            if node.kind == "CLIPSetLastLayer":
                layer = self._value(node, "stop_at_clip_layer")
                counted = -layer - 2 if isinstance(layer, int) else layer  # SDXL itself stops at the last but one
                self.claims.claim(f"stop_at_clip_layer: {layer}", clip_skip=counted)

    def _claim_text(self, text: Text, prefix: str) -> None:
        """A prompt, the second encoder's where it is another, and SDXL's sizes where they are not the picture's."""
        if text.first is not None:
            self.claims.claim(f"{prefix}prompt", **{f"{prefix}prompt": text.first})
        if text.second is not None and text.second != text.first:
            self.claims.claim(f"{prefix}prompt_2", **{f"{prefix}prompt_2": text.second})
        size = (self.claims.values.get("height"), self.claims.values.get("width"))
        for name, pair in text.sizes.items():
            field = f"{prefix}{name}"
            usual = (0, 0) if name == "crops_coords_top_left" else size
            if prefix:
                usual = self.claims.values.get(name, usual)
            if list(pair) != list(usual):
                self.claims.claim(f"{field}: {pair[0]}, {pair[1]}", **{field: list(pair)})

    def _read_vae(self, last: Node) -> None:
        """The VAE that decodes the last sampler's latents, where it is not the checkpoint's."""
        for node in self.graph.nodes.values():
            if node.kind.startswith("VAEDecode") and (link := node.link("samples")) and link.node == last.id:
                loader = self.graph.follow(node, "vae")
                if loader is not None and isinstance(loader.inputs.get("vae_name"), str):
                    name = loader.inputs["vae_name"]
                    self.claims.claim(f"{loader.kind}: {name}", vae=plain_name(name))
                return


def _is_sampler(node: Node) -> bool:
    return node.kind in CUSTOM or (node.kind.startswith("KSampler") and {"steps", "cfg"} <= set(node.inputs))


def _shares_schedule(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether the second sampler goes on at the step where the first left off."""
    steps, end = _as_step(first, "steps"), _as_step(first, "end_at_step")
    is_cut = steps is not None and end is not None and 0 < end < steps
    return is_cut and _as_step(second, "start_at_step") == end


def _as_step(settings: dict[str, Any], name: str) -> int | None:
    """A number of steps; `None` for what the editor would not take for one: true, a number of hundreds of digits."""
    value = settings.get(name)
    return value if type(value) is int and 0 <= value <= MAX_STEP else None


def _read_loras(node: Node) -> list[tuple[str, str, Any]]:
    """(words, name, weight) of a LoRA loader: ComfyUI's own, or one that holds several."""
    name = node.inputs.get("lora_name")
    if isinstance(name, str):
        weight = node.inputs.get("strength_model", 1.0)
        clip = node.inputs.get("strength_clip", weight)
        more = "" if clip == weight else f", text encoders: {clip}"
        return [(f"{node.kind}: {name}, {weight}{more}", plain_name(name), weight)]
    rows = [value for key, value in node.inputs.items() if re.fullmatch(r"lora_\d{1,3}", key, re.IGNORECASE)]
    used = [row for row in rows if isinstance(row, dict) and row.get("on", True) and isinstance(row.get("lora"), str)]
    return [
        (f"LoRA {row['lora']}: {row.get('strength')}", plain_name(row["lora"]), row.get("strength")) for row in used
    ]


def _describe_pass(node: Node, settings: dict[str, Any]) -> str:
    words = (f"{key} {settings[key]}" for key in ("steps", "cfg", "denoise") if settings.get(key) is not None)
    return f"another pass with {node.kind}: {', '.join(words)}"


def _describe_inputs(node: Node) -> str:
    values = (f"{key} {value}" for key, value in node.inputs.items() if not isinstance(value, list | dict))
    return ", ".join(values)
