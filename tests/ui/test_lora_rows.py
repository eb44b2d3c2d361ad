"""LoRAs on their way from rows to a request, and what those for few steps bring along."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import AddOn
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.types import MAX_LORAS
from tests.ui.fake_manager import FakeManager
from tests.ui.handlers import find_handler
from ui.fields import Fields
from ui.loras import as_rows, describe_change, list_loras, props_of, read_loras, show_embeddings, turned_entries

Draw = Callable[[str], Fields]
ROWS = {"rows": [{"name": "paper", "weight": 0.35}, {"name": "ink", "weight": -1}], "turned": []}
CLIENT: Any = SimpleNamespace(headers={"accept-language": "en"})


def test_rows_become_the_requests_loras_and_come_back(draw: Draw) -> None:
    fields = draw("text_to_image")
    request = make_request(TextToImageRequest, {"loras": fields.readers["loras"](ROWS)})
    assert [(lora.name, lora.weight) for lora in request.loras] == [("paper", 0.35), ("ink", -1.0)]
    assert fields.write("loras", request.model_dump(mode="json")["loras"]) == ROWS


@pytest.mark.parametrize("value", [None, "", {}, {"rows": None}, {"rows": [{"name": "", "weight": 1}, 5]}, [], 7])
def test_no_rows_are_no_loras(value: Any) -> None:
    assert read_loras(value) == []


def test_a_row_with_something_else_in_it_is_refused_by_the_request() -> None:
    rows = read_loras({"rows": [{"name": "paper", "weight": 1, "path": "/etc/passwd"}]})
    with pytest.raises(InvalidRequest, match=r"^loras"):
        make_request(TextToImageRequest, {"loras": rows})


def turn(fields: Fields, rows: list[str], *turned: str) -> list[Any]:
    """What the page sets when a row was chosen or removed: note, quality, and the fields taken over."""
    value = {"rows": [{"name": name, "weight": 1} for name in rows], "turned": list(turned)}
    take_over: Any = find_handler(fields.components["loras"], "input").fn
    return take_over(CLIENT, value, "demo")


def test_a_lora_for_few_steps_sets_them_and_gives_them_back(draw: Draw) -> None:
    fields = draw("text_to_image")
    note, quality, *values = turn(fields, ["paper", "four-steps"], "four-steps")
    assert note == "<p>Four steps sets: Steps 4, Spacing of the steps Trailing, Guidance 1.</p>"
    assert "4 euler trailing default default" in [value for _, value in quality["choices"]]
    assert values[0] == 4
    note, _, *values = turn(fields, ["paper"], "four-steps")
    assert note.startswith("<p>Four steps is gone; back to: Steps 20")
    assert values[0] == 20


def test_any_other_lora_sets_nothing(draw: Draw) -> None:
    updates = turn(draw("text_to_image"), ["paper"], "paper")
    assert all(update == {"__type__": "update"} for update in updates)


def test_a_name_that_nobody_knows_turns_nothing(draw: Draw) -> None:
    fields = draw("text_to_image")
    for value in ({"turned": ["nowhere"]}, {"turned": None}, None):
        assert turned_entries(fields, value) == []


def test_two_loras_of_one_title_are_told_apart(draw: Draw, manager: FakeManager) -> None:
    manager.library.add_ons["paper-2"] = AddOn(name="paper-2", title="Paper cut", source="/p2", kind="lora")
    fields = draw("text_to_image")
    titles = {lora["name"]: lora["title"] for lora in list_loras(fields, fields.model, "en")}
    assert titles == {"paper": "paper", "paper-2": "paper-2", "ink": "Ink", "four-steps": "Four steps"}


def test_a_lora_on_the_hub_is_marked_and_not_offered_with_the_embedded_model(draw: Draw, manager: FakeManager) -> None:
    manager.library.add_ons["hub"] = AddOn(name="hub", title="Hub", source="someone/hub", kind="lora")
    fields = draw("text_to_image")
    shown = [lora["shown"] for lora in list_loras(fields, fields.find_model("big"), "en")]
    assert shown == ["Paper cut", "Ink", "Four steps", "Hub · to be downloaded"]
    assert "hub" not in [lora["name"] for lora in list_loras(fields, fields.find_model("demo"), "en")]


def test_the_rows_know_as_many_as_a_request_takes_and_both_languages(draw: Draw) -> None:
    fields = draw("text_to_image")
    assert props_of(fields, fields.model, "en")["most"] == MAX_LORAS
    assert props_of(fields, fields.model, "zh-CN")["words"]["weight"] == "权重"


def test_a_sentence_in_chinese_names_the_settings(manager: FakeManager) -> None:
    entry = manager.library.add_ons["four-steps"]
    assert "步数 4" in describe_change(entry, {"num_inference_steps": 4, "scheduler": "lcm"}, True, "zh-CN")


def test_textual_inversions_are_listed_as_they_are_written(draw: Draw, manager: FakeManager) -> None:
    fields = draw("text_to_image")
    manager.library.add_ons["<b>"] = AddOn(name="<b>", title="b", source="/b", kind="embedding")
    assert '<button type="button" class="word-chip">gloomy</button>' in show_embeddings(fields, "en")
    assert "&lt;b&gt;" in show_embeddings(fields, "en")
    manager.library.add_ons.clear()
    assert show_embeddings(fields, "en") == ""


def test_nothing_is_one_empty_row() -> None:
    assert as_rows(None) == as_rows(()) == {"rows": [], "turned": []}
