"""LoRAs: as stock diffusers computes them, switched without a trace, refused before anything is touched."""

import copy
import gc
import json
import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from pipelines.components.adapters import Adapters
from pipelines.components.expert import Expert
from pipelines.components.kinds import expect_kind
from pipelines.components.lora_file import ADAPTED, layers_of, read_lora
from pipelines.components.memory import Memory
from pipelines.components.unet.model import KeepingUNet
from pipelines.schema.errors import ModelError
from pipelines.schema.models import AddOn
from pipelines.schema.paths import PROJECT
from tests.adapter_files import write_diffusers_lora, write_kohya_lora
from tests.pipelines.demo_experts import load_demo_experts

DEMO = PROJECT / "models" / "demo"
Outputs = tuple[torch.Tensor, ...]


@pytest.fixture
def base() -> Iterator[Expert]:
    """The embedded model's base; whatever a test does, its weights and layers are the same ones afterwards."""
    expert = load_demo_experts()["base"]
    layers, weights = all_layers(expert), all_weights(expert)
    yield expert
    assert all_layers(expert) == layers, "a layer was left replaced"
    assert_same(weights, all_weights(expert))


@pytest.fixture
def adapters() -> Iterator[Adapters]:
    adapters = Adapters()
    yield adapters
    adapters.clear()


@pytest.fixture
def kohya(base: Expert, tmp_path: Path) -> AddOn:
    return lora(write_kohya_lora(tmp_path / "kohya.safetensors", base.unet, base.text_encoder, base.text_encoder_2))


@pytest.fixture
def peft(base: Expert, tmp_path: Path) -> AddOn:
    path = tmp_path / "peft.safetensors"
    return lora(write_diffusers_lora(path, base.unet, base.text_encoder, base.text_encoder_2, rank=3, seed=1))


def lora(path: Path) -> AddOn:
    return AddOn(kind="lora", name=path.stem, title=path.stem.title(), source=str(path))


def local(entry: AddOn) -> Path:
    return Path(entry.source)


def modules_of(expert: Expert) -> dict[str, torch.nn.Module]:
    return {name: module for name, module in expert.modules.items() if name in ADAPTED}


def all_layers(expert: Expert) -> dict[str, tuple[int, type]]:
    return {
        f"{part}.{name}": (id(layer), type(layer))
        for part, module in modules_of(expert).items()
        for name, layer in module.named_modules()
    }


def all_weights(expert: Expert) -> dict[str, torch.Tensor]:
    """Copies of the base weights, by the names they have without adapters."""
    return {
        f"{part}.{name.replace('.base_layer', '')}": tensor.clone()
        for part, module in modules_of(expert).items()
        for name, tensor in module.state_dict().items()
        if ".lora_" not in name
    }


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []


