"""Recipe links: the settings of a picture, or of a tab, behind the `#` of an address.

A browser leaves that part out when it asks for the page. `keeping.js` then sends it as a question, which is answered
and forgotten: it stands in no log of addresses.
"""

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from pipelines.schema.errors import InvalidRequest
from pipelines.schema.presets import MAX_FILE_CHARACTERS
from pipelines.schema.recipe import decode_recipe, encode_recipe
from ui.i18n import language_of, say
from ui.sending import settings_of
from ui.view import View

MAX_CHARACTERS = MAX_FILE_CHARACTERS + 1_000_000
"""A file of presets, and the JSON around it."""
HEAR = "(answer) => window.studio.hear(answer)"
"""Lets the browser act on an answer."""


def bind_links(views: dict[str, View], link: gr.Button, told: gr.Textbox, answer: gr.JSON) -> None:
    """Lets the button under each tab's pictures copy a link, and `keeping.js` ask which tab a link is for."""
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    asked = [
        view.copy_link.click(
            make_copier(task), [view.stage.outcome, view.stage.selected], answer, trigger_mode="multiple", **quiet
        )
        for task, view in views.items()
    ]
    question = "() => [window.studio.takeQuestion()]"
    asked.append(link.click(find_task, told, answer, js=question, trigger_mode="multiple", **quiet))
    for event in asked:
        event.then(None, answer, js=HEAR, api_visibility="private")


def make_copier(task: str) -> Any:
    """The handler that makes the link of the picture which is looked at."""

    def copy(client: gr.Request, outcome: dict[str, Any] | None, selected: int) -> dict[str, Any]:
        return make_link(task, settings_of(outcome, selected), language_of(client)) if outcome else {}

    return copy


def make_link(task: str, values: Mapping[str, Any], language: str) -> dict[str, Any]:
    """What the browser copies behind its own address, or the sentence that says why there is nothing."""
    try:
        text = encode_recipe(task, values)
    except InvalidRequest as error:
        return {"wrong": str(error)}
    return {"copy": text, "sentence": say("recipe.copied", language), "by_hand": say("recipe.by_hand", language)}


def find_task(text: Any) -> dict[str, Any]:
    """The tab that a link is for, or the sentence that says why there is none."""
    question = read_question(text)
    try:
        return {"id": question.get("id"), "task": decode_recipe(str(question.get("link"))).task}
    except InvalidRequest as error:
        return {"id": question.get("id"), "wrong": str(error)}


def read_question(text: Any) -> dict[str, Any]:
    """A question's JSON; an empty one for anything else."""
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        return {}
    try:
        question = json.loads(text)
        return mend_texts(question) if isinstance(question, dict) else {}
    except (ValueError, RecursionError):
        return {}


def mend_texts(values: dict[str, Any]) -> dict[str, Any]:
    """The same JSON with "?" for halves of characters, which browsers keep and no answer can hold."""
    text = json.dumps(values, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode(errors="replace"))
    return values
