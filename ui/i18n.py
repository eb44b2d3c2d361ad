"""The words of the interface, in each language that `ui/i18n/` holds a file for.

Gradio's browser side translates labels by key; sentences made on the server are translated here.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from pipelines.schema.requests import REQUESTS

FOLDER = Path(__file__).parent / "i18n"
ENGLISH = "en"
ALIASES = {"zh-CN": ("zh", "zh-TW", "zh-HK")}
"""Languages that read a file of another name: a browser looks for its own tag and then for that without the region."""


@cache
def load_words() -> dict[str, dict[str, str]]:
    """Every language's words by key. A field's English help is its description in the schema."""
    words = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}
    for task, request_class in REQUESTS.items():
        for name, field in request_class.model_fields.items():
            for table in words.values():
                own = table.get(f"help.{task}.{name}") or table.get(f"help.{name}")
                table[f"help.{task}.{name}"] = own or field.description or ""
    return words


def make_i18n() -> gr.I18n:
    """What `launch(i18n=...)` wants; the browser picks the visitor's language."""
    words = load_words()
    aliases = {alias: words[language] for language, others in ALIASES.items() for alias in others}
    return gr.I18n(**words, **aliases)


def word(key: str) -> I18nData:
    """A label that the browser translates; raises `KeyError` for a key that English does not have."""
    load_words()[ENGLISH][key]
    return I18nData(key)


def say(key: str, language: str, **values: Any) -> str:
    """A sentence for text that is made on the server."""
    return load_words()[language][key].format(**values)


def language_of(client: gr.Request | None) -> str:
    """The language of the visitor's page: as there, the first one wanted, or English where there is no file."""
    wanted = client.headers.get("accept-language", "") if client else ""
    first = wanted.split(",")[0].split(";")[0].strip().lower().split("-")[0]
    return next((language for language in load_words() if language.lower().split("-")[0] == first), ENGLISH)
