"""What a safetensors file holds, told from the names and shapes in its header alone."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.components.header import BITS, Header, read_header
from pipelines.schema.errors import ModelError

KindName = Literal["base", "refiner", "inpainting", "vae", "lora", "embedding", "other"]

MAX_LORA_RANK = 1024
MAX_EMBEDDING_VECTORS = 75
"""As many tokens as one chunk of a prompt has."""
LATENT_CHANNELS = 4
INPAINTING_CHANNELS = 9
"""Noisy latents, the mask, and the latents of what is kept."""

CROSS_ATTENTION = {768: "SD 1.5", 1024: "SD 2", 2048: "SDXL"}
"""How wide the text is that a UNet's cross-attention reads, where a family fixed it."""
REFINER_CROSS_ATTENTION = 1280
ENCODER_WIDTH = {768: "SD 1.5", 1024: "SD 2", 1280: "OpenCLIP bigG"}
"""How wide one token's embedding is."""


@dataclass(frozen=True)
class Kind:
    """What a file is, for the studio and for a person."""

    name: KindName
    """ "other" for everything that the studio has no use for."""
    title: str
    """With its article, for example "an SD 1.5 LoRA"."""


TITLES: dict[KindName, str] = {
    "base": "an SDXL checkpoint",
    "refiner": "an SDXL refiner checkpoint",
    "inpainting": "an SDXL inpainting checkpoint",
    "vae": "an SDXL VAE",
    "lora": "an SDXL LoRA",
    "embedding": "an SDXL textual inversion",
}


def tell_kind(header: Header) -> Kind:
    """What the file with this header holds. An SD 1.5 VAE has SDXL's names and shapes, and passes for one of SDXL."""
    for judge in (_lora, _embedding, _neighbour, _checkpoint, _vae, _part):
        kind = judge(header)
        if kind is not None:
            return kind
    return Kind("other", "something else")


def expect_kind(path: Path, *wanted: KindName) -> Kind:
    """The kind of a file that must be one of `wanted`; raises `ModelError` such as "x.safetensors is an SD 1.5 LoRA,
    not an SDXL LoRA", or naming a shape that does not fit."""
    header = read_header(path)
    kind = tell_kind(header)
    if kind.name not in wanted:
        raise ModelError(f"{path.name} is {kind.title}, not {' or '.join(TITLES[name] for name in wanted)}")
    check_shapes(header, kind)
    return kind


def check_shapes(header: Header, kind: Kind) -> None:
    """Raises `ModelError` naming the first tensors of a LoRA or a textual inversion that do not fit each other."""
    problem = {"lora": _lora_problem, "embedding": _embedding_problem}.get(kind.name, _no_problem)(header)
    if problem:
        raise ModelError(f"{header.file} is damaged: {problem}")


# LoRAs

_DOWN = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", ".lora_A.default.weight", "_lora.down.weight")
_UP = (".lora_up.weight", ".lora_B.weight", ".lora.up.weight", ".lora_B.default.weight", "_lora.up.weight")

_OTHER_METHODS = (
    (re.compile(r"\.dora_scale$|\.lora_magnitude_vector(\.|$)"), "a DoRA"),
    (re.compile(r"\.lora_mid\."), "a Tucker-decomposed LoCon"),
    (re.compile(r"\.hada_"), "a LoHa"),
    (re.compile(r"\.lokr_"), "a LoKr"),
    (re.compile(r"\.oft_"), "an OFT"),
    (re.compile(r"\.on_input$"), "an IA3"),
    (re.compile(r"\.(diff|diff_b|w_norm|b_norm)$"), "a LyCORIS file with whole differences"),
)
"""What a name says -> the method, where more or other tensors act than a plain pair of matrices."""

_FOREIGN_LORAS = (
    (r"double_blocks[._]|single_blocks[._]|single_transformer_blocks\.", "a Flux LoRA"),
    (r"joint_blocks[._]|^(transformer\.)?transformer_blocks\..*\.add_[kqv]_proj\.", "an SD3 LoRA"),
    (r"^lora_te_", "an SD 1.5 LoRA"),
    (r"(^|[._])down_blocks[._]0[._]attentions[._]", "an SD 1.5 LoRA"),
    (r"(^|[._])input_blocks[._](1|2)[._]1[._]", "an SD 1.5 LoRA"),
)
"""Names that only other families have: SDXL's UNet has no attention in its first blocks, arXiv:2307.01952, table 1."""
BARE_UNET = re.compile(
    r"^(base_model\.model\.)?(?=(down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding|add_embedding)\.)"
)
"""How a name begins where peft saved the UNet alone, without saying that it is one."""
_SDXL_LORA = re.compile(rf"^(lora_unet_|lora_te[12]_|unet\.|text_encoder(_2)?\.)|{BARE_UNET.pattern}")


