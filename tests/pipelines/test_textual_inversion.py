"""Textual inversions: as stock diffusers reads them, gone afterwards, refused where they do not fit."""

import copy
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from compel import Compel, ReturnedEmbeddingsType
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from pipelines.components.expert import Expert
from pipelines.prompts.textual_inversion import Inversions
from pipelines.schema.errors import ModelError
from pipelines.schema.paths import PROJECT
from tests.adapter_files import write_embedding
from tests.pipelines.demo_experts import load_demo_experts

DEMO = PROJECT / "models" / "demo"
NAMES = ("easynegative", "bad-hands.v5", "<cat toy>", "style(2)")
Encoded = tuple[torch.Tensor, ...]


@pytest.fixture
def base() -> Iterator[Expert]:
    """The embedded model's base; whatever a test does, encoders and tokenizers are what they were."""
    expert = load_demo_experts()["base"]
    encode(expert, Inversions(expert, ()), "")  # transformers hooks itself into an encoder at its first call
    before = state(expert)
    yield expert
    after = state(expert)
    assert [key for key, value in before.items() if not same(value, after[key])] == []


@pytest.fixture
def file(base: Expert, tmp_path: Path) -> Path:
    return write_embedding(tmp_path / "learnt.safetensors", *widths(base), vectors=3)


def widths(expert: Expert) -> tuple[int, int]:
    assert expert.text_encoder is not None
    return expert.text_encoder.config.hidden_size, expert.text_encoder_2.config.hidden_size


def state(expert: Expert) -> dict[str, object]:
    state: dict[str, object] = {}
    for name in ("text_encoder", "text_encoder_2"):
        encoder = getattr(expert, name)
        state |= {f"{name}.{key}": tensor.clone() for key, tensor in encoder.state_dict().items()}
        state[f"{name} hooks"] = [
            len(module._forward_hooks) + len(module._forward_pre_hooks) for module in encoder.modules()
        ]
    for name in ("tokenizer", "tokenizer_2"):
        state[name] = json.dumps(getattr(expert, name).get_vocab(), sort_keys=True)
    return state


def same(first: object, second: object) -> bool:
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second  # pyright: ignore


@torch.inference_mode()
def encode(expert: Expert, inversions: Inversions, prompt: str) -> Encoded:
    """One tensor of states for each encoder, and the pooled ones."""
    rewritten = inversions.rewrite(prompt)
    compels = [
        Compel(
            tokenizer=tokenizer,
            text_encoder=encoder,
            returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
            truncate_long_prompts=False,
        )
        for tokenizer, encoder in zip(inversions.tokenizers, (expert.text_encoder, expert.text_encoder_2), strict=True)
        if encoder is not None
    ]
    with inversions.active():
        states = [compel.build_conditioning_tensor(rewritten) for compel in compels]
        pooled = compels[-1].conditioning_provider.get_pooled_embeddings([rewritten], device="cpu")
    return *states, pooled  # pyright: ignore


def encode_by_stock(file: Path, prompt: str) -> Encoded:
    """diffusers' loader and encoder, where the inversion is called <learnt>."""
    pipe = StableDiffusionXLPipeline.from_pretrained(DEMO)
    tensors = load_file(file)
    for key, number in (("clip_l", ""), ("clip_g", "_2")):
        pair = {part: getattr(pipe, part + number) for part in ("text_encoder", "tokenizer")}
        pipe.load_textual_inversion(tensors[key], token="<learnt>", **pair)
    with torch.inference_mode():
        embeds, _, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
    width = pipe.text_encoder.config.hidden_size
    return embeds[..., :width], embeds[..., width:], pooled


def largest_difference(first: Encoded, second: Encoded) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_with_the_name_is_read_as_in_stock_diffusers(base: Expert, file: Path, name: str) -> None:
    inversions = Inversions(base, [(name, file)])
    expected = encode_by_stock(file, "a fox <learnt>, by night")
    for spelling in (f"a fox {name}, by night", f"a fox embedding:{name}, by night"):
        assert largest_difference(encode(base, inversions, spelling), expected) <= 1e-6
    plain = Inversions(base, ())
    assert largest_difference(encode(base, plain, "a fox, by night"), expected) > 0.1


