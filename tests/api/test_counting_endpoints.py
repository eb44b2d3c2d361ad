"""What can be asked of a prompt before anything is drawn, over HTTP."""

import json
from typing import Any

import pytest

from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.types import MAX_PROMPT_CHARACTERS
from tests.api.conftest import Studio


def test_a_prompt_is_counted_for_each_encoder(studio: Studio) -> None:
    count = studio.client.predict(prompt="a gloomy fox, <lora:lost:1>", api_name="/count_tokens")
    assert [encoder["tokens"] for encoder in count["encoders"]] == [4, 5]
    assert (count["unknown"], count["dialect"], count["combinations"]) == (["lost"], "plain", 1)


def test_styles_and_wildcards_count_too(studio: Studio) -> None:
    count = studio.client.predict(
        prompt="a __colour__ fox", field="negative_prompt", styles=["film"], api_name="/count_tokens"
    )
    assert count["drawn"].endswith(", drawing")
    assert count["wildcards"] == [{"name": "colour", "options": 3}]
    assert count["combinations"] == 3


def test_counting_never_waits_for_pictures(studio: Studio) -> None:
    studio.manager.step_seconds = 0.2
    job = studio.manager.submit(TextToImageRequest(prompt="a fox", num_inference_steps=100))
    try:
        assert studio.client.predict(prompt="a fox", api_name="/count_tokens")["encoders"][0]["tokens"] == 2
        assert not job.is_finished
    finally:
        studio.manager.step_seconds = 0.0
        job.cancel()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": "x" * (MAX_PROMPT_CHARACTERS + 1)}, "prompt"),
        ({"prompt": "a", "field": "seed"}, "field"),
        ({"prompt": "a", "prompt_syntax": "latin"}, "prompt_syntax"),
        ({"prompt": "a", "styles": ["lost"]}, "styles"),
        ({"prompt": "a", "styles": "film"}, "styles"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "a", "model": "lost"}, "model"),
    ],
    ids=lambda value: str(value)[:32],
)
def test_a_wrong_value_is_a_sentence(studio: Studio, body: dict[str, Any], field: str) -> None:
    event, answer = studio.call("count_tokens", json.dumps(body))
    assert event == "error"
    assert answer["error"].startswith(f"{field} must ")


def test_the_styles_are_listed_as_they_are_named(studio: Studio) -> None:
    styles = studio.client.predict(api_name="/styles")
    assert [style["name"] for style in styles] == list(studio.manager.styles)
    assert styles[0]["title"] == {"en": "Film photo", "zh-CN": "胶片"}


def test_both_are_documented(studio: Studio) -> None:
    documented = studio.client.view_api(return_format="dict")["named_endpoints"]
    counting = documented["/count_tokens"]
    assert counting["description"].startswith("How long a prompt is")
    assert all(parameter["python_type"]["description"] for parameter in counting["parameters"])
    assert [parameter["label"] for parameter in counting["parameters"]][:2] == ["prompt", "field"]
    assert documented["/styles"]["description"]


def test_the_answer_of_a_task_tells_each_pictures_prompt(studio: Studio) -> None:
    files, info = studio.client.predict(
        prompt="a {red|blue} fox",
        all_combinations=True,
        num_inference_steps=1,
        styles=["film"],
        api_name="/text_to_image",
    )
    assert len(files) == 2
    assert info["drawn"] == ["a red fox", "a blue fox"]
    assert studio.manager.requests[-1].styles == ("film",)


def test_too_many_combinations_are_refused_with_a_sentence(studio: Studio) -> None:
    body = json.dumps({"prompt": "{a|b|c|d|e|f|g|h|i} {a|b|c|d|e|f|g|h}", "all_combinations": True})
    event, answer = studio.call("text_to_image", body)
    assert (event, answer["error"].split(",")[0]) == ("error", "all_combinations must make at most 64 pictures")
