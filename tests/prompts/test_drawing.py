"""Wildcards and variants are drawn from the seed: the same for ever, each picture by itself, or all of them."""

import gc
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.prompts import drawing
from pipelines.prompts.choosing import MAX_CHOICES
from pipelines.prompts.combinations import COUNT_LIMIT
from pipelines.prompts.drawing import combinations, count_combinations, draw_prompts, draw_text, final_texts
from pipelines.prompts.syntax import parse
from pipelines.prompts.variants import MAX_DEPTH, MAX_TOGETHER
from pipelines.prompts.wildcards import Wildcards
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.types import MAX_PROMPT_CHARACTERS, MAX_SEED

SEEDS = (0, 1, 2, 12345, MAX_SEED)
STABLE = (
    ("{red|green|blue} {small|large}", ("blue large", "red large", "green large", "blue large", "red small")),
    ("{3::a|b} {2$$x|y|z|w}", ("a x, w", "a x, w", "a y, w", "a x, w", "a x, w")),
    (
        "{1-3$$ and $$p|q|r|s}",
        ("p and r and s", "p and q", "q", "p and q and s", "p and r"),
    ),
    ("{a {x|y|z}|b {x|y|z}}", ("a y", "b y", "b z", "b z", "a y")),
)
"""What these seeds draw for `prompt`. A promise: whoever has a seed gets the same text in years to come."""
EMPTY = Wildcards(Path(__file__).parent / "no folder")
PIECES = [
    "{",
    "}",
    "|",
    "$$",
    "[",
    "]",
    "(",
    ")",
    "\\",
    "::",
    "2",
    "1-2",
    " ",
    "__",
    "__colour__",
    "a",
    ",",
    "\0",
    "😀",
]
odd_texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.fixture
def wildcards(tmp_path: Path) -> Wildcards:
    (tmp_path / "colour.txt").write_text("red\ngreen\nblue")
    (tmp_path / "size.txt").write_text("small\n{very|rather} big")
    return Wildcards(tmp_path)


def all_of(text: str, wildcards: Wildcards = EMPTY) -> list[str]:
    """Every text it can become, in order, after its number has been checked."""
    found = [drawn["prompt"] for drawn in combinations({"prompt": text}, wildcards)]
    assert count_combinations({"prompt": text}, wildcards) == len(found)
    return found


def drawn_over(text: str, seeds: int, wildcards: Wildcards = EMPTY) -> Counter[str]:
    return Counter(draw_text(text, wildcards, seed=seed, field="prompt") for seed in range(seeds))


def request_of(**values: object) -> TextToImageRequest:
    return TextToImageRequest.model_validate({"seed": 7, **values})


