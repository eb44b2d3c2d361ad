"""A ComfyUI graph as its API takes it: nodes by id, whose inputs are values or links to another node's output."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_NODES = 5000
MAX_STEPS = 500
"""How far a chain of nodes is followed."""
SAVING = (("SaveImage", "Image Save"), ("PreviewImage",))
"""How the kinds of nodes begin that a picture ends in; the first that are there count."""


@dataclass(frozen=True)
class Link:
    """An output of another node."""

    node: str
    output: int


@dataclass(frozen=True, eq=False)
class Node:
    """One node; `inputs` as in the file."""

    id: str
    kind: str
    inputs: dict[str, Any]

    def link(self, name: str) -> Link | None:
        """The node that an input comes from, where it comes from one."""
        return as_link(self.inputs.get(name))

    def links(self) -> Iterator[Link]:
        """Every node that this one takes something from."""
        yield from (link for value in self.inputs.values() if (link := as_link(value)))


def as_link(value: Any) -> Link | None:
    """`["4", 0]` as a link; `None` for any other value."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], int):
        return Link(str(value[0]), value[1])
    return None


class Graph:
    """The nodes of one file; whatever is not shaped as a node is left out."""

    def __init__(self, data: dict[Any, Any]) -> None:
        entries = list(data.items())[:MAX_NODES]
        self.nodes = {
            str(key): Node(str(key), entry["class_type"], entry["inputs"]) for key, entry in entries if _is_node(entry)
        }

    def follow(self, node: Node, *names: str) -> Node | None:
        """The node that the first of these inputs that is a link comes from."""
        return next((self.nodes.get(link.node) for name in names if (link := node.link(name))), None)

    def chain(self, start: Node, *names: str) -> list[Node]:
        """The nodes that one leads to by these inputs, the nearest first and without itself."""
        found: dict[str, Node] = {}
        node = self.follow(start, *names)
        while node is not None and node.id not in found and len(found) < MAX_STEPS:
            found[node.id] = node
            node = self.follow(node, *names)
        return list(found.values())

    def upstream(self, *starts: Node) -> Iterator[Node]:
        """The nodes and everything that they are made of, the nearest first."""
        seen = {start.id for start in starts}
        waiting = list(starts)
        for node in waiting:
            yield node
            for link in node.links():
                found = self.nodes.get(link.node)
                if found and found.id not in seen:
                    seen.add(found.id)
                    waiting.append(found)

    def ends(self) -> list[Node]:
        """The nodes that save or show a picture; where there are none, those that nothing else takes anything from."""
        for kinds in SAVING:
            if found := [node for node in self.nodes.values() if node.kind.startswith(kinds)]:
                return found
        used = {link.node for node in self.nodes.values() for link in node.links()}
        return [node for node in self.nodes.values() if node.id not in used]


def is_graph(data: Any) -> bool:
    """Whether decoded JSON is a graph as the API takes it."""
    return isinstance(data, dict) and any(_is_node(entry) for entry in list(data.values())[:MAX_NODES])


def _is_node(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and isinstance(entry.get("class_type"), str) and isinstance(entry.get("inputs"), dict)
    )
