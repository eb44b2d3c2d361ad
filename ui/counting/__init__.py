"""The line below each prompt, live while it is typed: how long it is, in whose signs, and what in it is not there.

A change of whatever it depends on is told in the browser alone; the counter asks when there has been a pause. An event
of Gradio's that waited would hold back all others of the same input.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines.schema.counts import EncoderCount, PromptCount
from pipelines.schema.errors import PipelineError
from pipelines.schema.requests import PROMPT_FIELDS
from pipelines.schema.types import MAX_PROMPT_CHARACTERS, MAX_SEED
from ui.combining import show_combinations
from ui.fields import RANDOM_SEED, Fields
from ui.i18n import language_of, load_words, say

FOLDER = Path(__file__).parent
CHUNK = 75
"""Tokens in one chunk, without its start and end."""
NEAR = 0.9
"""From this share of the limit on, the characters are counted too."""
DEPENDS_ON = ("prompt_syntax", "prompt_weighting", "styles", "model", "seed", "num_images_per_prompt")
"""The fields beside the prompts that what is told depends on."""
DIALECTS = {"a1111": "A1111", "compel": "compel"}
Told = list[dict[str, str]]


def build_counter(fields: Fields, name: str) -> None:
    """The line below the prompt that fills the field `name`; as high as one line, whatever it says."""
    fields.counters[name] = gr.HTML(
        value=None,
        html_template=(FOLDER / "counter.html").read_text(encoding="utf-8"),
        js_on_load=(FOLDER / "counter.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_classes=["counter-box"],
        task=fields.task if name == "prompt" else "",
    )


def bind_counting(fields: Fields) -> None:
    """Lets the counters follow everything they depend on; the tab has drawn all its inputs before."""
    names = [name for name in (*PROMPT_FIELDS, *DEPENDS_ON) if name in fields.components]
    inputs = [fields.components[name] for name in names]
    counters, combinations = list(fields.counters), list(fields.combinations)

    def tell(client: gr.Request, *values: Any) -> list[Any]:
        given, language = fields.read(values, names), language_of(client)
        lines = [describe_prompt(fields, name, given, language) for name in counters]
        return lines + show_combinations(fields, given, language)

    changed = f"() => {{ document.dispatchEvent(new CustomEvent('studio:changed', {{detail: '{fields.task}'}})); }}"
    for part in inputs:
        part.change(None, None, None, js=changed, api_visibility="private")  # type: ignore[attr-defined]
    asking: Any = fields.counters["prompt"]
    asking.count(
        tell,
        inputs,
        [*fields.counters.values(), *combinations],
        preprocess=False,
        queue=False,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )


def describe_prompt(fields: Fields, name: str, given: dict[str, Any], language: str) -> dict[str, Any]:
    """What the line below a prompt shows; a prompt that cannot be counted is answered with the reason."""
    text = str(given.get(name) or "")
    length = _describe_length(text, language)
    if len(text) > MAX_PROMPT_CHARACTERS:
        return {"count": "", "notes": length, "spoken": length[0]["text"]}
    try:
        count = fields.manager.count_prompt(
            text,
            field=name,
            model=str(given["model"] or ""),
            syntax=given["prompt_syntax"],
            weighting=given["prompt_weighting"],
            styles=tuple(given["styles"]),
            seed=given["seed"] if _is_fixed(given["seed"]) else RANDOM_SEED,
        )
    except PipelineError as error:
        return {"count": "", "notes": [{"text": str(error), "kind": "bad"}], "spoken": str(error)}
    encoders = _readers(name, count.encoders, given, one=fields.task == "refine")
    notes = length + _describe_notes(count, language)
    details = notes + _describe_ends(encoders, language) + _describe_drawn(count, text, given, language)
    chunks = _say_chunks(encoders, language)
    several = [chunks] if chunks_of(encoders) > 1 else []
    dialect = DIALECTS.get(count.dialect, "")
    return {
        "count": f"{_say_tokens(encoders, language)} · {chunks}",
        "dialect": dialect,
        "dialect_help": say("count.dialect", language, dialect=dialect) if dialect else "",
        "notes": notes,
        "details": details,
        "more": say("count.more", language),
        "spoken": ". ".join([*several, *(note["text"] for note in notes if note["kind"] != "quiet")]),
    }


def chunks_of(encoders: Sequence[EncoderCount]) -> int:
    """The chunks that are run: as many as the encoder with more of them has; one for an empty prompt."""
    return max([1, *(len(encoder.ends) for encoder in encoders)])


def _readers(
    name: str, encoders: Sequence[EncoderCount], given: dict[str, Any], *, one: bool
) -> tuple[EncoderCount, ...]:
    """The encoders that read this prompt: only the second where it is the second's own, or where there is one."""
    if one or name.endswith("_2"):
        return tuple(encoders[-1:])
    return tuple(encoders[:1]) if str(given.get(f"{name}_2") or "").strip() else tuple(encoders)


