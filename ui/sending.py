"""A finished picture and its settings on their way to another tab."""

from typing import Any

import gradio as gr

from ui.restoring import SHARED, as_input
from ui.view import View


def bind_sending(tabs: gr.Tabs, views: dict[str, View]) -> None:
    """Lets every tab's buttons fill every other tab."""
    for source in views.values():
        for task, button in source.stage.send_to.items():
            target = views[task].fields.components
            outputs = [target[name] for name in (*SHARED, "image") if name in target]
            button.click(
                make_sender(task, "image" in target),
                [source.stage.outcome, source.stage.selected],
                [tabs, *outputs],
                queue=False,
                show_progress="hidden",
                api_visibility="private",
            )


def make_sender(task: str, takes_picture: bool) -> Any:
    """The handler that opens the tab of `task` with the outcome's settings and, where it takes one, the picture."""

    def send(outcome: dict[str, Any] | None, selected: int) -> list[Any]:
        if (
            outcome is None
        ):  # the buttons are hidden until there is a picture, but nothing else keeps a caller from them
            return [gr.skip()] * (1 + len(SHARED) + takes_picture)
        settings = {**outcome["request"], "seed": outcome["seeds"][selected], "num_images_per_prompt": 1}
        values = [as_input(settings[name]) for name in SHARED]
        picture = [outcome["files"][selected]] if takes_picture else []
        return [gr.Tabs(selected=task), *values, *picture]

    return send