# What is a choice, and what is text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a|b}", ["a", "b"]),
        ("a {very |}red cat", ["a very red cat", "a red cat"]),
        ("{|}", ["", ""]),
        ("{a|{b|c} d}", ["a", "b d", "c d"]),
        ("{a|b}{c|d}", ["ac", "ad", "bc", "bd"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{2$$ a | b | c }", ["a, b", "a, c", "b, c"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b"]),
        ("{2-1$$ and $$a|b}", ["a", "b", "a and b"]),
        ("{-2$$a|b}", ["a", "b", "a, b"]),
        ("{2-$$a|b|c}", ["a, b", "a, c", "b, c", "a, b, c"]),
        ("{9$$a|b}", ["a, b"]),
        ("{0-1$$a|b}", ["", "a", "b"]),
        ("{2$$$$a|b}", ["ab"]),
        ("{2$$a|b$$c}", ["a, b$$c"]),
        ("{2$$a}", ["a"]),
        ("{2$$a||b}", ["a", "a, b", "b"]),
        ("{2$$a|{b|c}|d}", ["a, b", "a, c", "a, d", "b, d", "c, d"]),
        ("{3::a|.5::b|1.25::c}", ["a", "b", "c"]),
        ("{0::a|b}", ["b"]),
        ("{0::a|0::b}", ["a", "b"]),
        ("{2$$2::a|b}", ["a, b"]),
        ("{a:1.2|b::c}", ["a:1.2", "b::c"]),
        ("{[red|blue] cat|dog}", ["[red|blue] cat", "dog"]),
        ("{(red|blue:1.2)|dog}", ["(red|blue:1.2)", "dog"]),
        ("[{red|blue}:green:0.5]", ["[red:green:0.5]", "[blue:green:0.5]"]),
        ("{[a|b}", ["[a", "b"]),
        ("{a]|b)}", ["a]", "b)"]),
        ("{{a|b}", ["{a", "{b"]),
        ("{a|b}}", ["a}", "b}"]),
        (r"{a\|b|c\}d}", [r"a\|b", r"c\}d"]),
        (r"{a\\|b}", [r"a\\", "b"]),
        ("{cheap $$$|dear}", ["cheap $$$", "dear"]),
        ("{\n a\n|b}", ["\n a\n", "b"]),
        ("__colour__", ["red", "green", "blue"]),
        ("{__colour__|x}", ["red", "green", "blue", "x"]),
        ("{2$$__colour__}", ["red, green", "red, blue", "green, blue"]),
        ("{2$$ & $$ __colour__ }", ["red & green", "red & blue", "green & blue"]),
        ("{2$$x|__colour__}", ["x, red", "x, green", "x, blue"]),
        ("__size__", ["small", "very big", "rather big"]),
        ("{2$$__size__}", ["small, very big", "small, rather big"]),
        (
            "__colour____size__",
            [f"{a}{b}" for a in ("red", "green", "blue") for b in ("small", "very big", "rather big")],
        ),
        ("<__colour___>", ["<red_>", "<green_>", "<blue_>"]),
    ],
)
def test_choices_become_these_texts_in_this_order(text: str, expected: list[str], wildcards: Wildcards) -> None:
    assert all_of(text, wildcards) == expected
    drawn = drawn_over(text, 300, wildcards)
    assert set(drawn) == set(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cat",
        "{word}",
        "{}",
        "{2::red}",
        "{a$$b}",
        "{$$a}",
        "[a|b]",
        "(a|b)",
        "[red:blue:0.5]",
        "a|b",
        r"\{a|b\}",
        r"\{a|b}",
        r"{a|b\}",
        r"\__colour__",
        "{a|b",
        "a|b}",
        "{[a|b]}",
        "__nowhere__",
        "__ colour__",
        "__colour_",
        "____",
        '("red", "blue").blend(1, 1)',
        "<lora:detail:0.8> BREAK (cat)1.3 dog++",
        "צבע 😀 \0 \n",
    ],
)
def test_what_holds_no_choice_comes_out_as_it_went_in(text: str, wildcards: Wildcards) -> None:
    assert draw_text(text, wildcards, seed=3, field="prompt") == text
    assert all_of(text, wildcards) == [text]
    (draw,) = draw_prompts(request_of(prompt=text, num_images_per_prompt=4), wildcards)
    assert draw.request == request_of(prompt=text, num_images_per_prompt=4)
    assert draw.template == {}


def test_unknown_names_stay_while_the_rest_is_drawn(wildcards: Wildcards) -> None:
    assert all_of("{__nowhere__|a}", wildcards) == ["__nowhere__", "a"]


@given(text=odd_texts, seed=st.integers(0, MAX_SEED))
@settings(max_examples=150, deadline=None)
def test_odd_text_never_raises_and_is_drawn_from_its_combinations(text: str, seed: int) -> None:
    drawn = draw_text(text, EMPTY, seed=seed, field="prompt")
    everything = combinations({"prompt": text}, EMPTY)
    if everything.count <= 500:
        found = [one["prompt"] for one in everything]
        assert len(found) == everything.count
        assert drawn in found
    if not drawing.holds_choices(text, EMPTY):
        assert drawn == text


@pytest.mark.parametrize(
    ("unit", "closing"),
    [
        ("{", ""),
        ("}", ""),
        ("{|", ""),
        ("{a|", "}"),
        ("{2$$", ""),
        ("{2$$a|", "}"),
        ("{[(|", ""),
        ("{[|(|", "}"),
        ("[(", "])"),
        ("{[", "]}"),
        ("__", ""),
        ("__a", ""),
        ("{ ", ""),
        ("{|}", ""),
        ("\\", ""),
        ("{2$$__colour__}", ""),
    ],
)
def test_hostile_text_takes_linear_time(unit: str, closing: str, wildcards: Wildcards) -> None:
    def seconds(count: int) -> float:
        text = unit * count + closing * count
        gc.collect()
        gc.disable()  # a collection takes as long as the whole process is large
        start = time.process_time()
        draw_text(text, wildcards, seed=1, field="prompt")
        count_combinations({"prompt": text}, wildcards)
        taken = time.process_time() - start
        gc.enable()
        return taken

    few, many = min(seconds(300) for _ in range(3)), min(seconds(3_000) for _ in range(2))
    assert many < 40 * few + 0.05  # ten times as long for ten times as much; a hundred times if it were quadratic


