"""What the line below a prompt says, and how many pictures all combinations are."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.prompts.drawing import MAX_PICTURES
from pipelines.prompts.syntax import CODES
from pipelines.prompts.syntax.hints import TOO_LONG
from pipelines.schema.requests import REQUESTS
from pipelines.schema.types import MAX_PROMPT_CHARACTERS
from tests.ui.handlers import find_handler, find_page
from ui.combining import describe_combinations
from ui.counting import DEPENDS_ON
from ui.fields import Fields
from ui.i18n import ENGLISH, load_words

Draw = Callable[[str], Fields]
CLIENT: Any = SimpleNamespace(headers={"accept-language": "en"})
CHINESE: Any = SimpleNamespace(headers={"accept-language": "zh-CN"})


def tell(fields: Fields, client: Any = CLIENT, **typed: Any) -> dict[str, Any]:
    """What each counter, and the part about combinations, shows of these values over the page's first ones."""
    asked = find_handler(fields.counters["prompt"], "count")
    names = {part._id: name for name, part in fields.components.items()}
    values = [typed.get(names[part._id], part.value) for part in asked.inputs]
    function: Any = asked.fn
    *lines, part, told = function(client, *values)
    return {**dict(zip(fields.counters, lines, strict=True)), "part": part, "told": told}


def texts(notes: list[dict[str, str]], kind: str) -> list[str]:
    return [note["text"] for note in notes if note["kind"] == kind]


def test_a_prompt_is_counted_in_tokens_and_chunks(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt="a fox at night")
    assert shown["prompt"]["count"] == "4 / 75 tokens · 1 chunk"
    assert shown["prompt"]["dialect"] == ""
    assert shown["prompt"]["details"] == []
    assert shown["negative_prompt"]["count"] == "0 / 75 tokens · 1 chunk"


def test_it_is_told_in_the_visitors_language(drawn: Draw) -> None:
    assert tell(drawn("text_to_image"), CHINESE, prompt="a fox")["prompt"]["count"] == "2 / 75 个词元 · 1 段"


def test_both_encoders_are_told_apart_only_where_they_differ(drawn: Draw) -> None:
    fields = drawn("text_to_image")
    assert tell(fields, prompt="gloomy fox")["prompt"]["count"] == "CLIP-L 2, CLIP-G 3 / 75 tokens · 1 chunk"
    shown = tell(fields, prompt="gloomy fox", prompt_2="gloomy gloomy fox")
    assert shown["prompt"]["count"] == "2 / 75 tokens · 1 chunk", "the second one reads other words"
    assert shown["prompt_2"]["count"] == "5 / 75 tokens · 1 chunk"


def test_the_refiner_reads_with_its_one_encoder(drawn: Draw) -> None:
    fields = drawn("refine")
    assert list(fields.counters) == ["prompt", "negative_prompt"]
    assert tell(fields, prompt="gloomy fox")["prompt"]["count"] == "3 / 75 tokens · 1 chunk"


def test_a_long_prompt_tells_where_each_chunk_ends(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt=" ".join(f"w{number}" for number in range(160)))["prompt"]
    assert shown["count"] == "160 / 225 tokens · 3 chunks"
    ends = [f"chunk {index} ends with “{word}”" for index, word in ((1, "w74"), (2, "w149"), (3, "w159"))]
    assert texts(shown["details"], "quiet") == ends
    assert shown["notes"] == []
    assert shown["spoken"] == "3 chunks"


def test_unknown_names_and_hints_come_first_and_are_spoken(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt="a (fox <lora:lost:1> <lora:ink:1> __colour__")["prompt"]
    assert [note["kind"] for note in shown["notes"]] == ["bad", "warn", "quiet", "quiet"]
    assert texts(shown["notes"], "bad") == ["unknown: lost"]
    assert texts(shown["notes"], "warn") == ["never closed, read as text: ("]
    assert texts(shown["notes"], "quiet") == ["__colour__: one of 3", "LoRA: ink"]
    assert shown["dialect"] == "A1111"
    assert shown["spoken"] == "unknown: lost. never closed, read as text: ("


def test_a_wildcard_that_no_file_holds_is_a_warning(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt="__nowhere__")["prompt"]
    assert texts(shown["notes"], "warn") == ["__nowhere__: no such wildcard, stays text"]