def _say_tokens(encoders: Sequence[EncoderCount], language: str) -> str:
    tokens = [encoder.tokens for encoder in encoders] or [0]
    room = CHUNK * chunks_of(encoders)
    if len(set(tokens)) == 1:
        return say("count.tokens", language, tokens=tokens[0], room=room)
    return say("count.encoders", language, first=tokens[0], second=tokens[-1], room=room)


def _say_chunks(encoders: Sequence[EncoderCount], language: str) -> str:
    chunks = chunks_of(encoders)
    return say("count.chunk" if chunks == 1 else "count.chunks", language, count=chunks)


def _describe_length(text: str, language: str) -> Told:
    if len(text) < NEAR * MAX_PROMPT_CHARACTERS:
        return []
    kind = "bad" if len(text) > MAX_PROMPT_CHARACTERS else "warn"
    sentence = say("count.characters", language, count=f"{len(text):,}", limit=f"{MAX_PROMPT_CHARACTERS:,}")
    return [{"text": sentence, "kind": kind}]


def _describe_notes(count: PromptCount, language: str) -> Told:
    """What has to be known first: names that are not there, hints, and what will be drawn."""
    table = load_words()[language]
    notes: Told = []
    if count.unknown:
        notes.append({"text": say("count.unknown", language, names=", ".join(count.unknown)), "kind": "bad"})
    for hint in count.hints:
        sentence = table.get(f"hint.{hint.code}", hint.code).format(value=hint.value)
        notes.append({"text": sentence, "kind": "warn"})
    for wildcard in count.wildcards:
        key, kind = ("count.wildcard", "quiet") if wildcard.options else ("count.no_wildcard", "warn")
        sentence = say(key, language, name=wildcard.name, options=wildcard.options)
        notes.append({"text": sentence, "kind": kind})
    if count.loras:
        notes.append({"text": say("count.loras", language, names=", ".join(count.loras)), "kind": "quiet"})
    return notes


def _describe_drawn(count: PromptCount, text: str, given: dict[str, Any], language: str) -> Told:
    """The text as the model gets it where that is not what was typed; with a random seed it is one of many."""
    if count.drawn == text or not count.drawn.strip():
        return []
    key = "count.drawn" if count.combinations == 1 or _is_fixed(given["seed"]) else "count.for_example"
    return [{"text": say(key, language, text=count.drawn), "kind": "quiet"}]


def _is_fixed(seed: Any) -> bool:
    return isinstance(seed, int) and 0 <= seed <= MAX_SEED


def _describe_ends(encoders: Sequence[EncoderCount], language: str) -> Told:
    """Where each chunk of a long prompt ends; both encoders divide it alike but for textual inversions."""
    longest = max(encoders, key=lambda encoder: len(encoder.ends), default=None)
    if longest is None or len(longest.ends) < 2:
        return []
    return [
        {"text": say("count.end", language, index=index, words=words), "kind": "quiet"}
        for index, words in enumerate(longest.ends, 1)
    ]
