"""What the browser asks about the settings of a tab: apply a preset, make one of them, read a file, begin again.

The browser keeps presets and last settings; nothing of them stays here. A question comes as JSON, `{"id": ..., "do":
...}`, together with what the inputs show, and its answer goes back under the same id.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipelines.schema.errors import InvalidRequest, PipelineError
from pipelines.schema.partial import check_values
from pipelines.schema.presets import Preset, read_preset, read_presets
from pipelines.schema.recipe import decode_recipe
from ui.choosing import TAKEN_OVER
from ui.fields import Fields
from ui.filling import Filled, default_values, fill, kept_names, read_shown, write_values
from ui.i18n import language_of, say
from ui.presets import TEXTS, PresetRefused, find_own, values_of
from ui.recipes import HEAR, make_link, mend_texts, read_question

Answer = dict[str, Any]
FOLLOWING = (*TAKEN_OVER, "refiner", "width", "height")
"""The fields that another model sets."""


@dataclass(frozen=True)
class Question:
    """What was asked, and what the tab showed then."""

    told: Mapping[str, Any]
    fields: Fields
    current: Mapping[str, Any]
    """What the inputs of `kept_names` show."""
    language: str

    def fill(self, shown: Mapping[str, Any]) -> Filled:
        """The tab's inputs with `shown` in them."""
        return fill(self.fields, shown, self.current, self.language)

    def say(self, key: str, **values: Any) -> str:
        """A sentence in the visitor's language."""
        return say(key, self.language, **values)

    def sign(self, answer: Answer) -> Answer:
        """The answer under the question's id."""
        return {"id": self.told.get("id"), **answer}

    def name_missing(self, missing: Sequence[str], wrong: Sequence[str]) -> list[str]:
        """Sentences about what this studio does not have, and about values that are wrong."""
        names = [self.say("presets.missing", names=", ".join(missing))] if missing else []
        return names + ([self.say("presets.left_out", reasons="; ".join(wrong))] if wrong else [])


