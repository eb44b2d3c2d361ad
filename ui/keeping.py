"""The settings of each tab as they were left, kept in the visitor's browser alone, and back when the page opens again.

`keeping.js` writes what the inputs show into the browser's own storage, without a call to the server. Not Gradio's
`BrowserState`: that holds one value for as long as a page is open, so two pages would overwrite each other's presets.
"""

import json

import gradio as gr

from ui.asking import bind_asking
from ui.filling import kept_names
from ui.i18n import load_words
from ui.recipes import bind_links
from ui.view import View

SPOKEN = ("undo", "close", "no_room", "no_answer", "not_kept")
"""What the browser says by itself."""


def bind_keeping(tabs: gr.Tabs, titles: dict[str, gr.Tab], views: dict[str, View], app: gr.Blocks) -> gr.Button:
    """Keeps what the tabs show, and fills them when the page opens.

    Returns the button that `keeping.js` presses when that is done: what follows the model is then to be looked up.
    """
    with gr.Row(elem_classes=["wires"]):
        told, answer = gr.Textbox(visible=False), gr.JSON(visible=False)
        link, opened = (gr.Button(elem_id=f"wire-{name}") for name in ("link", "opened"))
        keep = {task: gr.Button(elem_id=f"wire-keep-{task}") for task in views}
        ask = {task: gr.Button(elem_id=f"wire-ask-{task}") for task in views}
        fill = {task: gr.Button(elem_id=f"wire-fill-{task}") for task in views}
    for task, view in views.items():
        names = kept_names(view.fields)
        keep[task].click(
            None, [view.fields.components[name] for name in names],
            js=f"(...values) => window.studio.keep('{task}', {json.dumps(names)}, values)", trigger_mode="multiple",
            api_visibility="private",
        )  # fmt: skip
    for task, title in titles.items():
        title.select(None, js=f"() => window.studio.keepTab('{task}')", api_visibility="private")
    for task, view in views.items():
        bind_asking(view.fields, ask[task], fill[task], told, answer, tabs)
    bind_links(views, link, told, answer)
    app.load(None, js="() => window.studio.begin()", api_visibility="private")
    return opened


def spoken_words() -> str:
    """What the browser says by itself, in each language, as a script for the head of the page."""
    words = {language: {name: table[f"presets.{name}"] for name in SPOKEN} for language, table in load_words().items()}
    return f"<script>window.studio = {{ ...window.studio, spoken: {json.dumps(words, ensure_ascii=False)} }};</script>"