@torch.inference_mode()
def compute(unet: torch.nn.Module, text_encoder: torch.nn.Module | None, text_encoder_2: torch.nn.Module) -> Outputs:
    """What each of the three makes of fixed inputs."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(0, 1300, (1, 77), generator=generator)
    encoders = [encoder for encoder in (text_encoder, text_encoder_2) if encoder is not None]
    texts = [encoder(ids, output_hidden_states=True) for encoder in encoders]
    config = unet.config
    width, pooled = config["cross_attention_dim"], texts[-1][0].shape[-1]  # pyright: ignore
    sizes = (config["projection_class_embeddings_input_dim"] - pooled) // config["addition_time_embed_dim"]  # pyright: ignore
    dtype = next(unet.parameters()).dtype
    added = {
        "text_embeds": torch.randn(1, pooled, generator=generator).to(dtype),
        "time_ids": torch.full((1, sizes), 256, dtype=dtype),
    }
    latents = torch.randn(1, 4, 16, 16, generator=generator).to(dtype)
    states = torch.randn(1, 77, width, generator=generator).to(dtype)
    noise = unet(latents, 500, states, added_cond_kwargs=added).sample
    return noise, *(text.hidden_states[-2] for text in texts), texts[-1][0]


def computed(expert: Expert) -> Outputs:
    return compute(expert.unet, expert.text_encoder, expert.text_encoder_2)


def stock_computed(*loras: tuple[AddOn, float]) -> Outputs:
    """The same by diffusers' own loader on a copy of the model."""
    pipe = StableDiffusionXLPipeline.from_pretrained(DEMO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft remarks on every second adapter
        for entry, _ in loras:
            pipe.load_lora_weights(entry.source, adapter_name=entry.name)
    pipe.set_adapters([entry.name for entry, _ in loras], [weight for _, weight in loras])
    return compute(pipe.unet, pipe.text_encoder, pipe.text_encoder_2)


def equal(first: Outputs, second: Outputs) -> bool:
    return all(map(torch.equal, first, second))


def largest_difference(first: Outputs, second: Outputs) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


def rewritten(entry: AddOn, change: Callable[[dict[str, torch.Tensor]], None], **metadata: str) -> AddOn:
    """A LoRA's file with other tensors."""
    tensors = load_file(entry.source)
    change(tensors)
    path = Path(entry.source).with_name("changed.safetensors")
    save_file(tensors, path, metadata=metadata)
    return lora(path)


def a_key(tensors: dict[str, torch.Tensor], part: str) -> str:
    return next(key for key in tensors if part in key)


# what they compute


@pytest.mark.parametrize("weight", [1.0, -0.4])
def test_a_kohya_lora_computes_as_in_stock_diffusers(
    base: Expert, adapters: Adapters, kohya: AddOn, weight: float
) -> None:
    plain = computed(base)
    adapters.switch_to(base, [(kohya, weight)], local)
    outputs = computed(base)
    assert largest_difference(outputs, stock_computed((kohya, weight))) <= 1e-6
    assert all(largest_difference((one,), (other,)) > 1e-3 for one, other in zip(outputs, plain, strict=True))


def test_two_loras_of_both_layouts_compute_as_in_stock_diffusers(
    base: Expert, adapters: Adapters, kohya: AddOn, peft: AddOn
) -> None:
    loras = [(kohya, 0.7), (peft, -0.4)]
    adapters.switch_to(base, loras, local)
    assert largest_difference(computed(base), stock_computed(*loras)) <= 1e-6


def test_convolutions_ranks_and_alphas_of_their_own_compute_as_merged_weights(
    base: Expert, adapters: Adapters, tmp_path: Path
) -> None:
    """LoCon files change any layer, each with a rank and an alpha of its own."""
    generator = torch.Generator().manual_seed(3)
    tensors: dict[str, torch.Tensor] = {}
    merged = copy.deepcopy(base.unet)
    with torch.no_grad():
        for position, (name, layer) in enumerate(layers_of(merged)):
            rank, alpha = 1 + position % 5, 0.5 + position % 3
            down = 0.1 * torch.randn(rank, *layer.weight.shape[1:], generator=generator)
            up = 0.1 * torch.randn(layer.weight.shape[0], rank, *(1,) * (layer.weight.dim() - 2), generator=generator)
            stem = f"lora_unet_{name.replace('.', '_')}"
            if "add_embedding" in stem:  # kohya's names for it, as diffusers knows no other
                stem = f"lora_unet_label_emb_0_{0 if stem.endswith('1') else 2}"
            tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
            layer.weight += (up.flatten(1) @ down.flatten(1)).view_as(layer.weight) * alpha / rank
    save_file(tensors, tmp_path / "locon.safetensors")
    adapters.switch_to(base, [(lora(tmp_path / "locon.safetensors"), 1.0)], local)
    expected = compute(merged, base.text_encoder, base.text_encoder_2)
    assert largest_difference(computed(base)[:1], expected[:1]) <= 2e-5


def test_the_alpha_in_the_header_of_a_diffusers_file_counts(base: Expert, adapters: Adapters, peft: AddOn) -> None:
    settings = {"unet.r": 3, "unet.lora_alpha": 6, "unet.megatron_core": "os", "unet.init_lora_weights": "pissa"}
    doubled = rewritten(peft, lambda tensors: None, lora_adapter_metadata=json.dumps(settings))
    adapters.switch_to(base, [(peft, 2.0)], local)
    expected = computed(base)[0]
    adapters.switch_to(base, [(doubled, 1.0)], local)
    assert torch.equal(computed(base)[0], expected)


def in_processor(key: str) -> str:
    """A name that ends in down or up, as older versions of diffusers wrote it."""
    if ".attn" not in key:
        return re.sub(r"\.(down|up)\.weight", r".lora.\1.weight", key)
    return re.sub(r"\.to_(q|k|v|out)(\.0)?\.(down|up)", r".processor.to_\1_lora.\3", key)


@pytest.mark.parametrize(
    "layout",
    [
        lambda key: key.removeprefix("unet."),
        lambda key: key.replace("unet.", "base_model.model.", 1),
        lambda key: key.replace(".weight", ".default.weight"),
        lambda key: key.replace("lora_A", "lora.down").replace("lora_B", "lora.up"),
        lambda key: in_processor(key.replace("lora_A", "down").replace("lora_B", "up")),
    ],
)
def test_every_layout_that_is_told_as_a_lora_is_read_as_one(
    base: Expert, tmp_path: Path, layout: Callable[[str], str]
) -> None:
    path = write_diffusers_lora(tmp_path / "unet.safetensors", base.unet)
    expected = read_lora(path, base)["unet"]
    save_file({layout(key): tensor for key, tensor in load_file(path).items()}, tmp_path / "other.safetensors")
    assert expect_kind(tmp_path / "other.safetensors", "lora").name == "lora"
    found = read_lora(tmp_path / "other.safetensors", base)["unet"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name].up, layer.up) for name, layer in expected.items())
    assert all(torch.equal(found[name].down, layer.down) for name, layer in expected.items())