def bind_asking(
    fields: Fields, ask: gr.Button, fill: gr.Button, told: gr.Textbox, answer: gr.JSON, tabs: gr.Tabs
) -> None:  # fmt: skip
    """Lets two hidden buttons of a tab, pressed by `keeping.js`, bring a question: one for an answer alone.

    The other fills the tab as well. Each takes its own outputs: Gradio would make every input anew that is skipped.
    """
    names = kept_names(fields)
    parts = [fields.components[name] for name in names]

    def read(client: gr.Request, told: Any, values: tuple[Any, ...]) -> Question:
        current = mend_texts(dict(zip(names, values, strict=True)))
        return Question(read_question(told), fields, current, language_of(client))

    def answer_question(client: gr.Request, told: Any, *values: Any) -> Answer:
        question = read(client, told, values)
        respond = ANSWERS.get(str(question.told.get("do")))
        try:
            return question.sign(respond(question) if respond else {})
        except PipelineError as error:
            return question.sign({"wrong": str(error)})

    def fill_tab(client: gr.Request, told: Any, *values: Any) -> list[Any]:
        question = read(client, told, values)
        respond = FILLINGS.get(str(question.told.get("do")))
        nothing = [gr.skip()] * (2 + len(names))
        if respond is None:
            return [question.sign({}), *nothing]
        try:
            answer, filled = respond(question)
        except PipelineError as error:
            return [question.sign({"wrong": str(error)}), *nothing]
        tab = gr.Tabs(selected=fields.task) if question.told.get("select") else gr.skip()
        updates = [filled.updates.get(name, gr.skip()) for name in names]
        before = {name: question.current[name] for name in filled.updates}
        return [question.sign({"before": before, **answer}), tab, filled.quality, *updates]

    quiet: dict[str, Any] = {
        "js": "(_, ...values) => [window.studio.takeQuestion(), ...values]", "preprocess": False, "queue": False,
        "trigger_mode": "multiple", "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    answered = ask.click(answer_question, [told, *parts], answer, **quiet)
    filled = fill.click(fill_tab, [told, *parts], [answer, tabs, fields.quality, *parts], **quiet)
    for event in (answered, filled):
        event.then(None, answer, js=HEAR, api_visibility="private")


def restore(fields: Fields, shown: Mapping[str, Any], language: str) -> Filled:
    """The inputs as they were left; what is wrong by now, or no longer there, is at its default.

    What was typed into a box is there again, right or wrong.
    """
    names = kept_names(fields)
    raw = {name: value for name, value in shown.items() if name in names}
    typed = {
        name: value
        for name, value in raw.items()
        if isinstance(fields.components[name], gr.Textbox) and isinstance(value, str)
    }
    chosen = {name: value for name, value in raw.items() if name not in typed}
    values = check_values(fields.request_class, read_shown(fields, chosen)).values
    model = fields.find_model(values.get("model"))
    defaults = write_values(fields, default_values(fields, model))
    return fill(fields, {**defaults, **write_values(fields, values), **typed}, defaults, language)


def restore_beside(fields: Fields, shown: Mapping[str, Any], model: Any, language: str) -> Filled:
    """The same below a model that was chosen already: where it is another one, what models set is at its default."""
    if shown.get("model") != model:
        shown = {name: value for name, value in shown.items() if name not in FOLLOWING}
    return restore(fields, {**shown, "model": model}, language)


# Answers


def _save(question: Question) -> Answer:
    """The settings as they stand, under a name, for the browser to keep."""
    values = read_shown(question.fields, question.current)
    if not question.told.get("with_texts", True):
        values = {name: value for name, value in values.items() if name not in TEXTS}
    checked = check_values(question.fields.request_class, values)
    if checked.wrong:
        raise checked.wrong[0]
    entry = {"name": question.told.get("name"), "tasks": [question.fields.task], "values": checked.values}
    preset, wrong = read_preset(entry)
    if preset is None:
        raise InvalidRequest("preset", wrong[0], question.told.get("name"))
    return {"preset": preset.as_json()}


def _import(question: Question) -> Answer:
    """The presets of a file, for the browser to keep."""
    presets, sentences = read_presets(str(question.told.get("text", "")))
    return {"presets": [preset.as_json() for preset in presets], "lines": sentences}


def _link(question: Question) -> Answer:
    return make_link(question.fields.task, read_shown(question.fields, question.current), question.language)


ANSWERS: dict[str, Callable[[Question], Answer]] = {"save": _save, "import": _import, "link": _link}


# Fillings


def _apply_own(question: Question) -> tuple[Answer, Filled]:
    """One of the studio's presets: all of it, or nothing."""
    preset = find_own(question.told.get("name"))
    if preset is None:
        raise InvalidRequest("preset", "must be one of this studio", question.told.get("name"))
    title = preset.title_in(question.language)
    filled = _fill_preset(question, preset)
    if filled.missing:
        raise PresetRefused(question.say("preset_needs.files", name=title, names=", ".join(filled.missing)))
    return {"sentence": question.say("presets.applied", name=title)}, filled


def _apply(question: Question) -> tuple[Answer, Filled]:
    """One of the visitor's presets: what this studio has of it, and the rest is named."""
    preset, wrong = read_preset(question.told.get("preset"))
    if preset is None:
        raise InvalidRequest("preset", wrong[0], question.told.get("preset"))
    filled = _fill_preset(question, preset)
    sentences = [question.say("presets.applied", name=preset.name)]
    return {"sentence": " ".join(sentences + question.name_missing(filled.missing, wrong))}, filled


def _fill_preset(question: Question, preset: Preset) -> Filled:
    values = values_of(preset, question.fields, question.current, question.language)
    return question.fill(write_values(question.fields, values))


def _begin_again(question: Question) -> tuple[Answer, Filled]:
    """Every setting at its default; the chosen model stays, for it is the whole page's."""
    model = question.fields.find_model(question.current.get("model"))
    values = default_values(question.fields, model)
    return {"sentence": question.say("presets.begun_again")}, question.fill(write_values(question.fields, values))


def _put_back(question: Question) -> tuple[Answer, Filled]:
    """What the inputs showed before, as it was typed; without an undo of its own."""
    shown = question.told.get("shown")
    names = kept_names(question.fields)
    kept = {name: value for name, value in shown.items() if name in names} if isinstance(shown, dict) else {}
    return {"sentence": question.say("presets.put_back"), "before": None}, question.fill(kept)


def _restore(question: Question) -> tuple[Answer, Filled]:
    """What was left when the page was open last, in silence but for what is gone by now."""
    given = question.told.get("shown")
    shown = given if isinstance(given, dict) else {}
    if question.told.get("beside"):
        filled = restore_beside(question.fields, shown, question.current.get("model"), question.language)
    else:
        filled = restore(question.fields, shown, question.language)
    gone = {"sentence": question.say("presets.gone", names=", ".join(filled.missing))} if filled.missing else {}
    return {"before": None, **gone}, filled


def _open_link(question: Question) -> tuple[Answer, Filled]:
    """Exactly the settings of a link."""
    recipe = decode_recipe(str(question.told.get("link")))
    if recipe.task != question.fields.task:
        raise InvalidRequest("link", f"must be for {question.fields.task}", recipe.task)
    model = recipe.values["model"] or question.fields.manager.model.name
    filled = question.fill(write_values(question.fields, {**recipe.values, "model": model}))
    sentences = [question.say("recipe.opened")]
    wrong = [str(error) for error in recipe.checked.wrong]
    return {"sentence": " ".join(sentences + question.name_missing(filled.missing, wrong))}, filled


FILLINGS: dict[str, Callable[[Question], tuple[Answer, Filled]]] = {
    "apply_own": _apply_own,
    "apply": _apply,
    "begin_again": _begin_again,
    "put_back": _put_back,
    "restore": _restore,
    "open_link": _open_link,
}
