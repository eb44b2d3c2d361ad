"""Fooocus' two kinds of metadata: JSON, and A1111's infotext with words of its own."""

import re
from collections.abc import Mapping
from typing import Any

from pipelines.media.readers.infotext import Infotext
from pipelines.media.readers.restored import Claims, Restored, plain_name
from pipelines.media.readers.sampling import find_sampling
from pipelines.schema.types import MAX_STYLES

SOURCE = "Fooocus"
NONE = ("", "none", "default (model)")
KEYS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "seed": "seed",
}
FILES = {"base_model": "model", "refiner_model": "refiner", "vae": "vae"}
PERFORMANCES = {"quality": 60, "speed": 30, "extreme speed": 8, "lightning": 4, "hyper-sd": 4}
"""Its steps where a file leaves them out, as those of version 2.1 and before do."""
FAST_LORAS = {
    "extreme speed": ("sdxl_lcm_lora", "lcm"),
    "lightning": ("sdxl_lightning_4step_lora", "lightning-4-steps"),
    "hyper-sd": ("sdxl_hyper_sd_4step_lora", "hyper-4-steps"),
}
"""The LoRA that comes with a performance: its file there, and its name in our catalogue."""
PASSED_OVER = (
    "base_model_hash", "refiner_model_hash", "full_prompt", "full_negative_prompt", "metadata_scheme", "version",
    "created_by", "user", "lora_hashes", "model_hash", "refiner_hash", "image_number",
)  # fmt: skip
FROM_INFOTEXT = {"cfg_scale": "guidance_scale", "size": "resolution", "model": "base_model", "refiner": "refiner_model"}
_STRINGS = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_NUMBERS = re.compile(r"\d{1,6}")
MAX_LIST = 100


def is_fooocus(data: Any) -> bool:
    """Whether decoded JSON looks like what Fooocus writes."""
    return isinstance(data, dict) and {"prompt", "base_model"} <= {_normal(key) for key in data}


def read_json(data: Mapping[str, Any]) -> Restored:
    """The scheme "fooocus", and what was written before schemes had names."""
    return _read({_normal(key): value for key, value in data.items()})


def read_infotext(text: Infotext) -> Restored:
    """The scheme "a1111". Its prompts hold the words of the styles already, so those typed before are passed over."""
    line = {_normal(key): value for key, value in text.settings.items()}
    data: dict[str, Any] = {FROM_INFOTEXT.get(key, key): value for key, value in line.items()}
    for key in ("raw_prompt", "raw_negative_prompt", "styles"):
        data.pop(key, None)
    for number, part in enumerate(str(data.pop("lora_weights", "")).split(", ")[:MAX_LIST], 1):
        name, _, weight = part.rpartition(": ")
        if name:
            data[f"lora_{number}"] = f"{name} : {weight}"
    return _read({**data, "prompt": text.prompt, "negative_prompt": text.negative_prompt})


def _read(data: dict[str, Any]) -> Restored:
    data = {key: value for key, value in data.items() if key not in PASSED_OVER}
    claims = Claims()
    performance = str(data.pop("performance", "")).casefold()
    if "steps" not in data and performance in PERFORMANCES:
        data["steps"] = PERFORMANCES[performance]
    for key, field in KEYS.items():
        if key in data:
            claims.claim(f"{_title(key)}: {data[key]}", **{field: data.pop(key)})
    for key, field in FILES.items():
        name = str(data.pop(key, ""))
        if name.casefold() not in NONE:
            claims.claim(f"{_title(key)}: {name}", **{field: plain_name(name)})
    _read_sampling(data, claims)
    _read_numbers(data, claims)
    _read_loras(data, claims, performance)
    styles = data.pop("styles", "")
    names = _read_strings(styles) if isinstance(styles, str) else [str(name) for name in _as_list(styles)]
    if names:
        claims.claim(f"Styles: {', '.join(names)}", styles=names[:MAX_STYLES])
    for name in names[MAX_STYLES:]:
        claims.miss(f"Style: {name}")
    for key, value in data.items():
        if value not in ("", None, [], {}):
            claims.miss(f"{_title(key)}: {value}")
    return claims.judge(SOURCE, "text_to_image")


def _read_sampling(data: dict[str, Any], claims: Claims) -> None:
    sampler, schedule = str(data.pop("sampler", "")), str(data.pop("scheduler", ""))
    if not sampler:
        return
    found = find_sampling(sampler, schedule)
    if found is None:
        claims.miss(f"Sampler: {sampler}")
    else:
        claims.claim(f"Sampler: {sampler}", **found.values)
    if schedule and not (found and found.obeyed):
        claims.miss(f"Scheduler: {schedule}")


def _read_numbers(data: dict[str, Any], claims: Claims) -> None:
    """Size, skipped layers, and where the refiner takes over."""
    if resolution := str(data.pop("resolution", "")):
        sides = _NUMBERS.findall(resolution[:100])
        if len(sides) == 2:
            claims.claim(f"Resolution: {resolution}", width=int(sides[0]), height=int(sides[1]))
        else:
            claims.miss(f"Resolution: {resolution}")
    skipped = data.pop("clip_skip", None)
    if skipped is not None:
        counted = _as_int(skipped)
        said = f"CLIP skip: {skipped}"
        claims.claim(said, clip_skip=skipped if counted is None else max(counted - 2, 0))
    switch = data.pop("refiner_switch", None)
    if "refiner" in claims.values and switch is not None:
        claims.claim(f"Refiner switch: {switch}", denoising_end=switch)


def _read_loras(data: dict[str, Any], claims: Claims, performance: str) -> None:
    """Those of the list, else those of numbered keys, and the one that a performance brings."""
    listed = data.pop("loras", None)
    numbered = [str(data.pop(key)) for key in list(data) if re.fullmatch(r"lora_(?:combined_)?\d{1,3}", key)]
    pairs = [(item[0], item[1]) for item in _as_list(listed) if isinstance(item, list) and len(item) > 1]
    if not pairs:
        parts = [text.split(" : ") for text in numbered[:MAX_LIST]]
        pairs = [(part[-2], part[-1]) for part in parts if len(part) > 1 and part[0] != "False"]
    loras = {plain_name(str(name)): weight for name, weight in pairs if str(name).casefold() not in NONE}
    if performance in FAST_LORAS:
        file, own = FAST_LORAS[performance]
        loras[own] = loras.pop(file, 1.0)
    for name, weight in loras.items():
        claims.claim_lora(f"LoRA {name}: {weight}", name, weight)


def _read_strings(text: str) -> list[str]:
    """The strings of a list as Python prints it; it is never evaluated."""
    return [single or double for single, double in _STRINGS.findall(text[:10_000])][:MAX_LIST]


def _as_list(value: Any) -> list[Any]:
    return value[:MAX_LIST] if isinstance(value, list) else []


def _as_int(value: Any) -> int | None:
    return int(value) if re.fullmatch(r"\d{1,3}", str(value)) else None


def _normal(key: Any) -> str:
    return str(key)[:100].strip().casefold().replace(" ", "_")


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize()