def test_a_lora_of_weight_0_is_as_good_as_none(base: Expert, adapters: Adapters, kohya: AddOn) -> None:
    plain = computed(base)
    adapters.switch_to(base, [(kohya, 0.0)], local)
    assert equal(computed(base), plain)
    adapters.switch_to(base, [(kohya, 1.0)], local)
    adapters.switch_to(base, [(kohya, 0.0)], local)
    assert equal(computed(base), plain)


def test_a_lora_is_kept_in_the_experts_precision(base: Expert, adapters: Adapters, kohya: AddOn) -> None:
    half = replace(base, unet=copy.deepcopy(base.unet).to(torch.bfloat16), dtype=torch.bfloat16)
    half = replace(half, text_encoder=None, text_encoder_2=copy.deepcopy(base.text_encoder_2).to(torch.bfloat16))
    adapters.switch_to(half, [(kohya, 1.0)], local)
    assert {tensor.dtype for tensor in half.unet.parameters()} == {torch.bfloat16}
    assert computed(half)[0].isfinite().all()
    assert adapters.loaded()[0].dtype == "bfloat16"


# switching


def test_without_loras_everything_computes_bit_for_bit_as_before_the_first(
    base: Expert, adapters: Adapters, kohya: AddOn, peft: AddOn
) -> None:
    plain, weights = computed(base), all_weights(base)
    adapters.switch_to(base, [(kohya, 1.0), (peft, 0.5)], local)
    assert not equal(computed(base), plain)
    assert_same(weights, all_weights(base))
    adapters.switch_to(base, (), local)
    assert equal(computed(base), plain)


def test_switching_between_loras_reads_no_file_again(
    base: Expert, adapters: Adapters, kohya: AddOn, peft: AddOn
) -> None:
    sets = [[(kohya, 1.0)], [(peft, 0.5)], [(kohya, 0.3), (peft, 1.0)], []]
    before = []
    for loras in sets:
        adapters.switch_to(base, loras, local)
        before.append(computed(base))
    for entry in (kohya, peft):
        Path(entry.source).unlink()
    for position in (2, 0, 3, 1, 0):
        adapters.switch_to(base, sets[position], local)
        assert equal(computed(base), before[position])