def test_the_text_as_it_is_read_is_shown_where_it_is_not_what_was_typed(drawn: Draw) -> None:
    fields = drawn("text_to_image")
    style = {"names": ["film"], "before": None}
    assert texts(tell(fields, prompt="a fox", styles=style)["prompt"]["details"], "quiet") == [
        "Read as: photo of a fox, 35mm film, grain"
    ]
    assert tell(fields, prompt="a fox", styles=style)["negative_prompt"]["count"].startswith("1 / 75")
    by_chance = texts(tell(fields, prompt="{a|b} fox")["prompt"]["details"], "quiet")
    assert by_chance in (["For example: a fox"], ["For example: b fox"])
    fixed = texts(tell(fields, prompt="{a|b} fox", seed="7")["prompt"]["details"], "quiet")
    assert fixed in (["Read as: a fox"], ["Read as: b fox"])


def test_the_fixed_syntax_is_asked_for(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt="a fox", prompt_syntax="compel")["prompt"]
    assert shown["dialect"] == "compel"
    assert "of compel" in shown["dialect_help"]


def test_near_the_limit_characters_are_counted_and_beyond_it_nothing_else(drawn: Draw) -> None:
    fields = drawn("text_to_image")
    near = tell(fields, prompt="x" * (MAX_PROMPT_CHARACTERS - 1))["prompt"]
    assert texts(near["notes"], "warn") == ["19,999 of 20,000 characters"]
    beyond = tell(fields, prompt="x" * (MAX_PROMPT_CHARACTERS + 1))["prompt"]
    assert texts(beyond["notes"], "bad") == ["20,001 of 20,000 characters"]
    assert beyond["count"] == ""


def test_what_cannot_be_counted_is_answered_with_the_reason(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt="a fox", styles={"names": ["lost"]})["prompt"]
    assert texts(shown["notes"], "bad")[0].startswith("styles must be names of styles")


def test_every_hint_has_words_in_every_language() -> None:
    for table in load_words().values():
        assert [code for code in (*CODES, TOO_LONG) if "{value}" not in table.get(f"hint.{code}", "")] == []


@pytest.mark.parametrize("task", list(REQUESTS))
def test_whatever_is_told_of_makes_the_counter_ask(drawn: Draw, task: str) -> None:
    fields = drawn(task)
    followed = {name for name in fields.components if name in DEPENDS_ON or "prompt" in name}
    asked = find_handler(fields.counters["prompt"], "count")
    assert {part._id for part in asked.inputs} == {fields.components[name]._id for name in followed}
    page = find_page(fields.counters["prompt"])
    telling = {
        target for found in page.fns.values() if found.js and "studio:changed" in found.js for target in found.targets
    }
    assert telling == {(fields.components[name]._id, "change") for name in followed}
    assert asked.queue is False
    assert asked.trigger_mode == "always_last"


def test_the_switch_is_seen_where_there_is_something_to_combine(drawn: Draw) -> None:
    fields = drawn("text_to_image")
    assert fields.combinations[0].visible is False
    assert tell(fields, prompt="a fox")["part"]["visible"] is False
    shown = tell(fields, prompt="{red|blue} fox", negative_prompt="__colour__", num_images_per_prompt=2)
    assert shown["part"]["visible"] is True
    assert shown["told"] == (
        '<p class="if-on told">6 combinations × 2 = 12 pictures</p>'
        '<p class="if-off">Would be 6 combinations × 2 = 12 pictures.</p>'
    )


def test_too_many_combinations_are_a_warning_before_they_run() -> None:
    assert "wrong" not in describe_combinations(MAX_PICTURES, 1, ENGLISH)
    too_many = describe_combinations(MAX_PICTURES + 1, 1, ENGLISH)
    assert '<p class="if-on wrong">' in too_many
    assert '<p class="if-off">Would be 65 combinations' in too_many
    assert "33 combinations × 2: more than the 64 pictures" in describe_combinations(33, 2, ENGLISH)
    assert "&gt; 1,000,000 combinations" in describe_combinations(10**15, 1, ENGLISH)


def test_values_that_are_no_numbers_yet_stop_no_counting(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt="{<b>|<i>}", seed="lucky", num_images_per_prompt=None)
    assert shown["prompt"]["count"].startswith("1 / 75")
    assert "2 combinations × 1" in shown["told"]


def test_a_seed_out_of_range_and_an_endless_prompt_are_left_to_the_request(drawn: Draw) -> None:
    shown = tell(drawn("text_to_image"), prompt="{a|b}", seed=str(2**40))
    assert shown["prompt"]["count"].startswith("1 / 75")
    endless = tell(drawn("text_to_image"), prompt="{a|b}" * MAX_PROMPT_CHARACTERS)
    assert endless["part"]["visible"] is False