def test_a_hundred_thousand_braces_or_spaces_are_text() -> None:
    for text in ("{" * 50_000 + "}" * 50_000, "{" + " " * 100_000 + "}", "{2" + " " * 100_000 + "}"):
        start = time.process_time()
        assert draw_text(text, EMPTY, seed=1, field="prompt") == text
        assert time.process_time() - start < 5


def test_variants_that_lie_too_deep_stay_text() -> None:
    def nested(depth: int) -> str:
        return "{x|" * depth + "y" + "}" * depth

    assert all_of(nested(MAX_DEPTH)) == ["x"] * MAX_DEPTH + ["y"]
    assert all_of(nested(MAX_DEPTH + 3)) == ["x"] * MAX_DEPTH + [r"\{x|\{x|\{x|y\}\}\}"]


def test_files_that_grow_without_end_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "grow.txt").write_text("__grow__ {3$$__grow__|__grow__|__grow__} " + "x" * 1500)
    wildcards = Wildcards(tmp_path)
    start = time.process_time()
    drawn = draw_text("__grow__", wildcards, seed=1, field="prompt")
    assert count_combinations({"prompt": "__grow__"}, wildcards) == 1
    assert time.process_time() - start < 5
    assert MAX_PROMPT_CHARACTERS < len(drawn) < 4 * MAX_PROMPT_CHARACTERS
    with pytest.raises(
        InvalidRequest, match=r"^prompt must have at most 20000 characters once its wildcards are drawn"
    ):
        draw_prompts(request_of(prompt="__grow__"), wildcards)


# Chance


@pytest.mark.parametrize(("text", "expected"), STABLE)
def test_a_seed_draws_the_same_text_for_ever(text: str, expected: tuple[str, ...]) -> None:
    assert tuple(draw_text(text, EMPTY, seed=seed, field="prompt") for seed in SEEDS) == expected


def test_each_field_draws_by_itself() -> None:
    text = "{1|2|3|4|5|6|7|8|9|10}"
    fields = ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2")
    drawn = [tuple(draw_text(text, EMPTY, seed=seed, field=field) for seed in range(50)) for field in fields]
    assert len(set(drawn)) == 4


def test_the_same_wildcard_twice_draws_twice(wildcards: Wildcards) -> None:
    drawn = drawn_over("__colour__ __colour__", 900, wildcards)
    assert len(drawn) == 9
    assert all(70 < count < 130 for count in drawn.values())


def test_options_come_evenly_whatever_came_before() -> None:
    drawn = [draw_text("{a|b|c|d}", EMPTY, seed=seed, field="prompt") for seed in range(4000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values())
    assert all(200 < count < 300 for count in Counter(pairwise(drawn)).values())


def test_weights_are_shares() -> None:
    drawn = drawn_over("{3::a|b|.5::c}", 4500)
    assert {name: round(count / 1000, 1) for name, count in drawn.items()} == {"a": 3.0, "b": 1.0, "c": 0.5}


def test_weights_count_when_several_are_drawn() -> None:
    drawn = drawn_over("{2$$8::a|b|c|d}", 2000)
    assert sum(count for text, count in drawn.items() if "a" in text) > 1830
    assert len(drawn) == 6
    evenly = drawn_over("{2$$a|b|c|d}", 3000)
    assert all(430 < count < 570 for count in evenly.values())


def test_each_number_of_a_range_comes_evenly() -> None:
    sizes = Counter(len(text.split(",")) for text in drawn_over("{1-3$$a|b|c|d|e}", 3000).elements())
    assert all(900 < count < 1100 for count in sizes.values())
    assert set(sizes) == {1, 2, 3}


def test_words_around_a_choice_do_not_change_it() -> None:
    for seed in range(20):
        alone = draw_text("{a|b|c|d}", EMPTY, seed=seed, field="prompt")
        assert draw_text("one {a|b|c|d}, {e|f}", EMPTY, seed=seed, field="prompt").startswith(f"one {alone},")


def test_not_more_than_a_few_dozen_are_put_together() -> None:
    text = "{99$$" + "|".join(str(number) for number in range(100)) + "}"
    assert len(draw_text(text, EMPTY, seed=1, field="prompt").split(", ")) == MAX_TOGETHER


# Counting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a|b} " * 20, 2**20),
        ("{" + "|".join("abcdefghij") + "}" + "{5$$" + "|".join("abcdefghij") + "}", 2520),
        ("{3$$__colour__|__colour__|{a|b}|x}", 18 + 9 + 2 * 6),
        ("{1-3$$__size__|__colour__}", 3 + 3 + 9),
        ("{|}" * 6000, COUNT_LIMIT),
    ],
)
def test_combinations_are_counted_without_being_listed(text: str, expected: int, wildcards: Wildcards) -> None:
    start = time.process_time()
    assert count_combinations({"prompt": text}, wildcards) == expected
    assert time.process_time() - start < 2