def test_the_shared_encoder_is_clean_when_the_refiner_comes(base: Expert, adapters: Adapters, kohya: AddOn) -> None:
    refiner = load_demo_experts()["refiner"]
    plain = computed(refiner)
    adapters.switch_to(base, [(kohya, 1.0)], local)
    assert not equal(computed(refiner)[1:], plain[1:])
    adapters.switch_to(refiner, (), local)
    assert equal(computed(refiner), plain)
    adapters.switch_to(base, [(kohya, 1.0)], local)
    assert not equal(computed(refiner)[1:], plain[1:])


def test_a_second_checkpoint_with_the_same_encoders_gets_the_lora_in_its_unet(
    base: Expert, adapters: Adapters, kohya: AddOn
) -> None:
    other = replace(base, unet=copy.deepcopy(base.unet))
    adapters.switch_to(base, [(kohya, 1.0)], local)
    expected = computed(base)
    adapters.switch_to(other, [(kohya, 1.0)], local)
    assert equal(computed(other), expected)


def test_clear_gives_back_the_very_same_layers(base: Expert, adapters: Adapters, kohya: AddOn, peft: AddOn) -> None:
    layers = all_layers(base)
    adapters.switch_to(base, [(kohya, 1.0), (peft, 1.0)], local)
    assert all_layers(base) != layers
    adapters.clear()
    assert all_layers(base) == layers
    assert adapters.loaded() == ()


def test_a_forgotten_module_can_be_freed(base: Expert, adapters: Adapters, kohya: AddOn) -> None:
    other = replace(base, unet=copy.deepcopy(base.unet))
    adapters.switch_to(other, [(kohya, 1.0)], local)
    unet = weakref.ref(other.unet)
    adapters.forget([other.unet])
    del other
    gc.collect()
    assert unet() is None


# memory


def test_loras_nobody_counts_are_dropped_when_they_are_too_many(base: Expert, kohya: AddOn, peft: AddOn) -> None:
    adapters = Adapters(max_bytes=0)
    adapters.switch_to(base, [(kohya, 1.0)], local)
    expected = computed(base)
    assert [part.source for part in adapters.loaded()] == ["Kohya"]
    adapters.switch_to(base, [(peft, 1.0)], local)
    assert [part.source for part in adapters.loaded()] == ["Peft"]
    adapters.switch_to(base, [(kohya, 1.0)], local)
    assert equal(computed(base), expected)
    adapters.switch_to(base, (), local)
    assert adapters.loaded() == ()


def test_what_is_loaded_is_counted_once_with_its_bytes(base: Expert, adapters: Adapters, kohya: AddOn) -> None:
    adapters.switch_to(base, [(kohya, 1.0)], local)
    tensors = load_file(kohya.source)
    expected = sum(tensor.numel() * 4 for name, tensor in tensors.items() if not name.endswith("alpha"))
    (part,) = adapters.loaded()
    assert (part.name, part.source, part.component_bytes, part.device) == ("lora", "Kohya", expected, "cpu")


@pytest.mark.parametrize("mode", ["full", "model", "group", "sequential"])
def test_loras_come_and_go_in_every_memory_mode(base: Expert, kohya: AddOn, mode: str) -> None:
    expert = replace(base, **{name: copy.deepcopy(module) for name, module in modules_of(base).items()})
    plain = computed(expert)
    reference = Adapters()
    reference.switch_to(base, [(kohya, 1.0)], local)
    expected = computed(base)
    reference.clear()
    memory = Memory(torch.device("cpu"), mode, fp8=False)  # pyright: ignore
    for name, module in modules_of(expert).items():
        memory.place(name, module, torch.float32)
    adapters = Adapters(refresh=memory.refresh)
    for _ in range(2):
        adapters.switch_to(expert, [(kohya, 1.0)], local)
        assert equal(computed(expert), expected)
        adapters.clear()
        assert equal(computed(expert), plain)


# what is refused