def other_method(keys: Iterable[str]) -> str | None:
    """With its article, how a LoRA was trained that is no plain one. Without those tensors it would draw otherwise."""
    return next((title for key in keys for name, title in _OTHER_METHODS if name.search(key)), None)


def _lora(header: Header) -> Kind | None:
    keys = [key for key in header.tensors if key.endswith(_DOWN)]
    if keys and "lora_controlnet" in header.tensors:
        return Kind("other", "a ControlNet")
    if method := other_method(header.tensors):
        return Kind("other", method)
    if not keys:
        return None
    family = _cross_attention_family(header, keys)
    if family == "SDXL":
        return Kind("lora", TITLES["lora"])
    if family is not None:
        return Kind("other", f"{family} LoRA")
    for pattern, title in _FOREIGN_LORAS:
        if any(re.search(pattern, key) for key in keys):
            return Kind("other", title)
    if any(_SDXL_LORA.match(key) for key in keys):
        return Kind("lora", TITLES["lora"])
    return Kind("other", "a LoRA for another model")


def _cross_attention_family(header: Header, down_keys: list[str]) -> str | None:
    """Told by the text that the cross-attention reads; None where the LoRA leaves it alone or the width is nobody's."""
    for key in down_keys:
        if re.search(r"attn2[._](processor[._])?to_[kv]", key):
            width = header.shape(key)[1:2]
            if width == (REFINER_CROSS_ATTENTION,):
                return "an SDXL refiner"
            if width and width[0] in CROSS_ATTENTION:
                family = CROSS_ATTENTION[width[0]]
                return family if family == "SDXL" else f"an {family}"
    return None


def _lora_problem(header: Header) -> str:
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, tensor in header.tensors.items():
        side, module = _side_of(key)
        if side:
            pairs.setdefault(module, {})[side] = tensor.shape
        if BITS[tensor.dtype] < 16 or tensor.dtype[0] not in "FB":
            return f"{key[:80]!r} must hold floating-point numbers"
    for module, sides in pairs.items():
        if len(sides) < 2:
            return f"{module[:80]!r} must have both of its matrices"
        down, up = sides["down"], sides["up"]
        if min(len(down), len(up)) < 2 or down[0] != up[1]:
            return f"the two matrices of {module[:80]!r} must be of one rank, not {down} and {up}"
        if not 1 <= down[0] <= MAX_LORA_RANK:
            return f"{module[:80]!r} must be of a rank from 1 to {MAX_LORA_RANK}, not {down[0]}"
    return ""


def _side_of(key: str) -> tuple[str, str]:
    """("down" or "up", the module), or two empty texts for what is neither matrix."""
    for side, endings in (("down", _DOWN), ("up", _UP)):
        for ending in endings:
            if key.endswith(ending):
                return side, key.removesuffix(ending)
    return "", ""


# Textual inversions


def _embedding(header: Header) -> Kind | None:
    if header.tensors.keys() == {"clip_l", "clip_g"}:
        return Kind("embedding", TITLES["embedding"])
    if len(header.tensors) != 1:
        return None
    (shape,) = (tensor.shape for tensor in header.tensors.values())
    is_rows = len(shape) == 1 or (len(shape) == 2 and shape[0] <= MAX_EMBEDDING_VECTORS)
    if is_rows and shape[-1] in ENCODER_WIDTH:
        return Kind("other", f"an {ENCODER_WIDTH[shape[-1]]} textual inversion")
    return None


def _embedding_problem(header: Header) -> str:
    shapes = {key: header.shape(key) for key in ("clip_l", "clip_g")}
    if any(len(shape) != 2 or not shape[1] for shape in shapes.values()):
        return "clip_l and clip_g must each be rows of one width"
    if shapes["clip_l"][0] != shapes["clip_g"][0]:
        return f"clip_l and clip_g must have as many rows, not {shapes['clip_l'][0]} and {shapes['clip_g'][0]}"
    if not 1 <= shapes["clip_l"][0] <= MAX_EMBEDDING_VECTORS:
        return f"it must have from 1 to {MAX_EMBEDDING_VECTORS} rows, not {shapes['clip_l'][0]}"
    if any(header.tensors[key].dtype not in ("F16", "BF16", "F32", "F64") for key in shapes):
        return "clip_l and clip_g must hold floating-point numbers"
    return ""