def test_any_combination_of_very_many_can_be_told(wildcards: Wildcards) -> None:
    everything = combinations({"prompt": "{a|b}" * 40, "negative_prompt": "__colour__"}, wildcards)
    assert everything.count == 3 * 2**40
    assert everything.at(everything.count - 1) == {"prompt": "b" * 40, "negative_prompt": "blue"}
    assert everything.at(3) == {"prompt": "a" * 39 + "b", "negative_prompt": "red"}


def test_combinations_of_a_request_are_of_all_prompts_and_the_last_changes_fastest(wildcards: Wildcards) -> None:
    request = request_of(prompt="{a|b}", negative_prompt="{c|d}", prompt_2="e", negative_prompt_2="{f|g}")
    assert count_combinations(request, wildcards) == 8
    found = [" ".join(texts.values()) for texts in combinations(request, wildcards)]
    assert found == ["a c e f", "a c e g", "a d e f", "a d e g", "b c e f", "b c e g", "b d e f", "b d e g"]


# Requests


def test_picture_k_of_a_batch_draws_what_its_seed_draws_alone() -> None:
    values = {"prompt": "{a|b|c|d} {e|f|g|h}", "negative_prompt": "{i|j}", "prompt_2": "{k|l}"}
    request = request_of(**values, seed=MAX_SEED - 2, num_images_per_prompt=8)
    draws = draw_prompts(request, EMPTY)
    assert [seed for draw in draws for seed in draw.request.seeds] == [MAX_SEED - 2, MAX_SEED - 1, MAX_SEED, *range(5)]
    for draw in draws:
        assert draw.template == values
        for seed in draw.request.seeds:
            (alone,) = draw_prompts(request_of(**values, seed=seed), EMPTY)
            assert alone.request == draw.request.model_copy(update={"seed": seed, "num_images_per_prompt": 1})


@pytest.mark.parametrize("all_combinations", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        r"__colour__ \{a|b\} {[c|d]|e} {f}",
        "a __{colour|animal}__ fox",
        "a {_|_}_colour__ fox",
        "{_|_}___colour___size__",
        r"{\|\}\__colour__ and {\|\}{\{|\{}a|b}",
        "{{|{}a|b{}|}}",
        "{(|(}{a)|c)} | d ) }",
        "{x|" * (MAX_DEPTH + 3) + "[y|z]" + "}" * (MAX_DEPTH + 3),
    ],
)
def test_what_was_drawn_is_drawn_from_no_more(text: str, all_combinations: bool, wildcards: Wildcards) -> None:
    pictures = 1 if all_combinations else 8
    request = request_of(prompt=text, num_images_per_prompt=pictures, all_combinations=all_combinations)
    for draw in draw_prompts(request, wildcards):
        (again,) = draw_prompts(draw.request, wildcards)
        assert again.request == draw.request
        assert again.template == {}


def test_choices_beyond_the_most_that_are_written_stay_text(wildcards: Wildcards) -> None:
    (draw,) = draw_prompts(request_of(prompt="{a|a}" * (MAX_CHOICES + 2)), wildcards)
    assert draw.request.prompt == "a" * MAX_CHOICES + r"\{a|a\}" * 2
    assert not drawing.holds_choices(draw.request.prompt, wildcards)


