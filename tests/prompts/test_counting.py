"""A prompt is counted as the encoders will get it, at once, from any thread, with no model."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.prompts.counting import Known, PromptCounter
from pipelines.prompts.styles import Style
from pipelines.prompts.tokenizers import Tokenizers
from pipelines.prompts.wildcards import Wildcards
from pipelines.schema.counts import PromptCount, WildcardCount
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.models import ModelEntry, load_catalogue
from pipelines.schema.requests import TextToImageRequest

Count = Callable[..., PromptCount]
OIL = Style(
    name="oil",
    group="painting",
    title={"en": "Oil", "zh-CN": "油画"},
    prompt="an oil painting of {prompt}",
    negative="photo",
    colour="#aa8800",
)
HUB = ModelEntry(name="hub", title="Hub", source="somebody/something")


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> PromptCounter:
    folder = tmp_path_factory.mktemp("wildcards")
    (folder / "colour.txt").write_text("red\nblue\n", encoding="utf-8")
    return PromptCounter(Wildcards(folder), {"oil": OIL}, Tokenizers())


@pytest.fixture
def count(counter: PromptCounter) -> Count:
    def count(
        text: str, field: str = "prompt", known: Known | None = None, model: ModelEntry = HUB, **values: Any
    ) -> PromptCount:
        return counter.count(TextToImageRequest(**{field: text}, **values), field, model, known or Known())

    return count


def lengths(counted: PromptCount) -> list[tuple[int, int]]:
    return [(encoder.tokens, len(encoder.ends)) for encoder in counted.encoders]


def test_tokens_and_chunks_are_counted_for_each_encoder(count: Count) -> None:
    assert lengths(count("a fox, by night")) == [(5, 1), (5, 1)]
    assert lengths(count("")) == [(0, 1), (0, 1)]
    assert lengths(count("fox " * 75)) == [(75, 1)] * 2
    assert lengths(count("fox " * 76)) == [(76, 2)] * 2
    assert lengths(count("a BREAK b")) == [(2, 2)] * 2
    assert lengths(count('("a fox", "' + "cat " * 80 + '").blend(1, 1)')) == [(80, 2)] * 2
    assert lengths(count('("a fox", "a cat").and()')) == [(4, 2)] * 2


def test_the_second_fields_are_read_by_the_second_encoder_and_so_is_all_by_a_refiner(count: Count) -> None:
    assert lengths(count("a fox", "prompt_2")) == [(2, 1)]
    assert lengths(count("a fox", "negative_prompt_2")) == [(2, 1)]
    assert lengths(count("a fox", model=HUB.model_copy(update={"kind": "refiner"}))) == [(2, 1)]


def test_signs_and_tags_are_no_tokens(count: Count) -> None:
    for text in ("((a)) [fox]", "(a fox:1.3)", "a fox++", "a fox<lora:x:1>"):
        assert lengths(count(text)) == [(2, 1)] * 2
    assert count("(a fox:1.3)").dialect == "a1111"
    assert count("a fox++").dialect == "compel"
    assert count("a fox").dialect == "plain"
    assert lengths(count("a fox++", prompt_syntax="a1111"))[0][0] > 2


def test_each_chunk_says_where_it_ends(count: Count) -> None:
    text = "fox " * 60 + "sits on a red hill, " + "cat " * 20 + "and an Owl."
    assert count(text).encoders[0].ends == ("a red hill,", "and an owl.")
    text = "fox " * 40 + "by day. " + "cat " * 60
    assert count(text, prompt_weighting="compel").encoders[0].ends == ("fox by day.", "cat cat cat")
    assert count("ein grüner 🦊, 狐狸").encoders[0].ends == ("grüner 🦊, 狐狸",)
    assert len(count("x" * 3000).encoders[0].ends[0]) < 50


def test_names_that_nobody_knows_are_said(count: Count) -> None:
    known = Known(lambda name: name.casefold() == "film-grain", embeddings={"easynegative": 8})
    counted = count("<lora:film-grain:1> <lora:other:1> embedding:easynegative embedding:worse", known=known)
    assert counted.loras == ("film-grain",)
    assert counted.unknown == ("other", "worse")


def test_a_textual_inversion_is_as_long_as_its_vectors(count: Count) -> None:
    known = Known(embeddings={"easynegative": 8, "style(2)": 200})
    assert lengths(count("a easynegative fox", known=known)) == [(10, 1)] * 2
    assert lengths(count("a (easynegative:1.2) fox", known=known)) == [(10, 1)] * 2
    assert lengths(count("a style(2) fox", known=known)) == [(202, 4)] * 2
    counted = count("fox " * 70 + "easynegative", known=known)
    assert lengths(counted) == [(78, 2)] * 2
    assert counted.encoders[0].ends == ("fox fox fox", "easynegative")


def test_wildcards_are_drawn_and_styles_put_around_before_it_is_counted(count: Count) -> None:
    counted = count("a __colour__ {fox|cat|owl} __nothing__", seed=5, styles=("oil",))
    assert counted.drawn.startswith("an oil painting of a ")
    assert "__colour__" not in counted.drawn
    assert counted.wildcards == (WildcardCount("colour", 2), WildcardCount("nothing", 0))
    assert counted.combinations == 6
    assert counted.drawn == count("a __colour__ {fox|cat|owl} __nothing__", seed=5, styles=("oil",)).drawn
    assert count("blurry", "negative_prompt", styles=("oil",)).drawn == "blurry, photo"
    with pytest.raises(InvalidRequest, match="styles must be"):
        count("a fox", styles=("water",))


def test_names_in_a_styles_words_are_no_textual_inversions(count: Count) -> None:
    known = Known(embeddings={"oil": 8, "fox": 8})
    assert lengths(count("a cat", styles=("oil",), known=known)) == lengths(count("a cat", styles=("oil",)))
    assert lengths(count("foxes", known=known)) == lengths(count("foxes"))
    assert lengths(count("a cat in oil", known=known)) == [(11, 1)] * 2


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fox, " * 1600, {}),
        (" BREAK ".join("a" * 81), {}),
        ("(a)0.5 b " * 400, {"prompt_weighting": "compel"}),
        ("[" + "|".join(f"{number} " + "fox " * 400 for number in range(8)) + "]" + ", a cat" * 800, {}),
        ("[" + "|".join(f"{number} " + "fox " * 230 for number in range(20)) + "]" + ", a cat" * 200, {}),
    ],
)
def test_a_prompt_that_would_be_refused_is_hinted_at(text: str, values: dict[str, Any], count: Count) -> None:
    (hint,) = count(text, **values).hints[-1:]
    assert (hint.code, hint.value) == ("too_long", text[:24].strip())


def test_a_prompt_that_just_fits_is_not_hinted_at(count: Count) -> None:
    for text in (
        "fox, " * 1500,
        " BREAK ".join("a" * 80),
        "[" + "|".join(f"{number} fox" for number in range(200)) + "]",
    ):
        assert "too_long" not in [hint.code for hint in count(text).hints]


def test_a_scheduled_prompt_is_counted_where_it_is_longest(count: Count) -> None:
    assert lengths(count("a [fox:cat and a dog:0.5] by night")) == [(7, 1)] * 2


def test_a_models_own_tokenizers_count_where_they_are_on_this_disk(count: Count, tmp_path: Path) -> None:
    demo = load_catalogue().checkpoints["demo"]
    assert lengths(count("größer", model=demo)) != lengths(count("größer"))
    broken = tmp_path / "broken"
    for part in ("tokenizer", "tokenizer_2"):
        shutil.copytree(Path(demo.source) / part, broken / part)
        (broken / part / "vocab.json").write_text("{", encoding="utf-8")
    assert lengths(count("größer", model=demo.model_copy(update={"source": str(broken)}))) == lengths(count("größer"))
    single = tmp_path / "single.safetensors"
    single.write_bytes(b"whatever")
    assert lengths(count("größer", model=demo.model_copy(update={"source": str(single)}))) == lengths(count("größer"))


def test_the_first_count_takes_less_than_a_second_and_the_next_ones_milliseconds(tmp_path: Path) -> None:
    counter = PromptCounter(Wildcards(tmp_path), {}, Tokenizers())
    request = TextToImageRequest(prompt="a (fox:1.2) in the forest, by night, " * 10)
    times = []
    for _ in range(20):
        started = time.thread_time()
        counter.count(request, "prompt", HUB, Known())
        times.append(time.thread_time() - started)
    assert times[0] < 1
    assert sorted(times)[10] < 0.005


def test_many_threads_count_alike(count: Count) -> None:
    known = Known(embeddings={"easynegative": 8})
    texts = [f"a fox {'and a cat ' * number} easynegative" for number in range(16)]
    expected = [count(text, known=known) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda number: count(texts[number % 16], known=known), range(160))
        assert list(found) == expected * 10


def test_a_count_is_kept_until_wildcards_or_loras_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = PromptCounter(Wildcards(tmp_path), {}, Tokenizers())
    worked_out: list[str] = []
    count = counter._count
    monkeypatch.setattr(counter, "_count", lambda *given: worked_out.append(given[1]) or count(*given))
    request = TextToImageRequest(prompt="a __fog__ fox <lora:ink:1>")

    def ask(known: Known) -> PromptCount:
        return counter.count(request, "prompt", HUB, known)

    assert (ask(Known()).unknown, ask(Known()).loras) == (("ink",), ())
    found = Known(finds_lora=lambda name: name == "ink")
    assert (ask(found).unknown, ask(found).loras) == ((), ("ink",)), "a LoRA that has come is seen at once"
    assert worked_out == ["prompt"]
    (tmp_path / "fog.txt").write_text("misty\nclear\n", encoding="utf-8")
    counter.wildcards.rescan()
    assert ask(found).combinations == 2
    ask(Known(embeddings={"gloomy": 2}))
    assert len(worked_out) == 3
