"""A finished picture and its settings on their way to another tab."""

from typing import Any

import gradio as gr

from ui.fields import Fields
from ui.restoring import SHARED
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
        if outcome is None:  # the buttons are hidden until there is a picture: nothing else keeps a caller from them
            return [gr.skip()] * (1 + len(names))
        values = settings_of(outcome, selected)
        shown = {name: target.write(name, values[name]) if name in values else gr.skip() for name in names}
        if "image" in shown:
            shown["image"] = outcome["files"][selected]
        return [gr.Tabs(selected=target.task), *shown.values()]

    return send


def settings_of(outcome: dict[str, Any], selected: int) -> dict[str, Any]:
    """The request that draws one picture of an outcome alone."""
    request = outcome["drawn"][selected] if outcome.get("drawn") else outcome["request"]
    return {**request, "seed": outcome["seeds"][selected], "num_images_per_prompt": 1}
