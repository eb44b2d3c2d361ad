"""Memory modes change where weights are and never what is computed; the ladder is climbed in order and undone."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from pipelines.components.memory import ACTIVATION_BYTES, Memory, MemoryMode, bytes_of, choose_mode
from pipelines.components.offload import FP8_STORAGE, EnterStage, Stage
from pipelines.schema.paths import PROJECT

CPU = torch.device("cpu")
MODES: tuple[MemoryMode, ...] = ("full", "model", "group", "sequential")
RUNGS = ["vae_tiled", "text_encoders_off", "model_offload", "sequential_offload"]
CLASSES: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
SDXL_BYTES = {"unet": 5_134_927_368, "vae": 167_307_726, "text_encoder": 246_120_960, "text_encoder_2": 1_389_319_680}
"""In float16, the VAE too."""

Parts = dict[str, Any]


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    """As on the device's thread."""
    with torch.inference_mode():
        yield


@pytest.fixture
def parts() -> Parts:
    source = PROJECT / "models" / "demo"
    return {part: kind.from_pretrained(source, subfolder=part).eval() for part, kind in CLASSES.items()}


def place(parts: Parts, mode: Any, device: torch.device = CPU, fp8: bool = False) -> Memory:
    memory = Memory(device, mode, fp8)
    for part, module in parts.items():
        memory.place(part, module, torch.float32)
    return memory


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def call_unet(unet: Any, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    sizes = torch.tensor([[256, 256, 0, 0, 256, 256]] * 2)
    conditions = {"text_embeds": noise(2, 128), "time_ids": sizes}
    return unet(
        noise(2, 4, 8, 8).to(device, dtype),
        torch.tensor(500, device=device),
        encoder_hidden_states=noise(2, 77, 192).to(device, dtype),
        added_cond_kwargs={name: value.to(device, dtype) for name, value in conditions.items()},
        return_dict=False,
    )[0]


def call_all(parts: Parts, device: torch.device = CPU, side: int = 64) -> dict[str, torch.Tensor]:
    """What every part makes of the same inputs, in an order in which each is called after another one."""
    tokens = torch.arange(77, device=device)[None]
    results = {
        "text_encoder": parts["text_encoder"](tokens).last_hidden_state,
        "text_encoder_2": parts["text_encoder_2"](tokens).text_embeds,
        "encoded": parts["vae"].encode(noise(1, 3, side, side).to(device)).latent_dist.mode(),
        "unet": call_unet(parts["unet"], device),
        "decoded": parts["vae"].decode(noise(1, 4, side // 8, side // 8).to(device), return_dict=False)[0],
    }
    assert {str(result.device.type) for result in results.values()} == {device.type}
    return {name: result.cpu() for name, result in results.items()}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert {name: torch.equal(found[name], expected[name]) for name in expected} == dict.fromkeys(expected, True)


def hooks_of(module: nn.Module) -> set[str]:
    """The names of all offloading hooks in the module; other hooks are not of interest here."""
    names = {name for part in module.modules() for name in getattr(getattr(part, "_diffusers_hook", None), "hooks", ())}
    return names | {"stage" for part in module.modules() if isinstance(getattr(part, "_hf_hook", None), EnterStage)}


def psnr(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Decibels, relative to the range of what is expected."""
    return float(
        20 * torch.log10(expected.max() - expected.min()) - 10 * torch.log10((found - expected).square().mean())
    )


class Traveller(nn.Linear):
    """Writes down where it is sent instead of going there, for there is one device only."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.path: list[str] = []
        self.fits = True

    def to(self, *args: Any, **kwargs: Any) -> Any:
        self.path.append(str(args[0]))
        if str(args[0]) != "cpu" and not self.fits:
            raise torch.OutOfMemoryError("planted")
        return self


def test_every_mode_computes_the_same_bits(parts: Parts) -> None:
    expected = call_all(parts)
    for mode in MODES:
        memory = place(parts, mode)
        assert memory.mode == mode
        assert_equal(call_all(parts), expected)
        assert_equal(call_all(parts), expected)
        for module in parts.values():
            memory.release(module)
        assert [hooks_of(module) for module in parts.values()] == [set()] * 4


def test_each_mode_hooks_what_it_says(parts: Parts) -> None:
    expected = {"full": set(), "model": {"stage"}, "group": {"group_offloading"}, "sequential": {"group_offloading"}}
    counts: dict[str, int] = {}
    for mode in MODES:
        memory = place(parts, mode)
        assert {name: hooks_of(module) for name, module in parts.items()} == dict.fromkeys(parts, expected[mode])
        counts[mode] = sum(hasattr(part, "_diffusers_hook") for part in parts["unet"].modules())
        assert parts["vae"].use_tiling == parts["vae"].use_slicing == (mode != "full")
        for module in parts.values():
            memory.release(module)
    assert counts["full"] == counts["model"] == 0 < counts["group"] < counts["sequential"]


def test_whoever_is_called_comes_to_the_device_and_the_last_one_leaves_it() -> None:
    stage = Stage(torch.device("meta"))
    base, refiner, vae = Traveller(), Traveller(), Traveller()
    for module in (base, refiner, base, base, vae, base):
        stage.enter(module)
    assert base.path == ["meta", "cpu", "meta", "cpu", "meta"]
    assert refiner.path == vae.path == ["meta", "cpu"]


def test_a_part_that_does_not_fit_leaves_the_device_at_once_and_may_try_again() -> None:
    stage = Stage(torch.device("meta"))
    small, large = Traveller(), Traveller()
    large.fits = False
    stage.enter(small)
    with pytest.raises(torch.OutOfMemoryError):
        stage.enter(large)
    assert (small.path, large.path) == (["meta", "cpu"], ["meta", "cpu"])
    large.fits = True
    stage.enter(large)
    assert large.path[-1] == "meta"


def test_a_module_that_does_not_fit_is_left_on_the_cpu_and_can_be_placed_after_a_climb() -> None:
    memory = Memory(torch.device("meta"), "full", fp8=False)
    module = Traveller()
    module.fits = False
    with pytest.raises(torch.OutOfMemoryError):
        memory.place("text_encoder", module, torch.float32)
    assert module.path == ["meta", "cpu"]
    assert [memory.climb() for _ in range(3)] == RUNGS[:3]
    memory.place("text_encoder", module, torch.float32)
    assert hooks_of(module) == {"stage"}


def test_the_ladder_is_climbed_in_order_and_computes_the_same_on_every_rung(parts: Parts) -> None:
    memory = place(parts, "full")
    expected = call_all(parts)
    modes = []
    for rung in RUNGS:
        assert memory.climb() == rung
        modes.append(memory.mode)
        assert_equal(call_all(parts), expected)
    assert modes == ["full", "full", "model", "sequential"]
    assert memory.rungs == tuple(RUNGS)
    assert memory.climb() is None
    assert_equal(call_all(parts), expected)


def test_only_the_text_encoders_give_way_on_their_rung(parts: Parts) -> None:
    memory = place(parts, "full")
    memory.climb()
    assert parts["vae"].use_tiling
    assert {name for name, module in parts.items() if hooks_of(module)} == set()
    memory.climb()
    assert {name for name, module in parts.items() if hooks_of(module)} == {"text_encoder", "text_encoder_2"}


def test_what_comes_while_memory_is_short_is_kept_like_the_rest(parts: Parts) -> None:
    late = parts.pop("unet")
    memory = place(parts, "full")
    while memory.mode != "model":
        memory.climb()
    memory.place("unet", late, torch.float32)
    assert hooks_of(late) == {"stage"}
    memory.relax()
    assert hooks_of(late) == set()


def test_after_relaxing_everything_is_as_if_nothing_had_happened(parts: Parts) -> None:
    memory = place(parts, "full")
    expected = call_all(parts, side=136)
    before = parts["vae"].tile_sample_min_size, parts["vae"].tile_latent_min_size
    memory.climb()
    assert not torch.equal(call_all(parts, side=136)["decoded"], expected["decoded"])
    while memory.climb():
        pass
    call_unet(parts["unet"])
    memory.relax()
    assert (memory.mode, memory.rungs) == ("full", ())
    assert [hooks_of(module) for module in parts.values()] == [set()] * 4
    assert (parts["vae"].use_tiling, parts["vae"].use_slicing) == (False, False)
    assert (parts["vae"].tile_sample_min_size, parts["vae"].tile_latent_min_size) == before
    assert_equal(call_all(parts, side=136), expected)
    assert memory.climb() == "vae_tiled"


@pytest.mark.parametrize(
    ("mode", "left"), [("full", RUNGS), ("model", RUNGS[3:]), ("group", RUNGS[3:]), ("sequential", [])]
)
def test_rungs_that_the_mode_includes_are_skipped_and_relaxing_goes_back_to_the_mode(
    mode: MemoryMode, left: list[str]
) -> None:
    memory = Memory(CPU, mode, fp8=False)
    climbed = list(iter(memory.climb, None))
    assert climbed == left
    memory.relax()
    assert memory.mode == mode


@pytest.mark.parametrize("mode", MODES)
def test_a_call_cut_short_by_lack_of_memory_leaves_nothing_behind(parts: Parts, mode: MemoryMode) -> None:
    memory = place(parts, mode)
    expected = call_all(parts)
    layer = parts["unet"].mid_block.attentions[0].transformer_blocks[0].ff

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("planted")

    planted = layer.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        call_unet(parts["unet"])
    planted.remove()
    memory.climb()
    assert_equal(call_all(parts), expected)
    memory.relax()
    assert_equal(call_all(parts), expected)


def test_when_the_old_mode_no_longer_fits_the_climbed_one_stays(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = place(parts, "full")
    expected = call_all(parts)
    while memory.mode != "model":
        memory.climb()
    monkeypatch.setattr(memory, "_arrange", _failing_once(memory._arrange))
    memory.relax()
    assert memory.mode == "model"
    assert [hooks_of(module) for module in parts.values()] == [{"stage"}] * 4
    assert_equal(call_all(parts), expected)
    memory.relax()
    assert memory.mode == "full"


def _failing_once(arrange: Callable[..., None]) -> Callable[..., None]:
    errors = [torch.OutOfMemoryError("planted")]

    def failing(*args: Any) -> None:
        if errors:
            raise errors.pop()
        arrange(*args)

    return failing


def test_a_vae_in_tiles_encodes_and_decodes_nearly_the_same(parts: Parts) -> None:
    vae = parts["vae"]
    memory = place({"vae": vae}, "full")
    squares = noise(1, 3, 8, 8).clamp(-1, 1).repeat_interleave(32, 2).repeat_interleave(32, 3)
    latents = vae.encode(squares).latent_dist.mode()
    pixels = vae.decode(latents).sample
    memory.climb()
    assert vae.tile_sample_min_size == 128
    tiled_latents = vae.encode(squares).latent_dist.mode()
    tiled_pixels = vae.decode(latents).sample
    assert (tiled_latents.shape, tiled_pixels.shape) == (latents.shape, pixels.shape)
    for found, expected in ((tiled_latents, latents), (tiled_pixels, pixels)):
        assert not torch.equal(found, expected)
        assert psnr(found, expected) > 25


def test_the_tiles_of_a_full_size_vae_are_512_pixels() -> None:
    config = {"block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4}
    for native in (512, 1024):
        with init_empty_weights():
            vae = cast(AutoencoderKL, AutoencoderKL.from_config({**config, "sample_size": native}))
        memory = place({"vae": vae}, "full", torch.device("meta"))
        memory.climb()
        assert (vae.tile_sample_min_size, vae.tile_latent_min_size) == (512, 64)
        memory.relax()
        assert (vae.tile_sample_min_size, vae.tile_latent_min_size) == (native, native // 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", MODES)
def test_a_unet_stored_in_8_bits_predicts_nearly_the_same(parts: Parts, mode: MemoryMode, dtype: torch.dtype) -> None:
    unet = parts["unet"]
    expected, before = call_unet(unet), bytes_of(unet)
    if dtype == torch.bfloat16:
        unet.to(dtype)
    memory = Memory(CPU, mode, fp8=True)
    memory.place("unet", unet, dtype)
    layers = unet.mid_block.attentions[0].transformer_blocks[0]
    found = call_unet(unet, dtype=dtype)
    assert found.dtype == dtype
    assert found.isfinite().all()
    assert psnr(found.float(), expected) > 40
    assert layers.ff.net[2].weight.dtype == FP8_STORAGE
    assert {layers.norm1.weight.dtype, unet.conv_in.weight.dtype, unet.time_embedding.linear_1.weight.dtype} == {dtype}
    assert bytes_of(unet) < 0.3 * before
    memory.release(unet)


def test_only_the_unet_is_stored_in_8_bits_and_the_ladder_leaves_its_bits_alone(parts: Parts) -> None:
    memory = place(parts, "full", fp8=True)
    assert {name for name, module in parts.items() if hooks_of(module)} == {"unet"}
    expected = call_all(parts)
    while memory.climb():
        assert_equal(call_all(parts), expected)
    memory.relax()
    assert_equal(call_all(parts), expected)
    assert hooks_of(parts["unet"]) == {"layerwise_casting"}


@pytest.mark.parametrize("fp8", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_lora_put_in_after_placing_counts_in_every_mode_and_leaves_no_trace(
    parts: Parts, mode: MemoryMode, fp8: bool
) -> None:
    unet = parts["unet"]
    memory = Memory(CPU, mode, fp8)
    memory.place("unet", unet, torch.float32)
    plain = call_unet(unet)
    config = LoraConfig(r=2, target_modules=["to_q", "to_out.0", "conv1"], init_lora_weights=False)
    inject_adapter_in_model(config, unet, "style")
    layers: list[Any] = [layer for layer in unet.modules() if isinstance(layer, LoraLayer)]
    for number, layer in enumerate(layers):
        for side in (layer.lora_A["style"], layer.lora_B["style"]):
            side.weight = nn.Parameter(0.1 * noise(*side.weight.shape, seed=number), requires_grad=False)
    memory.refresh(unet)
    assert hooks_of(layers[0].lora_A) == ({"group_offloading"} if mode == "sequential" else set())
    adapted = call_unet(unet)
    assert adapted.isfinite().all()
    assert not torch.equal(adapted, plain)
    assert torch.equal(call_unet(unet), adapted)
    for layer in layers:
        layer.enable_adapters(False)
    assert torch.equal(call_unet(unet), plain)
    memory.release(unet)


def test_a_released_module_is_no_longer_moved_nor_referred_to(parts: Parts) -> None:
    memory = place(parts, "model")
    call_all(parts)
    for module in parts.values():
        memory.release(module)
        memory.release(module)
    memory.climb()
    assert [hooks_of(module) for module in parts.values()] == [set()] * 4
    assert memory._placed == {}
    assert memory._stage._on is None


def test_a_module_is_where_most_of_its_weights_are() -> None:
    module = nn.ModuleList([nn.Linear(100, 100), nn.Linear(1, 1, device="meta")])
    memory = Memory(CPU, "full", fp8=False)
    assert memory.where(module) == CPU
    module[0].to("meta")
    assert memory.where(module) == torch.device("meta")
    assert memory.where(nn.Identity()) == CPU


def test_weights_that_share_memory_are_counted_once() -> None:
    module = nn.ModuleList([nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False), nn.BatchNorm1d(3)])
    assert bytes_of(module) == 2 * 400 + 4 * 3 * 4 + 8
    cast(nn.Linear, module[1]).weight = cast(nn.Linear, module[0]).weight
    assert bytes_of(module) == 400 + 4 * 3 * 4 + 8
    assert bytes_of(module.half()) == 200 + 4 * 3 * 2 + 8
    assert bytes_of(nn.Linear(10, 10, bias=False, device="meta")) == 400


@pytest.mark.parametrize(
    ("free_gb", "fp16", "fp8", "with_refiner"),
    [
        (80, "full", "full", "full"),
        (24, "full", "full", "full"),
        (16, "full", "full", "full"),
        (12, "full", "full", "model"),
        (10, "full", "full", "model"),
        (8, "model", "full", "model"),
        (7, "model", "model", "model"),
        (6, "group", "model", "group"),
        (4, "group", "group", "sequential"),
        (3, "sequential", "group", "sequential"),
        (2, "sequential", "sequential", "sequential"),
    ],
)
def test_the_mode_follows_from_free_memory_and_the_size_of_the_parts(
    free_gb: int, fp16: MemoryMode, fp8: MemoryMode, with_refiner: MemoryMode
) -> None:
    parts = {
        "fp16": SDXL_BYTES,
        "fp8": {**SDXL_BYTES, "unet": SDXL_BYTES["unet"] // 2},
        "with refiner": {**SDXL_BYTES, "refiner unet": 4_519_053_320},
    }
    chosen = {name: choose_mode(free_gb * 10**9, sizes, ACTIVATION_BYTES) for name, sizes in parts.items()}
    assert chosen == {"fp16": fp16, "fp8": fp8, "with refiner": with_refiner}


def test_less_free_memory_never_gives_a_mode_that_needs_more() -> None:
    chosen = [choose_mode(free * 10**8, SDXL_BYTES, ACTIVATION_BYTES) for free in range(0, 200)]
    assert [mode for mode in reversed(MODES) if mode in chosen] == list(dict.fromkeys(chosen))
    assert set(chosen) == set(MODES)


def test_auto_is_full_on_a_cpu_whatever_is_needed(parts: Parts) -> None:
    memory = place(parts, "auto")
    memory.choose({"unet": 10**15})
    assert memory.mode == "full"
    assert [hooks_of(module) for module in parts.values()] == [set()] * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("mode", MODES)
def test_on_a_cuda_device_every_mode_computes_what_full_does(parts: Parts, mode: MemoryMode) -> None:
    device = torch.device("cuda")
    full = place(parts, "full", device)
    expected = call_all(parts, device)
    for module in parts.values():
        full.release(module)
    memory = place(parts, mode, device)
    for _ in range(3):  # diffusers copies ahead from the second call on
        assert_equal(call_all(parts, device), expected)
    waiting = {name: memory.where(module).type for name, module in parts.items()}
    assert (
        waiting
        == {
            "full": dict.fromkeys(parts, "cuda"),
            "model": {**dict.fromkeys(parts, "cpu"), "vae": "cuda"},
            "group": {**dict.fromkeys(parts, "cpu"), "unet": "cuda"},  # the small model is made of convolutions mostly
            "sequential": dict.fromkeys(parts, "cpu"),
        }[mode]
    )
    while memory.climb():
        assert_equal(call_all(parts, device), expected)
    memory.relax()
    assert_equal(call_all(parts, device), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_cuda_device_a_released_model_leaves_no_memory_behind(parts: Parts) -> None:
    device = torch.device("cuda")
    before = torch.cuda.memory_allocated(device)
    memory = place(parts, "group", device)
    call_all(parts, device)
    for part in list(parts):
        memory.release(parts.pop(part))
    memory.free()
    assert torch.cuda.memory_allocated(device) <= before + 10**7  # cuBLAS keeps a workspace
