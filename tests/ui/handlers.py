"""What a drawn part of the page calls."""

from typing import Any

from gradio.blocks import Block, BlockFunction


def find_page(part: Block) -> Any:
    """The `gr.Blocks` that a part was drawn in."""
    page: Any = part
    while page.parent is not None:
        page = page.parent
    return page


def find_handler(part: Block, event: str) -> BlockFunction:
    """The one function that an event of a part calls."""
    (function,) = [found for found in find_page(part).fns.values() if (part._id, event) in found.targets]
    return function
