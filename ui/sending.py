"""A finished picture and its settings on their way to another tab."""

from typing import Any

import gradio as gr

from ui.fields import Fields
from ui.restoring import SHARED, fill
from ui.view import View


def bind_sending(tabs: gr.Tabs, views: dict[str, View]) -> None:
    """Lets every tab's buttons fill every other tab."""
    for source in views.values():
        for task, button in source.stage.send_to.items():
            target = views[task].fields
            button.click(
                make_sender(target),
                [source.stage.outcome, source.stage.selected],
                [tabs, *(target.components[name] for name in sent_fields(target))],
                queue=False,
                show_progress="hidden",
                api_visibility="private",
            )


def sent_fields(target: Fields) -> list[str]:
    """The fields of another tab that a picture and its settings fill."""
    return [name for name in (*SHARED, "image") if name in target.components]


def make_sender(target: Fields) -> Any:
    """The handler that opens the tab of `target` with the outcome's settings and, where it takes one, the picture."""
    names = sent_fields(target)

    def send(outcome: dict[str, Any] | None, selected: int) -> list[Any]:
        if (
            outcome is None
        ):  # the buttons are hidden until there is a picture, but nothing else keeps a caller from them
            return [gr.skip()] * (1 + len(names))
        settings = {**outcome["request"], "seed": outcome["seeds"][selected], "num_images_per_prompt": 1}
        values = dict(zip(names, fill(target, names, settings, is_own=False), strict=True))
        if "image" in values:
            values["image"] = outcome["files"][selected]
        return [gr.Tabs(selected=target.task), *values.values()]

    return send
