"""Prompts that change on the way say the right thing at each step, to both experts, and cost nobody else anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipelines.components.expert import Expert
from pipelines.diffusion.conditioning import Conditioning
from pipelines.diffusion.run import Run
from pipelines.schema.errors import InvalidRequest
from pipelines.schema.requests import ImageToImageRequest, RefineRequest, TextToImageRequest
from tests.pipelines.demo_experts import load_demo_experts, make_condition, prepare_run

EDIT = "a fox on a [red:blue:0.5] background"
RED, BLUE = "a fox on a red background", "a fox on a blue background"
SMALL = {"width": 64, "height": 64, "seed": 1, "negative_prompt": "blurry"}


def condition(expert: str = "base", **values: Any) -> Conditioning:
    request = TextToImageRequest(**{**SMALL, "num_inference_steps": 8, **values})
    return make_condition(request, load_demo_experts())(expert)[1]


def said(told: Conditioning, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = told.told(step=step)
    return rows["encoder_hidden_states"], rows["added_cond_kwargs"]["text_embeds"]


def says(told: Conditioning, steps: int, **plain: str) -> list[str]:
    """Which of the plain prompts is said at each step, exactly."""
    prompts = {name: condition(prompt=prompt) for name, prompt in plain.items()}

    def find(step: int) -> str:
        embeds, pooled = said(told, step)
        same = [
            name
            for name, other in prompts.items()
            if torch.equal(embeds, said(other, 1)[0]) and torch.equal(pooled, said(other, 1)[1])
        ]
        return same[0] if same else "?"

    return [find(step) for step in range(1, steps + 1)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (EDIT, "rrrrbbbb"),
        ("a fox on a [red:blue:2] background", "rrbbbbbb"),
        ("a fox on a [red|blue] background", "rbrbrbrb"),
        ("a fox on a [red|blue|] background", "rb-rb-rb"),
        ("a fox on a [red::3] background", "rrr-----"),
        ("a fox on a [blue:0.25] background", "--bbbbbb"),
        ("a fox on a [[red|]:blue:4] background", "r-r-bbbb"),
        ("a fox on a [red:blue:0] background", "bbbbbbbb"),
        ("a fox on a [red:blue:99] background", "rrrrrrrr"),
    ],
)
def test_each_step_says_what_the_plain_prompt_would(prompt: str, expected: str) -> None:
    plain = {"r": RED, "b": BLUE, "-": "a fox on a  background"}
    assert "".join(says(condition(prompt=prompt), 8, **plain)) == expected


def test_weights_around_and_in_an_edit_are_those_of_the_plain_prompt() -> None:
    told = condition(prompt="a (fox on a [(red:1.5):blue:0.5]:1.2) background")
    before, after = "a (fox on a (red:1.5):1.2) background", "a (fox on a blue:1.2) background"
    assert says(told, 8, before=before, after=after) == ["before"] * 4 + ["after"] * 4


def test_the_negative_prompt_and_the_second_encoders_change_by_themselves() -> None:
    told = condition(prompt="a fox", prompt_2="a [cat:dog:0.25]", negative_prompt="[red:blue:0.75]")
    plain = {
        (cat, red): condition(prompt="a fox", prompt_2=f"a {cat}", negative_prompt=red)
        for cat in ("cat", "dog")
        for red in ("red", "blue")
    }
    expected = [("cat", "red")] * 2 + [("dog", "red")] * 4 + [("dog", "blue")] * 2
    assert len(told.stages) == 3
    for step, names in enumerate(expected, 1):
        assert torch.equal(said(told, step)[0], said(plain[names], 1)[0])


@pytest.mark.parametrize("schedule", ["[red::0.5]", "[:red:0.5]", "[red|]"])
def test_a_second_prompt_that_is_silent_for_a_while_is_not_the_first_meanwhile(schedule: str) -> None:
    told = condition(prompt="a fox", prompt_2=schedule)
    red, nothing = (condition(prompt=text).stages[0].text_embeds[1] for text in ("red", ""))
    said = {"[red::0.5]": [red, nothing], "[:red:0.5]": [nothing, red], "[red|]": [red, nothing] * 4}[schedule]
    assert all(torch.equal(stage.text_embeds[1], text) for stage, text in zip(told.stages, said, strict=True))
    fox = condition(prompt="a fox", prompt_2="red").stages[0].prompt_embeds
    width = load_demo_experts()["base"].text_encoder.config.hidden_size  # pyright: ignore[reportOptionalMemberAccess]
    assert all(torch.equal(stage.prompt_embeds[1, :, :width], fox[1, :, :width]) for stage in told.stages)


def test_stages_of_other_lengths_are_padded_for_themselves() -> None:
    told = condition(prompt="a fox [:" + "by night, " * 40 + ":0.5]")
    assert [stage.prompt_embeds.shape[1] for stage in told.stages] == [77, 154]


def test_a_prompt_that_stays_the_same_is_encoded_once() -> None:
    assert len(condition(prompt=RED).stages) == 1
    assert len(condition(prompt="a fox on a [red] background").stages) == 1


def test_equal_stages_are_encoded_once_however_often_they_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder: Any = load_demo_experts()["base"].text_encoder
    calls: list[int] = []
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *a, **k: (calls.append(1), forward(*a, **k))[1])
    told = condition(prompt="a [red|blue] fox", num_inference_steps=50)
    assert len(told.stages) == 50
    assert len(calls) == 3  # red, blue and the negative prompt


@pytest.mark.parametrize(
    ("prompt", "rule"),
    [
        ("[fox|" + "a cat by night, " * 500 + "]", "must have fewer or shorter stages: 2 of "),
        ("[" + "|".join(f"{number} fox {'(cat:0.9) ' * 30}" for number in range(20)) + "]", "must take the text enco"),
    ],
)
def test_stages_that_would_hold_up_everybody_are_refused(
    prompt: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.prompts.limits.MAX_STAGE_CHUNKS", 60)
    with pytest.raises(InvalidRequest, match=rule) as caught:
        condition(prompt=prompt, prompt_weighting="compel", num_inference_steps=20)
    assert caught.value.field == "prompt"


# Steps of a run


@contextmanager
def listening(expert: Expert, heard: list[torch.Tensor]) -> Iterator[None]:
    """Notes what an expert's UNet is told at each call."""

    def note(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        heard.append(kwargs["rows"].arguments["encoder_hidden_states"])

    hook = expert.unet.register_forward_pre_hook(note, with_kwargs=True)
    yield
    hook.remove()


@torch.inference_mode()
def hear(run: Run) -> list[tuple[str, torch.Tensor]]:
    """The expert of each step, and what it was told."""
    steps: list[tuple[str, torch.Tensor]] = []
    while not run.is_done:
        heard: list[torch.Tensor] = []
        with listening(run.locate()[0].expert, heard):
            name = run.advance()
        steps.append((name, heard[0]))
    return steps


def tell(steps: list[tuple[str, torch.Tensor]]) -> str:
    """R or B for the base's steps that say red or blue, r or b for the refiner's."""
    plain = {
        (expert, letter): said(condition(expert, prompt=prompt), 1)[0]
        for expert in ("base", "refiner")
        for letter, prompt in (("r", RED), ("b", BLUE))
    }
    letters = ""
    for expert, states in steps:
        letter = "r" if torch.equal(states, plain[expert, "r"]) else "b"
        assert torch.equal(states, plain[expert, letter])
        letters += letter.upper() if expert == "base" else letter
    return letters


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.new("RGB", (64, 64), (60, 110, 220)).save(path)
    return path


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "RRRBBB"),
        ({"denoising_end": 0.5}, "RRrbbb"),
        ({"denoising_end": 0.3}, "Rrrbbb"),
        ({"denoising_end": 0.8}, "RRRBbb"),
        ({"scheduler": "heun"}, "RRRRRBBBBBB"),
    ],
)
def test_steps_are_counted_over_both_experts(values: dict[str, Any], expected: str) -> None:
    request = TextToImageRequest(prompt=EDIT, num_inference_steps=6, **SMALL, **values)
    assert tell(hear(prepare_run(request))) == expected


@pytest.mark.parametrize(
    ("strength", "prompt", "expected"),
    [
        (0.5, EDIT, "RRR"),
        (0.5, "a fox on a [red:blue:2] background", "RRB"),
        (1.0, EDIT, "RRRBBB"),
        (0.84, EDIT, "RRRBB"),
    ],
)
def test_with_strength_the_first_step_taken_is_the_first_of_the_whole_number(
    picture: Path, strength: float, prompt: str, expected: str
) -> None:
    request = ImageToImageRequest(image=picture, prompt=prompt, num_inference_steps=6, strength=strength, **SMALL)
    assert tell(hear(prepare_run(request))) == expected


def test_a_pass_of_the_refiner_alone_is_counted_likewise(picture: Path) -> None:
    values = {"prompt": "a fox on a [red:blue:1] background", "num_inference_steps": 6, "strength": 0.34}
    assert tell(hear(prepare_run(RefineRequest(image=picture, **SMALL, **values)))) == "rb"