def test_one_vector_and_several_inversions_stand_where_their_names_stand(base: Expert, tmp_path: Path) -> None:
    one = write_embedding(tmp_path / "one.safetensors", *widths(base), vectors=1, seed=1)
    three = write_embedding(tmp_path / "three.safetensors", *widths(base), vectors=3, seed=2)
    inversions = Inversions(base, [("one", one), ("three", three)])
    assert inversions.tokenizers[0] is not None
    rewritten = inversions.rewrite("three fox one")
    first = len(base.tokenizer_2)
    ids = inversions.tokenizers[1](rewritten, add_special_tokens=False).input_ids
    fox = base.tokenizer_2("fox", add_special_tokens=False).input_ids
    assert ids == [first + 1, first + 2, first + 3, *fox, first]
    expected = encode_by_stock(one, "a fox <learnt>")
    assert largest_difference(encode(base, inversions, "a fox one"), expected) <= 1e-6


@pytest.mark.parametrize(
    ("weighted", "same_as"),
    [("easynegative++", "(easynegative)1.21"), ("easynegative--", "(easynegative)0.81")],
)
def test_weights_hold_for_all_vectors_of_a_name(base: Expert, file: Path, weighted: str, same_as: str) -> None:
    inversions = Inversions(base, [("easynegative", file)])
    plain = encode(base, inversions, "a fox easynegative by night")
    first, second = (encode(base, inversions, f"a fox {text} by night") for text in (weighted, same_as))
    assert largest_difference(first[:2], second[:2]) <= 1e-4
    assert largest_difference(first[:2], plain[:2]) > 0.01


@pytest.mark.parametrize(
    "prompt",
    ["easynegatives", "myeasynegative", "very-easynegative", "easynegative-ish", "Easynegative", "easy negative"],
)
def test_only_the_whole_word_is_a_name(base: Expert, file: Path, prompt: str) -> None:
    assert Inversions(base, [("easynegative", file)]).rewrite(prompt) == prompt


def test_the_longer_of_two_names_is_read_first(base: Expert, file: Path) -> None:
    inversions = Inversions(base, [("style", file), ("style.v2", file)])
    assert len({inversions.rewrite("style"), inversions.rewrite("style.v2")}) == 2
    assert len(inversions.rewrite("style.v2")) == 3


def test_the_refiner_reads_the_second_tensor_alone(base: Expert, file: Path) -> None:
    refiner = load_demo_experts()["refiner"]
    inversions = Inversions(refiner, [("easynegative", file)])
    assert inversions.tokenizers[0] is None
    states, pooled = encode(refiner, inversions, "a fox easynegative")
    _, expected, expected_pooled = encode(base, Inversions(base, [("easynegative", file)]), "a fox easynegative")
    assert torch.equal(states, expected)
    assert torch.equal(pooled, expected_pooled)


def test_prompts_are_read_as_ever_afterwards_also_after_an_error(base: Expert, file: Path) -> None:
    plain = Inversions(base, ())
    expected = encode(base, plain, "a fox easynegative")
    inversions = Inversions(base, [("easynegative", file)])
    encode(base, inversions, "a fox easynegative")
    with pytest.raises(ZeroDivisionError), inversions.active():
        raise ZeroDivisionError
    assert largest_difference(encode(base, plain, "a fox easynegative"), expected) == 0
    assert plain.tokenizers == (base.tokenizer, base.tokenizer_2)


def test_prompts_without_a_name_are_read_as_ever_meanwhile(base: Expert, file: Path) -> None:
    expected = encode(base, Inversions(base, ()), "a fox by night")
    inversions = Inversions(base, [("easynegative", file)])
    assert largest_difference(encode(base, inversions, "a fox by night"), expected) == 0


