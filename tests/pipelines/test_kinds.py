"""What a file holds is told from names and shapes alone: SDXL's kinds, and everything else by its own name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.components.header import Header, Tensor
from pipelines.components.kinds import MAX_LORA_RANK, Kind, KindName, check_shapes, expect_kind, tell_kind
from pipelines.schema.errors import ModelError

Shapes = dict[str, tuple[int, ...]]

UNET = "model.diffusion_model."
SDXL_UNET: Shapes = {
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{UNET}label_emb.0.0.weight": (1280, 2816),
}
CLIP_L: Shapes = {"conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": (77, 768)}
CLIP_G: Shapes = {"conditioner.embedders.1.model.positional_embedding": (77, 1280)}
REFINER_CLIP_G: Shapes = {"conditioner.embedders.0.model.positional_embedding": (77, 1280)}
BARE_VAE: Shapes = {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, 4, 3, 3)}
VAE: Shapes = {f"first_stage_model.{key}": shape for key, shape in BARE_VAE.items()}
BASE: Shapes = {**SDXL_UNET, **CLIP_L, **CLIP_G, **VAE}
INPUT = f"{UNET}input_blocks.0.0.weight"
SD15: Shapes = {
    INPUT: (320, 4, 3, 3),
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    **VAE,
}
SD2: Shapes = {INPUT: (320, 4, 3, 3), "cond_stage_model.model.positional_embedding": (77, 1024), **VAE}


def pair(module: str, width: int = 640, rank: int = 4, style: str = "kohya") -> Shapes:
    down, up = {
        "kohya": ("lora_down", "lora_up"),
        "peft": ("lora_A", "lora_B"),
        "old": ("lora.down", "lora.up"),
    }[style]
    return {f"{module}.{down}.weight": (rank, width), f"{module}.{up}.weight": (640, rank)}


def header(shapes: Shapes, dtype: str = "F16") -> Header:
    return Header("x.safetensors", {key: Tensor(dtype, shape) for key, shape in shapes.items()}, {})


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (BASE, "base"),
        ({**BASE, "v_pred": (0,)}, "base"),
        ({**SDXL_UNET, **REFINER_CLIP_G, **VAE}, "refiner"),
        ({**BASE, INPUT: (320, 9, 3, 3)}, "inpainting"),
        (VAE, "vae"),
        (BARE_VAE, "vae"),
        ({**BARE_VAE, "decoder.mid_block.resnets.0.conv1.weight": (512, 512, 3, 3)}, "vae"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "embedding"),
        (pair("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048), "lora"),
        (pair("lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn1_to_q"), "lora"),
        (pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768), "lora"),
        (pair("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280), "lora"),
        (pair("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 2048, style="peft"), "lora"),
        (pair("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v", 2048, style="old"), "lora"),
        (pair("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", 1280, style="peft"), "lora"),
        (pair("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", style="peft"), "lora"),
        (
            pair("base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 2048, style="peft"),
            "lora",
        ),
    ],
)
def test_what_the_studio_uses_is_told(shapes: Shapes, name: KindName) -> None:
    assert tell_kind(header(shapes)).name == name


@pytest.mark.parametrize(
    ("shapes", "title"),
    [
        (SD15, "an SD 1.5 checkpoint"),
        (SD2, "an SD 2 checkpoint"),
        ({**SD15, INPUT: (320, 9, 3, 3)}, "an SD 1.5 checkpoint"),
        (pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 768), "an SD 1.5 LoRA"),
        (pair("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 768), "an SD 1.5 LoRA"),
        (pair("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 320), "an SD 1.5 LoRA"),
        (pair("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", 320, style="peft"), "an SD 1.5 LoRA"),
        (pair("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 1024, style="peft"), "an SD 2 LoRA"),
        (pair("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 1280), "an SDXL refiner LoRA"),
        (pair("lora_unet_double_blocks_0_img_attn_proj", 3072), "a Flux LoRA"),
        (pair("transformer.single_transformer_blocks.0.attn.to_q", 3072, style="peft"), "a Flux LoRA"),
        (pair("lora_unet_joint_blocks_0_context_block_attn_qkv", 1536), "an SD3 LoRA"),
        (pair("diffusion_model.blocks.0.cross_attn.k", 5120, style="peft"), "a LoRA for another model"),
        ({"lora_unet_x.hada_w1_a": (4, 4)}, "a LoHa"),
        ({"lora_unet_x.lokr_w1": (4, 4)}, "a LoKr"),
        ({"lora_unet_x.oft_blocks": (4, 4, 4)}, "an OFT"),
        ({"lora_unet_x.on_input": ()}, "an IA3"),
        ({**pair("lora_unet_x"), "lora_unet_y.diff_b": (4,)}, "a LyCORIS file with whole differences"),
        ({**pair("lora_unet_x"), "lora_unet_x.lora_mid.weight": (4, 4, 3, 3)}, "a Tucker-decomposed LoCon"),
        ({**pair("lora_unet_x"), "lora_unet_x.dora_scale": (640, 1)}, "a DoRA"),
        ({**pair("unet.x", style="peft"), "unet.x.lora_magnitude_vector": (640,)}, "a DoRA"),
        ({**pair("unet.x", style="peft"), "unet.x.lora_magnitude_vector.weight": (640,)}, "a DoRA"),
        (pair("base_model.model.text_model.encoder.layers.0.mlp.fc1", style="peft"), "a LoRA for another model"),
        (pair("input_blocks.4.1.transformer_blocks.0.attn1.to_q"), "a LoRA for another model"),
        (pair("lora_prior_unet_down_blocks_1"), "a LoRA for another model"),
        ({"emb_params": (3, 768)}, "an SD 1.5 textual inversion"),
        ({"neg": (768,)}, "an SD 1.5 textual inversion"),
        ({"emb_params": (3, 1024)}, "an SD 2 textual inversion"),
        ({"control_model.input_hint_block.0.weight": (16, 3, 3, 3)}, "a ControlNet"),
        ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "a ControlNet"),
        ({"lora_controlnet": (0,), **pair("time_embed.0")}, "a ControlNet"),
        ({"model.diffusion_model.double_blocks.0.img_attn.proj.weight": (1, 1)}, "a Flux model"),
        ({"double_blocks.0.img_attn.proj.weight": (1, 1), **BARE_VAE}, "a Flux model"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.proj.weight": (1, 1)}, "an SD3 model"),
        ({**BASE, "edm_mean": (4,)}, "a Playground 2.5 checkpoint"),
        ({"image_proj.proj.weight": (1, 1)}, "an IP-Adapter"),
        ({"adapter.body.0.in_conv.weight": (1, 1)}, "a T2I-Adapter"),
        ({"decoder.layers.0.weight": (64, 4, 3, 3)}, "a TAESD decoder for previews"),
        ({"1.weight": (64, 4, 3, 3), "3.conv.0.weight": (64, 64, 3, 3)}, "a TAESD decoder for previews"),
        (SDXL_UNET, "a UNet alone"),
        ({"down_blocks.0.resnets.0.norm1.weight": (1,), "time_embedding.linear_1.weight": (1, 1)}, "a UNet alone"),
        ({"text_model.embeddings.position_embedding.weight": (77, 768)}, "a text encoder alone"),
        ({**SDXL_UNET, **VAE}, "an SDXL checkpoint without text encoders"),
        ({**SDXL_UNET, **CLIP_L, **VAE}, "an SDXL checkpoint without one of its text encoders"),
        ({**SDXL_UNET, **CLIP_L, **CLIP_G}, "an SDXL checkpoint without a VAE"),
        (
            {**BASE, INPUT: (320, 8, 3, 3)},
            "an SDXL checkpoint for another task: its UNet takes 8 channels",
        ),
        ({**BARE_VAE, "decoder.conv_in.weight": (512, 16, 3, 3)}, "a VAE of another family: it has 16 latent channels"),
        ({**BARE_VAE, "decoder.conv_in.weight": (384, 16, 3, 3, 3)}, "a video VAE"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3)}, "a VAE without its encoder"),
        ({"x": (1,)}, "something else"),
    ],
)
def test_what_it_does_not_use_is_told_by_name(shapes: Shapes, title: str) -> None:
    assert tell_kind(header(shapes)) == Kind("other", title)


def test_a_checkpoint_is_no_lora_of_another_method_by_its_names() -> None:
    assert tell_kind(header({**BASE, f"{UNET}diff.weight": (1,)})).name == "base"


def test_a_wrong_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(
        {key: torch.zeros(shape) for key, shape in pair("lora_te_text_model_encoder_layers_0_mlp_fc1").items()}, path
    )
    with pytest.raises(ModelError, match=r"^x\.safetensors is an SD 1\.5 LoRA, not an SDXL LoRA$"):
        expect_kind(path, "lora")
    with pytest.raises(ModelError, match=r"is an SD 1\.5 LoRA, not an SDXL checkpoint or an SDXL refiner checkpoint$"):
        expect_kind(path, "base", "refiner")


LORA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({f"{LORA}.lora_down.weight": (4, 640)}, "must have both of its matrices"),
        ({**pair(LORA), f"{LORA}.lora_up.weight": (640, 8)}, "must be of one rank, not (4, 640) and (640, 8)"),
        ({**pair(LORA), f"{LORA}.lora_up.weight": (4,)}, "must be of one rank"),
        (pair(LORA, rank=0), f"must be of a rank from 1 to {MAX_LORA_RANK}, not 0"),
        (pair(LORA, rank=MAX_LORA_RANK + 1), f"must be of a rank from 1 to {MAX_LORA_RANK}"),
        ({"clip_l": (2, 768), "clip_g": (3, 1280)}, "as many rows, not 2 and 3"),
        ({"clip_l": (768,), "clip_g": (1280,)}, "must each be rows of one width"),
        ({"clip_l": (76, 768), "clip_g": (76, 1280)}, "from 1 to 75 rows, not 76"),
        ({"clip_l": (0, 768), "clip_g": (0, 1280)}, "from 1 to 75 rows, not 0"),
    ],
)
def test_shapes_that_do_not_fit_each_other_are_refused(shapes: Shapes, problem: str) -> None:
    found = header(shapes)
    with pytest.raises(ModelError) as raised:
        check_shapes(found, tell_kind(found))
    assert str(raised.value).startswith("x.safetensors is damaged: ")
    assert problem in str(raised.value)


@pytest.mark.parametrize("shapes", [pair(LORA), {"clip_l": (2, 768), "clip_g": (2, 1280)}])
def test_weights_that_are_no_floating_point_numbers_are_refused(shapes: Shapes) -> None:
    found = header(shapes, "I32")
    with pytest.raises(ModelError, match="floating-point numbers"):
        check_shapes(found, tell_kind(found))


def test_what_fits_passes() -> None:
    convolution = {f"{LORA}_c.lora_down.weight": (4, 8, 3, 3), f"{LORA}_c.lora_up.weight": (16, 4, 1, 1)}
    found = header({**pair(LORA), **convolution, f"{LORA}.alpha": ()})
    check_shapes(found, tell_kind(found))