@given(text=odd_texts, seed=st.integers(0, MAX_SEED))
@settings(max_examples=150, deadline=None)
def test_odd_text_is_drawn_from_once(text: str, seed: int) -> None:
    drawn = draw_text(text, EMPTY, seed=seed, field="prompt")
    assert draw_text(drawn, EMPTY, seed=seed + 1, field="prompt") == drawn


def test_a_name_that_was_put_together_is_read_as_it_stands(wildcards: Wildcards) -> None:
    drawn = draw_text("a {_|_}_colour__ fox", wildcards, seed=2, field="prompt")
    assert drawn == r"a \__colour\__ fox"
    assert parse(drawn).reading(1, 1).text == "a __colour__ fox"


def test_neighbours_of_equal_text_are_drawn_together() -> None:
    draws = draw_prompts(request_of(prompt="{a|b}", num_images_per_prompt=8), EMPTY)
    one_by_one = [draw_text("{a|b}", EMPTY, seed=seed, field="prompt") for seed in range(7, 15)]
    assert [draw.request.prompt for draw in draws for _ in draw.request.seeds] == one_by_one
    assert all(one.request.prompt != other.request.prompt for one, other in pairwise(draws))
    assert 1 < len(draws) < 8


def test_only_fields_that_held_choices_stand_in_the_template() -> None:
    (draw,) = draw_prompts(request_of(prompt="{a|a}", negative_prompt="plain [a|b]"), EMPTY)
    assert draw.template == {"prompt": "{a|a}"}
    assert draw.request.prompt == "a"


def test_all_combinations_become_one_draw_each_with_the_same_seeds() -> None:
    request = request_of(prompt="{a|b}", negative_prompt="{c|d}", all_combinations=True, num_images_per_prompt=2)
    draws = draw_prompts(request, EMPTY)
    assert [(draw.request.prompt, draw.request.negative_prompt) for draw in draws] == [
        ("a", "c"),
        ("a", "d"),
        ("b", "c"),
        ("b", "d"),
    ]
    for draw in draws:
        assert draw.request.seeds == (7, 8)
        assert not draw.request.all_combinations
        assert draw.template == {"prompt": "{a|b}", "negative_prompt": "{c|d}"}


def test_all_combinations_of_plain_text_are_one() -> None:
    (draw,) = draw_prompts(request_of(prompt="a cat", all_combinations=True, num_images_per_prompt=3), EMPTY)
    assert draw.request == request_of(prompt="a cat", num_images_per_prompt=3)


@pytest.mark.parametrize(
    ("text", "pictures", "message"),
    [
        ("{" + "|".join("abcdefghijklm") + "}", 5, "must make at most 64 pictures, got 65"),
        ("{a|b}" * 7, 1, "must make at most 64 pictures, got 128"),
        ("{|}" * 6000, 8, "must make at most 64 pictures, got 1000000000000000 or more"),
    ],
)
def test_too_many_combinations_are_refused(text: str, pictures: int, message: str) -> None:
    request = request_of(prompt=text, all_combinations=True, num_images_per_prompt=pictures)
    with pytest.raises(InvalidRequest, match=f"^all_combinations {message}$"):
        draw_prompts(request, EMPTY)


def test_as_many_combinations_as_allowed_are_drawn() -> None:
    assert len(draw_prompts(request_of(prompt="{a|b}" * 6, all_combinations=True), EMPTY)) == 64


def test_a_text_that_grows_too_long_is_refused_by_the_name_of_its_field(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("x" * 1_999)
    wildcards = Wildcards(tmp_path)
    short = request_of(negative_prompt="__long__ " * 10)
    assert len(draw_prompts(short, wildcards)[0].request.negative_prompt) == MAX_PROMPT_CHARACTERS
    for all_combinations in (False, True):
        long = request_of(negative_prompt="__long__ " * 10 + "y", all_combinations=all_combinations)
        with pytest.raises(InvalidRequest, match=r"^negative_prompt must have at most 20000 characters once"):
            draw_prompts(long, wildcards)


def test_texts_without_styles_are_the_requests_own() -> None:
    texts = final_texts(request_of(prompt=" a,, ", negative_prompt="b", negative_prompt_2="c"), {})
    assert (texts.prompt, texts.negative_prompt, texts.prompt_2, texts.negative_prompt_2) == (" a,, ", "b", "", "c")
