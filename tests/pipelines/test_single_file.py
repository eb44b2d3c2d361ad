"""Checkpoints in one file load without a network to the very tensors of their diffusers folders; damage is named."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.components.finite import check_finite, is_finite
from pipelines.components.header import read_header
from pipelines.components.kinds import tell_kind
from pipelines.components.single_file import (
    CONFIGS,
    index_of,
    load_single_file_part,
    load_single_file_vae,
    scheduler_config_of,
)
from pipelines.schema.errors import ModelError
from pipelines.schema.models import load_catalogue
from tests.original_layout import (
    Kind,
    has_weights,
    write_configs,
    write_inpainting_folder,
    write_original,
    write_original_vae,
)

DEMO = Path(load_catalogue().checkpoints["demo"].source)
CLASSES: dict[str, Any] = {
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
}
PARTS: list[tuple[Kind, str]] = [
    *(("base", part) for part in CLASSES),
    *(("refiner", part) for part in ("text_encoder_2", "vae", "unet")),
    *(("inpainting", part) for part in CLASSES),
]
UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    inpainting = write_inpainting_folder(DEMO, tmp_path_factory.mktemp("folders") / "inpainting")
    return {"base": DEMO, "refiner": DEMO / "refiner", "inpainting": inpainting}


@pytest.fixture(scope="module")
def files(folders: dict[Kind, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    target = tmp_path_factory.mktemp("files")
    return {kind: write_original(folder, target / f"{kind}.safetensors", kind) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configs(DEMO, tmp_path_factory.mktemp("configs"))


@pytest.fixture
def changed(files: dict[Kind, Path], tmp_path: Path) -> Callable[[Callable[[dict[str, torch.Tensor]], Any]], Path]:
    """Writes the base with its tensors changed."""

    def write(change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
        tensors = load_file(files["base"])
        change(tensors)
        save_file(tensors, tmp_path / "x.safetensors")
        return tmp_path / "x.safetensors"

    return write


def from_folder(folder: Path, part: str) -> torch.nn.Module:
    source = folder if has_weights(folder / part) else folder.parent
    return CLASSES[part].from_pretrained(source / part, dtype=torch.float32)


def assert_same_weights(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    weights, others = found.state_dict(), expected.state_dict()
    assert weights.keys() == others.keys()
    assert [name for name in weights if not torch.equal(weights[name], others[name])] == []
    assert {weight.dtype for weight in weights.values()} == {weight.dtype for weight in others.values()}


@pytest.mark.parametrize("kind", ["base", "refiner", "inpainting"])
def test_a_single_file_is_told_from_its_header(files: dict[Kind, Path], configs: Path, kind: Kind) -> None:
    assert tell_kind(read_header(files[kind])).name == kind
    index = index_of(files[kind], configs)
    assert (index["text_encoder"][0] is None) == (kind == "refiner")
    assert bool(index.get("requires_aesthetics_score", False)) == (kind == "refiner")


@pytest.mark.parametrize(("kind", "part"), PARTS)
def test_both_layouts_load_to_equal_tensors(
    files: dict[Kind, Path], folders: dict[Kind, Path], configs: Path, kind: Kind, part: str
) -> None:
    found = load_single_file_part(part, files[kind], torch.float32, configs)
    expected = from_folder(folders[kind], part)
    assert isinstance(found, type(expected))
    assert_same_weights(found, expected)
    assert not found.training
    assert not any(weight.requires_grad for weight in found.parameters())


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2"])
def test_text_encoders_compute_the_same_from_both_layouts(files: dict[Kind, Path], configs: Path, part: str) -> None:
    tokens = torch.tensor([[1300, 7, 8, 9, 1301]])
    with torch.inference_mode():
        found = load_single_file_part(part, files["base"], torch.float32, configs)(tokens, output_hidden_states=True)
        expected = from_folder(DEMO, part)(tokens, output_hidden_states=True)
    assert torch.equal(found.hidden_states[-2], expected.hidden_states[-2])


@pytest.mark.parametrize("part", ["tokenizer", "tokenizer_2"])
def test_tokenizers_come_from_the_configs(files: dict[Kind, Path], configs: Path, part: str) -> None:
    found = load_single_file_part(part, files["base"], torch.float32, configs)
    expected = CLIPTokenizer.from_pretrained(DEMO / part)
    options: dict[str, Any] = {"padding": "max_length", "truncation": True}
    assert found("a fox, in snow!", **options).input_ids == expected("a fox, in snow!", **options).input_ids
    assert (found.model_max_length, found.pad_token_id) == (77, expected.pad_token_id)


def test_true_sdxl_pads_with_end_of_text_and_with_zero(files: dict[Kind, Path]) -> None:
    first = load_single_file_part("tokenizer", files["base"], torch.float32)
    second = load_single_file_part("tokenizer_2", files["base"], torch.float32)
    assert (len(first), first.pad_token_id, second.pad_token_id) == (49408, 49407, 0)
    assert first("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_the_configs_are_those_of_sdxl() -> None:
    counts = {"base": 2_567_463_684, "refiner": 2_259_526_660}
    for kind, count in counts.items():
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIGS / kind / "unet"))
        assert sum(weight.numel() for weight in unet.parameters()) == count
    for kind, channels in (("base", 4), ("refiner", 4), ("inpainting", 9)):
        assert UNet2DConditionModel.load_config(CONFIGS / kind / "unet")["in_channels"] == channels
        vae = AutoencoderKL.load_config(CONFIGS / kind / "vae")
        assert (vae["scaling_factor"], vae["force_upcast"]) == (0.13025, True)


def test_weights_take_the_precision_asked_for(files: dict[Kind, Path], configs: Path) -> None:
    unet = load_single_file_part("unet", files["base"], torch.bfloat16, configs)
    assert {weight.dtype for weight in unet.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
def test_a_vae_of_its_own_loads_in_the_original_layout(tmp_path: Path, configs: Path, prefix: str) -> None:
    path = write_original_vae(DEMO, tmp_path / "v.safetensors", prefix)
    assert_same_weights(load_single_file_vae(path, torch.float32, configs), from_folder(DEMO, "vae"))


def test_a_vae_of_its_own_loads_in_the_layout_of_diffusers(configs: Path) -> None:
    path = DEMO / "vae" / "diffusion_pytorch_model.safetensors"
    assert_same_weights(load_single_file_vae(path, torch.float32, configs), from_folder(DEMO, "vae"))


def test_a_vae_with_attention_loads_from_every_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4, "layers_per_block": 1}
    vae = AutoencoderKL.from_config({**AutoencoderKL.load_config(CONFIGS / "base" / "vae"), **small})
    vae.save_pretrained(tmp_path / "vae")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base").symlink_to(tmp_path)
    weights = load_file(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    assert "decoder.mid_block.attentions.0.to_q.weight" in weights
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        weights = {key.replace(f".attentions.0.{new}.", f".attentions.0.{old}."): w for key, w in weights.items()}
    save_file(weights, tmp_path / "old.safetensors")
    original = write_original_vae(tmp_path, tmp_path / "original.safetensors")
    assert load_file(original)["decoder.mid.attn_1.q.weight"].shape == (8, 8, 1, 1)
    for path in (original, tmp_path / "old.safetensors"):
        assert_same_weights(load_single_file_vae(path, torch.float32, tmp_path / "configs"), vae)


def test_markers_and_metadata_tell_how_a_checkpoint_predicts(
    changed: Any, files: dict[Kind, Path], configs: Path
) -> None:
    plain = scheduler_config_of(files["base"], configs)
    assert (plain["prediction_type"], plain["timestep_spacing"]) == ("epsilon", "leading")
    path = changed(lambda tensors: tensors.update(v_pred=torch.zeros(0)))
    assert scheduler_config_of(path, configs) == plain | {"prediction_type": "v_prediction"}
    path = changed(lambda tensors: tensors.update(v_pred=torch.zeros(0), ztsnr=torch.zeros(0)))
    assert scheduler_config_of(path, configs) == plain | {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    }
    save_file(load_file(files["base"]), path, metadata={"modelspec.prediction_type": "v"})
    assert scheduler_config_of(path, configs)["prediction_type"] == "v_prediction"


def test_no_socket_is_opened(
    files: dict[Kind, Path], configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"a socket was opened: {arguments}")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for door in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, door, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for kind, part in [*PARTS, ("base", "tokenizer"), ("base", "tokenizer_2"), ("refiner", "tokenizer_2")]:
        load_single_file_part(part, files[kind], torch.float32, configs)
    load_single_file_vae(write_original_vae(DEMO, tmp_path / "v.safetensors"), torch.float32, configs)
    load_single_file_part("tokenizer_2", files["base"], torch.float32)


# Damage


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("part", "key", "name"),
    [
        ("unet", f"{UNET}out.2.weight", "conv_out.weight"),
        ("vae", "first_stage_model.decoder.conv_in.weight", "decoder.conv_in.weight"),
        ("text_encoder_2", "conditioner.embedders.1.model.ln_final.bias", "text_model.final_layer_norm.bias"),
    ],
)
def test_weights_that_are_no_numbers_are_named(
    changed: Any, configs: Path, part: str, key: str, name: str, value: float
) -> None:
    path = changed(lambda tensors: tensors[key].view(-1)[-1:].fill_(value))
    with pytest.raises(ModelError, match=rf"^x\.safetensors: {part} is damaged: {name} holds NaN or infinity$"):
        load_single_file_part(part, path, torch.float32, configs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_one_bad_number_is_found_wherever_it_stands(dtype: torch.dtype) -> None:
    for size in (1, 7, 64, 1000):
        weight = torch.ones(size)
        assert is_finite(weight.to(dtype))
        for position in {0, size // 2, size - 1}:
            broken = weight.clone()
            broken[position] = float("nan")
            assert not is_finite(broken.to(dtype))
    assert is_finite(torch.zeros(0, dtype=dtype))
    assert is_finite(torch.arange(3))


def test_buffers_are_checked_too() -> None:
    norm = torch.nn.BatchNorm1d(2)
    check_finite(norm, "x")
    norm.running_mean.fill_(float("inf"))  # pyright: ignore
    with pytest.raises(ModelError, match=r"^x is damaged: running_mean holds NaN or infinity$"):
        check_finite(norm, "x")


def test_a_missing_tensor_is_named(changed: Any, configs: Path) -> None:
    path = changed(lambda tensors: tensors.pop(f"{UNET}out.2.bias"))
    with pytest.raises(ModelError, match=r"unet is not whole: 1 of its tensors are missing, such as conv_out\.bias$"):
        load_single_file_part("unet", path, torch.float32, configs)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("unet", lambda tensors: tensors.update({f"{UNET}out.2.weight": torch.zeros(4, 9, 3, 3)})),
        ("unet", lambda tensors: tensors.update({f"{UNET}input_blocks.9.0.in_layers.0.weight": torch.zeros(4)})),
        (
            "unet",
            lambda t: [t.pop(f"{UNET}{key}") for key in ("time_embed.0.weight", "label_emb.0.2.bias")],
        ),
        ("vae", lambda tensors: tensors.update({"first_stage_model.decoder.conv_out.weight": torch.zeros(3, 3)})),
        ("text_encoder_2", lambda t: t.pop("conditioner.embedders.1.model.positional_embedding")),
        ("text_encoder", lambda t: t.pop(next(k for k in t if "0.transformer.text_model.encoder.layers.0" in k))),
    ],
)
def test_tensors_that_do_not_fit_are_answered_with_a_sentence(
    changed: Any, configs: Path, part: str, change: Callable[[dict[str, torch.Tensor]], Any]
) -> None:
    with pytest.raises(ModelError, match=rf"^x\.safetensors: {part} (could not be loaded|is not whole)"):
        load_single_file_part(part, changed(change), torch.float32, configs)


def test_a_part_that_the_kind_lacks_is_named(files: dict[Kind, Path], configs: Path) -> None:
    with pytest.raises(ModelError, match=r"is a refiner checkpoint, which has no text_encoder$"):
        load_single_file_part("text_encoder", files["refiner"], torch.float32, configs)


def test_a_file_of_another_kind_is_refused_before_it_is_read(configs: Path, tmp_path: Path) -> None:
    vae = DEMO / "vae" / "diffusion_pytorch_model.safetensors"
    for load in (index_of, scheduler_config_of):
        with pytest.raises(ModelError, match="is an SDXL VAE, not an SDXL checkpoint or"):
            load(vae, configs)
    with pytest.raises(ModelError, match="is an SDXL VAE, not an SDXL checkpoint or"):
        load_single_file_part("unet", vae, torch.float32, configs)
    unet, shards = tmp_path / "unet.safetensors", (DEMO / "refiner" / "unet").glob("*.safetensors")
    save_file({key: tensor for shard in shards for key, tensor in load_file(shard).items()}, unet)
    with pytest.raises(ModelError, match="is a UNet alone, not an SDXL VAE"):
        load_single_file_vae(unet, torch.float32, configs)


def test_a_file_cut_short_is_refused(files: dict[Kind, Path], configs: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(files["base"].read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"^x\.safetensors is no whole safetensors file: it is cut short"):
        load_single_file_part("unet", path, torch.float32, configs)
