"""The prompts of a ComfyUI graph: from a sampler back through conditionings to the nodes that hold the words."""

from dataclasses import dataclass, field

from pipelines.media.readers.graph import MAX_STEPS, Graph, Link, Node
from pipelines.media.readers.restored import Claims

ENCODER_INPUTS = ("text", "text_g", "text_l")
CONDITIONINGS = ("positive", "negative", "conditioning", "conditioning_1", "conditioning1", "conditioning_to")
"""Inputs that a conditioning goes on through, whatever a node does to it."""
WORDS = ("text", "string", "value", "prompt", "Text", "String", "STRING", "populated_text", "wildcard_text", "text_0")
"""Inputs that hold the words of a node that makes a text."""
JOINED = (
    ("string_a", "string_b"),
    ("text_a", "text_b", "text_c", "text_d"),
    ("text1", "text2"),
    ("string1", "string2"),
)
"""Inputs of nodes that put texts one behind the other."""
SILENT = ("Reroute", "InpaintModelConditioning")
"""Nodes between a sampler and its words that change nothing that we would not do too."""
MAX_TEXT = 100_000
MAX_TEXTS = 100
"""Nodes that one prompt may be put together from."""


@dataclass(frozen=True)
class Text:
    """What one side of a sampler is told."""

    first: str | None = None
    """The words for CLIP ViT-L, `None` where they could not be found."""
    second: str | None = None
    """The words for OpenCLIP bigG, where a node says them."""
    sizes: dict[str, tuple[object, object]] = field(default_factory=dict)
    """`original_size`, `crops_coords_top_left` and `target_size`, the vertical number first."""


class TextReader:
    """Finds the words behind the inputs of samplers."""

    def __init__(self, graph: Graph, claims: Claims) -> None:
        self.graph = graph
        self.claims = claims
        self._steps = 0

    def read(self, sampler: Node, role: str) -> Text:
        """What a sampler's "positive" or "negative" says."""
        encoders = self.encoders(sampler, role)
        if not encoders:
            return Text("") if role == "negative" else Text()
        node = encoders[0]
        for other in encoders[1:]:
            if "text" in node.inputs and "text" in other.inputs and not node.inputs.keys() & {"text_g", "text_l"}:
                continue
            self.claims.miss(f"{role}: {other.kind} beside {node.kind}")
        if node.inputs.keys() & {"text_g", "text_l"}:
            return Text(self._words(node, "text_l", role), self._words(node, "text_g", role), _read_sizes(node))
        parts = [self._words(encoder, "text", role) for encoder in encoders if "text" in encoder.inputs]
        known = [part for part in parts if part is not None]
        return Text("\nBREAK\n".join(known) if known else None)  # ConditioningConcat is what A1111's BREAK does

    def encoders(self, sampler: Node, role: str) -> list[Node]:
        """The nodes that turn words into the conditioning of one side; several where they are concatenated."""
        found: list[Node] = []
        seen: set[str] = set()
        start = sampler.link(role) or (sampler.link("conditioning") if role == "positive" else None)
        waiting: list[Link] = [start] if start else []
        while waiting and len(seen) < MAX_STEPS:
            node = self.graph.nodes.get(waiting.pop(0).node)
            if node is None or node.id in seen:
                continue
            seen.add(node.id)
            if node.inputs.keys() & set(ENCODER_INPUTS):
                found.append(node)
            elif node.kind != "ConditioningZeroOut":
                waiting = self._pass_on(node, role) + waiting
        return found

    def clips(self, sampler: Node) -> list[Node]:
        """The nodes between the positive prompt's encoder and the checkpoint."""
        encoders = self.encoders(sampler, "positive")
        return self.graph.chain(encoders[0], "clip") if encoders else []

    def _pass_on(self, node: Node, role: str) -> list[Link]:
        """Where a conditioning comes from that a node changes; what it does is named, for we do not do it."""
        if node.kind == "ConditioningConcat":
            links = [node.link("conditioning_to"), node.link("conditioning_from")]
            return [link for link in links if link]
        if not node.kind.startswith(SILENT):
            self.claims.miss(f"{role}: {node.kind}")
        names = (role, *(name for name in CONDITIONINGS if name not in ("positive", "negative")))
        link = next((link for name in names if (link := node.link(name))), None) or next(node.links(), None)
        return [link] if link else []

    def _words(self, node: Node, name: str, role: str) -> str | None:
        """The text of an encoder's input; missed where no node that we know holds it."""
        self._steps = 0
        text = self._resolve(node, name)
        if text is None:
            source = self.graph.follow(node, name)
            self.claims.miss(f"{role} prompt: from {source.kind if source else 'nowhere'}")
        return text

    def _resolve(self, node: Node, name: str) -> str | None:
        value = node.inputs.get(name)
        if isinstance(value, str):
            return value[:MAX_TEXT]
        link = node.link(name)
        source = self.graph.nodes.get(link.node) if link else None
        self._steps += 1
        if source is None or link is None or self._steps > MAX_TEXTS:
            return None
        if {"text_positive", "text_negative"} <= set(source.inputs):  # a styler gives back both
            self.claims.miss(f"{source.kind}: {source.inputs.get('style')}")
            return self._resolve(source, "text_negative" if link.output else "text_positive")
        for names in JOINED:
            if set(names[:2]) <= set(source.inputs):
                return self._join(source, [part for part in names if part in source.inputs])
        return next((text for key in WORDS if (text := self._resolve(source, key)) is not None), None)

    def _join(self, node: Node, names: list[str]) -> str | None:
        parts = [self._resolve(node, name) for name in names]
        delimiter = node.inputs.get("delimiter", "")
        known = [part for part in parts if part]
        return (delimiter if isinstance(delimiter, str) else "").join(known)[:MAX_TEXT] if known else None


def _read_sizes(node: Node) -> dict[str, tuple[object, object]]:
    pairs = {
        "original_size": ("height", "width"),
        "crops_coords_top_left": ("crop_h", "crop_w"),
        "target_size": ("target_height", "target_width"),
    }
    return {
        name: (node.inputs[top], node.inputs[left])
        for name, (top, left) in pairs.items()
        if isinstance(node.inputs.get(top), int) and isinstance(node.inputs.get(left), int)
    }