def _no_problem(header: Header) -> str:
    return ""


# Checkpoints, VAEs, and what lies beside them

_NEIGHBOURS = (
    (r"^(model\.diffusion_model\.)?(double_blocks|single_blocks)\.|^single_transformer_blocks\.", "a Flux model"),
    (r"^(model\.diffusion_model\.)?joint_blocks\.|^transformer_blocks\..*\.attn\.add_q_proj\.", "an SD3 model"),
    (r"^control_model\.|^controlnet_cond_embedding\.|^input_hint_block\.|^zero_convs\.", "a ControlNet"),
    (r"^image_proj\.|^ip_adapter\.", "an IP-Adapter"),
    (r"^adapter\.body\.|^body\.0\.", "a T2I-Adapter"),
    (r"^edm_mean$", "a Playground 2.5 checkpoint"),
    (r"^((taesd_)?(encoder|decoder)\.(layers\.)?)?\d+\.(conv\.\d+\.)?weight$", "a TAESD decoder for previews"),
)
"""Names that only one family of files has."""

_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_SIZES = "model.diffusion_model.label_emb.0.0.weight"
"""The layer that reads sizes and pooled text, which SDXL brought."""
_DECODER = "decoder.conv_in.weight"


def _neighbour(header: Header) -> Kind | None:
    for pattern, title in _NEIGHBOURS:
        if any(re.search(pattern, key) for key in header.tensors):
            return Kind("other", title)
    return None


def _checkpoint(header: Header) -> Kind | None:
    if not any(key.startswith("model.diffusion_model.") for key in header.tensors):
        return None
    has = _prefixes(header)
    if has("cond_stage_model.model."):
        return Kind("other", "an SD 2 checkpoint")
    if has("cond_stage_model."):
        return Kind("other", "an SD 1.5 checkpoint")
    has_text = has("conditioner.embedders.")
    if not has_text and not has("first_stage_model."):
        return Kind("other", "a UNet alone")
    if _SIZES not in header.tensors:
        return Kind("other", "something else")
    if not has_text:
        return Kind("other", "an SDXL checkpoint without text encoders")
    if f"first_stage_model.{_DECODER}" not in header.tensors:
        return Kind("other", "an SDXL checkpoint without a VAE")
    channels = header.shape(_FIRST)[1:2]
    if has("conditioner.embedders.0.model."):
        is_refiner = channels == (LATENT_CHANNELS,)
        return Kind("refiner", TITLES["refiner"]) if is_refiner else Kind("other", "an unknown kind of SDXL refiner")
    if not has("conditioner.embedders.0.transformer.") or not has("conditioner.embedders.1.model."):
        return Kind("other", "an SDXL checkpoint without one of its text encoders")
    if channels == (INPAINTING_CHANNELS,):
        return Kind("inpainting", TITLES["inpainting"])
    if channels == (LATENT_CHANNELS,):
        return Kind("base", TITLES["base"])
    return Kind("other", f"an SDXL checkpoint for another task: its UNet takes {(*channels, 0)[0]} channels")


def _vae(header: Header) -> Kind | None:
    for prefix in ("", "first_stage_model.", "vae."):
        shape = header.shape(f"{prefix}{_DECODER}")
        if not shape:
            continue
        if len(shape) != 4:
            return Kind("other", "a video VAE")
        if shape[1] != LATENT_CHANNELS:
            return Kind("other", f"a VAE of another family: it has {shape[1]} latent channels")
        if f"{prefix}encoder.conv_in.weight" not in header.tensors:
            return Kind("other", "a VAE without its encoder")
        return Kind("vae", TITLES["vae"])
    return None


def _part(header: Header) -> Kind | None:
    has = _prefixes(header)
    if has("input_blocks.") or (has("down_blocks.") and has("time_embedding.")):
        return Kind("other", "a UNet alone")
    if has("text_model.") or has("transformer.resblocks.") or has("encoder.block."):
        return Kind("other", "a text encoder alone")
    return None


def _prefixes(header: Header) -> Callable[[str], bool]:
    return lambda prefix: any(key.startswith(prefix) for key in header.tensors)