def poison(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[a_key(tensors, "lora_te2_text_model_encoder_layers_1_self_attn_q_proj.lora_up")][3, 1] = value

    return change


def widen(tensors: dict[str, torch.Tensor]) -> None:
    key = a_key(tensors, "attn2_to_k.lora_down")
    tensors[key] = torch.zeros(tensors[key].shape[0], 768)


def unpair(tensors: dict[str, torch.Tensor]) -> None:
    key = a_key(tensors, "attn1_to_q.lora_up")
    tensors[key] = torch.zeros(tensors[key].shape[0], 2)


def rename(tensors: dict[str, torch.Tensor]) -> None:
    for key in list(tensors):
        tensors[key.replace("lora_unet_", "lora_transformer_").replace("lora_te", "lora_t5")] = tensors.pop(key)


def misplace(tensors: dict[str, torch.Tensor]) -> None:
    for key in list(tensors):
        tensors[key.replace("_attn", "_sattn").replace("_ff_", "_gg_").replace("_proj_", "_prow_")] = tensors.pop(key)
    for key in [key for key in tensors if "_te" in key or "proj_" in key]:
        del tensors[key]


def set_alpha(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[a_key(tensors, "attn2_to_k.alpha")] = torch.tensor(value)

    return change


def add(key: str) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.update({key: torch.zeros(1)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (poison(float("nan")), r"changed.safetensors: tensor lora_te2_\w+q_proj.lora_up.weight holds NaN"),
        (poison(float("inf")), r"changed.safetensors: tensor lora_te2_\w+q_proj.lora_up.weight holds infinity"),
        (widen, r"changed.safetensors was made for another model: .*attn2.to_k .*768"),
        (unpair, r"changed.safetensors was made for another model: .*attn1.to_q "),
        (rename, r"changed.safetensors holds nothing for an SDXL base"),
        (misplace, r"changed.safetensors holds nothing for an SDXL base"),
        (set_alpha(1.1e6), r"changed.safetensors: the alpha of \S+attn2.to_k must be a number up to 1e\+06 and not 0"),
        (set_alpha(0.0), r"changed.safetensors: the alpha of \S+attn2.to_k must be .*, got 0$"),
        (set_alpha(float("nan")), r"changed.safetensors: tensor \S+attn2_to_k.alpha holds NaN"),
        (add("lora_unet_mid_block_attentions_0_proj_in.dora_scale"), "is a DoRA"),
        (add("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"), "is a LoHa"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused_and_leaves_no_trace(
    base: Expert,
    adapters: Adapters,
    kohya: AddOn,
    peft: AddOn,
    change: Callable[[dict[str, torch.Tensor]], None],
    sentence: str,
) -> None:
    broken = rewritten(kohya, change)
    adapters.switch_to(base, [(peft, 0.5)], local)
    outputs, layers, loaded = computed(base), all_layers(base), adapters.loaded()
    with pytest.raises(ModelError, match=sentence):
        adapters.switch_to(base, [(peft, 1.0), (broken, 1.0)], local)
    assert equal(computed(base), outputs)
    assert all_layers(base) == layers
    assert adapters.loaded() == loaded


@pytest.mark.parametrize("alpha", ["NaN", "-Infinity", '"inf"', "1e7", "0", "1" + "0" * 400])
def test_an_alpha_in_the_header_that_is_no_measure_is_refused(
    base: Expert, adapters: Adapters, peft: AddOn, alpha: str
) -> None:
    for settings in (f'{{"unet.lora_alpha": {alpha}}}', f'{{"unet.alpha_pattern": {{"to_q": {alpha}}}}}'):
        broken = rewritten(peft, lambda tensors: None, lora_adapter_metadata=settings)
        with pytest.raises(ModelError, match=r"changed.safetensors: the alpha of unet\.\S+ must be a number up to"):
            adapters.switch_to(base, [(broken, 1.0)], local)


@pytest.mark.parametrize("settings", ["[" * 100_000, "no JSON", "[1]", '{"unet.lora_alpha": [1]}'])
def test_a_header_that_says_nothing_of_alphas_leaves_them_at_the_rank(base: Expert, peft: AddOn, settings: str) -> None:
    odd = rewritten(peft, lambda tensors: None, lora_adapter_metadata=settings)
    layers = read_lora(Path(odd.source), base)["unet"]
    assert {layer.alpha for layer in layers.values()} == {3.0}


def test_a_file_cut_short_is_refused(base: Expert, adapters: Adapters, kohya: AddOn) -> None:
    path = Path(kohya.source)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"kohya.safetensors could not be read"):
        adapters.switch_to(base, [(kohya, 1.0)], local)


def test_values_beyond_the_precision_are_refused(base: Expert, adapters: Adapters, kohya: AddOn) -> None:
    huge = rewritten(kohya, poison(1e6))
    with pytest.raises(ModelError, match=r"too large for float16"):
        adapters.switch_to(replace(base, dtype=torch.float16), [(huge, 1.0)], local)


def test_layers_that_the_model_does_not_have_are_left_out(
    base: Expert, adapters: Adapters, kohya: AddOn, caplog: pytest.LogCaptureFixture
) -> None:
    def add_stranger(tensors: dict[str, torch.Tensor]) -> None:
        stem = "lora_unet_down_blocks_9_attentions_0_proj_in"
        tensors |= {f"{stem}.lora_down.weight": torch.zeros(4, 8), f"{stem}.lora_up.weight": torch.zeros(8, 4)}

    adapters.switch_to(base, [(kohya, 1.0)], local)
    expected = computed(base)
    # a file that mixes both ways to name blocks loses the original ones in diffusers' hands: use one way
    adapters.switch_to(base, [(rewritten_text_only(kohya, add_stranger), 1.0)], local)
    assert equal(computed(base)[1:], expected[1:])
    assert "1 layers have no place" in caplog.text


def rewritten_text_only(entry: AddOn, change: Callable[[dict[str, torch.Tensor]], None]) -> AddOn:
    def keep_text(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if key.startswith("lora_unet_")]:
            del tensors[key]
        change(tensors)

    return rewritten(entry, keep_text)


@pytest.mark.parametrize("failing_call", [1, 2, 3])
def test_an_injection_that_fails_half_way_is_rolled_back(
    base: Expert, kohya: AddOn, peft: AddOn, failing_call: int
) -> None:
    calls: list[torch.nn.Module] = []

    def refresh(module: torch.nn.Module) -> None:
        calls.append(module)
        if len(calls) == failing_call + 3:  # the first LoRA made three calls
            raise torch.OutOfMemoryError("planted")

    adapters = Adapters(refresh=refresh)
    adapters.switch_to(base, [(kohya, 0.5)], local)
    outputs, layers = computed(base), all_layers(base)
    with pytest.raises(torch.OutOfMemoryError):
        adapters.switch_to(base, [(peft, 1.0)], local)
    assert equal(computed(base), outputs)
    assert all_layers(base) == layers
    assert [part.source for part in adapters.loaded()] == ["Kohya"]
    adapters.clear()


def test_a_lora_that_came_with_a_failing_one_does_not_count(
    base: Expert, adapters: Adapters, kohya: AddOn, tmp_path: Path
) -> None:
    failing = lora(write_diffusers_lora(tmp_path / "failing.safetensors", base.unet))
    adapters.switch_to(base, [(failing, 0.5)], local)
    expected = computed(base)
    other = replace(base, unet=KeepingUNet.from_config(base.unet.config).eval())
    Path(failing.source).unlink()  # the encoders are done with it, the other UNet would need it
    with pytest.raises(ModelError, match=r"failing.safetensors could not be read"):
        adapters.switch_to(other, [(kohya, 1.0), (failing, 0.5)], local)
    assert equal(computed(base), expected)


def test_the_memory_hears_of_every_module_whose_layers_came_or_went(base: Expert, kohya: AddOn, peft: AddOn) -> None:
    heard: list[torch.nn.Module] = []
    adapters = Adapters(refresh=heard.append)
    modules = list(modules_of(base).values())
    for change in (
        lambda: adapters.switch_to(base, [(kohya, 1.0)], local),
        lambda: adapters.switch_to(base, [(peft, 1.0)], local),
        adapters.clear,
    ):
        heard.clear()
        change()
        assert sorted(map(id, heard)) == sorted(map(id, modules))
    adapters.switch_to(base, (), local)
    assert len(heard) == len(modules)