def test_an_encoder_that_takes_the_highest_id_for_the_end_still_finds_it(
    base: Expert, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SDXL's own configs say `eos_token_id: 2`, and transformers then pools where the id is highest."""
    inversions = Inversions(base, [("easynegative", file)])
    expected = encode(base, inversions, "a fox easynegative")[-1]
    encoder = getattr(base.text_encoder_2, "text_model", base.text_encoder_2)
    monkeypatch.setattr(encoder, "eos_token_id", 2)
    assert torch.equal(encode(base, inversions, "a fox easynegative")[-1], expected)


def test_vectors_are_read_in_the_encoders_precision(base: Expert, file: Path) -> None:
    half = replace(
        base,
        text_encoder=copy.deepcopy(base.text_encoder).to(torch.bfloat16),  # pyright: ignore
        text_encoder_2=copy.deepcopy(base.text_encoder_2).to(torch.bfloat16),  # pyright: ignore
    )
    encoded = encode(half, Inversions(half, [("easynegative", file)]), "a fox easynegative")
    assert {tensor.dtype for tensor in encoded} == {torch.bfloat16}


def test_no_tokenizer_is_copied_before_it_is_asked_for(
    base: Expert, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[object] = []
    deepcopy = copy.deepcopy
    monkeypatch.setattr(copy, "deepcopy", lambda original, *rest: copied.append(original) or deepcopy(original, *rest))
    inversions = Inversions(base, [("easynegative", file)])
    assert inversions.key
    assert inversions.rewrite("easynegative") != "easynegative"
    assert copied == []
    tokenizers = inversions.tokenizers
    assert base.tokenizer in copied
    copied.clear()
    assert inversions.tokenizers is tokenizers
    plain = Inversions(base, ())
    assert (plain.tokenizers[0] is base.tokenizer, plain.tokenizers[1] is base.tokenizer_2) == (True, True)
    assert copied == []


def test_a_file_that_is_written_anew_is_another_key(base: Expert, file: Path) -> None:
    before = Inversions(base, [("learnt", file)]).key
    assert Inversions(base, [("learnt", file)]).key == before
    written = file.stat().st_mtime_ns
    os.utime(file, ns=(written, written + 1))
    later = Inversions(base, [("learnt", file)]).key
    write_embedding(file, *widths(base), vectors=4)
    os.utime(file, ns=(written, written))
    longer = Inversions(base, [("learnt", file)]).key
    assert len({before, later, longer}) == 3


def test_a_file_that_is_gone_is_refused(base: Expert, file: Path) -> None:
    file.unlink()
    with pytest.raises(ModelError, match=r"learnt\.safetensors could not be read"):
        Inversions(base, [("learnt", file)])


def nan() -> torch.Tensor:
    tensor = torch.zeros(2, 80)
    tensor[1, 3] = float("nan")
    return tensor


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"clip_l": torch.zeros(2, 768)}, r"was made for another model: its clip_l has the shape \(2, 768\)"),
        ({"clip_g": torch.zeros(2, 4, 4)}, r"was made for another model: its clip_g"),
        ({"clip_l": nan()}, r"broken.safetensors: tensor clip_l holds NaN"),
        ({"clip_l": torch.zeros(3, 80)}, r"as many vectors in clip_l as in clip_g"),
        ({"clip_l": torch.zeros(76, 80)}, r"must have 1 to 75 vectors"),
        ({"clip_l": torch.zeros(0, 80)}, r"must have 1 to 75 vectors"),
        ({"emb_params": torch.zeros(2, 768)}, r"is no SDXL textual inversion: it holds clip_g, clip_l, emb_params"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    base: Expert, tmp_path: Path, change: dict[str, torch.Tensor], sentence: str
) -> None:
    path = write_embedding(tmp_path / "broken.safetensors", *widths(base))
    save_file(load_file(path) | change, path)
    with pytest.raises(ModelError, match=sentence):
        Inversions(base, [("broken", path)])


def test_a_file_cut_short_is_refused(base: Expert, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"learnt.safetensors could not be read"):
        Inversions(base, [("learnt", file)])
