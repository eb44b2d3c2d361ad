"""A1111's infotext in our words; also that of Forge and other descendants, and our own, which is written alike."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.media.readers.infotext import Infotext
from pipelines.media.readers.restored import Claims, Restored, mend, plain_name
from pipelines.media.readers.sampling import Sampling, find_sampling
from pipelines.media.readers.words import KEYS, NOT_MASKED, ONLY_MASKED, OWN, SPACINGS, own_words
from pipelines.schema.requests import REQUESTS
from pipelines.schema.types import MAX_LORAS

A1111 = "AUTOMATIC1111"
FORGE = "Forge"
STUDIO = "SDXL Studio"
NONE = ("", "none", "automatic", "default (model)")
"""What stands for no file of one's own."""
PASSED_OVER = (
    "model hash", "vae hash", "refiner hash", "lora hashes", "ti hashes", "hashes", "version", "app", "user",
    "created date", "batch size", "batch pos", "ti",
)  # fmt: skip
"""Facts about a picture that set nothing."""
TEMPLATES = {"template": "prompt", "negative template": "negative_prompt"}
"""What stood in the prompts before wildcards and variants were drawn."""
USUAL = {"rng": "cpu", "emphasis": "original"}
"""Settings that here are always so."""
RESIZE_MODES = {"just resize": "stretch", "crop and resize": "crop", "resize and fill": "pad"}
INPAINTING = ("mask blur", "mask mode", "masked content", "inpaint area", "masked area padding")
MAX_LORA_WORDS = MAX_LORAS * 250
"""Characters that as many LoRAs take, with the longest names and weights."""
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_LORA = re.compile(r"(.{1,200}?): (-?[\d.e+-]{1,40})(?:, |$)")


class _Line:
    """The line of settings by key in small letters, each with the words it stood in."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._pairs = {key.casefold(): (f"{key}: {value}", value) for key, value in reversed(list(settings.items()))}

    def __contains__(self, key: str) -> bool:
        return key in self._pairs

    def get(self, key: str) -> str:
        """The value, empty where there is none."""
        return self._pairs.get(key, ("", ""))[1]

    def take(self, key: str) -> tuple[str, str] | None:
        """The words and the value, which then no longer stand there."""
        return self._pairs.pop(key, None)

    def take_all(self, prefix: str) -> list[tuple[str, str]]:
        """As `take`, for every key that begins so, in the order of the line."""
        return [self._pairs.pop(key) for key in reversed(list(self._pairs)) if key.startswith(prefix)]


def read_infotext(text: Infotext) -> Restored:
    """What the text says in the words of the request of its task."""
    line = _Line(text.settings)
    source = name_source(line.get("version"), line.get("app"))
    is_ours = source == STUDIO
    task = _find_task(line, is_ours)
    claims = Claims()
    claims.claim("prompt", prompt=text.prompt)
    claims.claim("negative prompt", negative_prompt=text.negative_prompt)
    template = {field: mend(pair[1]) for key, field in TEMPLATES.items() if (pair := line.take(key)) and pair[1]}
    for key in PASSED_OVER if not is_ours else (*PASSED_OVER, "task", "styles"):
        line.take(key)
    line.take_all("style selector")  # its words stand in the prompt already
    _read_sampling(line, claims, is_ours)
    _read_size(line, claims)
    _read_strength(line, claims, task)
    _read_files(line, claims, is_ours)
    if is_ours:
        _read_own(line, claims)
    for key, field in KEYS.items():
        if (pair := line.take(key.casefold())) is not None:
            claims.claim(pair[0], **{field: pair[1]})
    if (pair := line.take("clip skip")) is not None:
        claims.claim(pair[0], clip_skip=_count_skipped(pair[1]))
    if (pair := line.take("inpaint area")) is not None:
        claims.claim(pair[0], inpaint_area="masked" if pair[1] == ONLY_MASKED else "whole")
    if (pair := line.take("mask mode")) is not None:
        claims.claim(pair[0], invert_mask=pair[1] == NOT_MASKED)
    if line.get("resize mode").casefold() in RESIZE_MODES and (pair := line.take("resize mode")):
        claims.claim(pair[0], resize_mode=RESIZE_MODES[pair[1].casefold()])
    for key, value in USUAL.items():
        if line.get(key).casefold() == value:
            line.take(key)
    for words, value in line.take_all(""):
        if value not in ("", "{}", "[]"):
            claims.miss(words)
    return replace(claims.judge(source, task), template=template)


def name_source(version: str, app: str = "") -> str:
    """Who wrote an infotext, by its "Version" and "App"."""
    if app:
        return app[:40]
    if version.startswith(OWN):
        return STUDIO
    if re.match(r"f\d|neo|classic|forge", version):
        return FORGE
    if version.startswith("Fooocus"):
        return "Fooocus"
    return version if version in ("ComfyUI", "stable-diffusion.cpp") else A1111


def _find_task(line: _Line, is_ours: bool) -> str:
    if is_ours and line.get("task") in REQUESTS:
        return line.get("task")
    if any(key in line for key in INPAINTING):
        return "inpaint"
    is_second_pass = any(key in line for key in ("hires upscale", "hires upscaler", "hires resize", "first pass size"))
    return "image_to_image" if "denoising strength" in line and not is_second_pass else "text_to_image"


def _read_sampling(line: _Line, claims: Claims, is_ours: bool) -> None:
    sampler = line.take("sampler")
    schedule = line.take("schedule type") or line.take("scheduler")
    if sampler is None:
        if schedule:
            claims.miss(schedule[0])
        return
    found = find_sampling(sampler[1], schedule[1] if schedule else "")
    if is_ours and found:
        found = _read_own_sampling(line, found, schedule[1] if schedule else "")
    if found is None:
        claims.miss(sampler[0])
    else:
        claims.claim(sampler[0], **found.values)
    if schedule and not (found and found.obeyed):
        claims.miss(schedule[0])


def _read_own_sampling(line: _Line, found: Sampling, schedule: str) -> Sampling:
    """Ours leave out what is at its default, and say a spacing beside other sigmas in a word of their own."""
    spacing = line.take("timestep spacing")
    if spacing:
        return Sampling(found.values | {"timestep_spacing": spacing[1]}, found.obeyed)
    if not schedule:
        return Sampling(found.values | {"timestep_spacing": "default"}, True)
    named = next((name for name, word in SPACINGS.items() if word == schedule), "default")
    return Sampling(found.values | {"timestep_spacing": named}, found.obeyed)


def _read_size(line: _Line, claims: Claims) -> None:
    if (pair := line.take("size")) is None:
        return
    if size := _SIZE.fullmatch(pair[1]):
        claims.claim(pair[0], width=int(size[1]), height=int(size[2]))
    else:
        claims.miss(pair[0])


def _read_strength(line: _Line, claims: Claims, task: str) -> None:
    """In text to image it belongs to a second pass over a larger picture, which is not made here."""
    if task == "text_to_image" and (pair := line.take("denoising strength")):
        claims.miss(pair[0])


def _read_files(line: _Line, claims: Claims, is_ours: bool) -> None:
    modules = line.take_all("module ")  # Forge's list of VAE and text encoders
    if "vae" not in line and modules:
        words, name = modules.pop(0)
        claims.claim(words, vae=plain_name(name))
    for words, _ in modules:
        claims.miss(words)
    for key in ("model", "vae", "refiner"):
        if (pair := line.take(key)) is not None and pair[1].casefold() not in NONE:
            name = pair[1] if is_ours else plain_name(pair[1])
            if not (is_ours and key == "refiner" and name == "own"):
                claims.claim(pair[0], **{key: name})


def _read_own(line: _Line, claims: Claims) -> None:
    """The fields that A1111 has no word for, and LoRAs, which stand behind the prompt as tags for other readers."""
    for key, field in own_words().items():
        if (pair := line.take(key.casefold())) is not None:
            claims.claim(pair[0], **{field: pair[1]})
    pair = line.take("loras")
    if pair is not None and len(pair[1]) > MAX_LORA_WORDS:
        claims.miss(pair[0])
    elif pair is not None:
        loras = _LORA.findall(pair[1])
        for name, weight in loras:
            claims.claim_lora(f"LoRA {name}: {weight}", name, weight)
        claims.values["prompt"] = remove_tags(claims.values["prompt"], loras)


def remove_tags(prompt: str, loras: list[tuple[str, Any]]) -> str:
    """The prompt without the tags that our infotext puts behind it."""
    for name, weight in reversed(loras):
        prompt = prompt.removesuffix(make_tag(name, weight)).rstrip(" ")
    return prompt


def make_tag(name: str, weight: Any) -> str:
    """A LoRA as A1111 writes it into a prompt; empty for a name that a tag cannot hold."""
    return "" if any(mark in name for mark in ":<>\n") else f"<lora:{name}:{weight}>"


def _count_skipped(text: str) -> Any:
    """A1111 counts from 1 and skips the last layer with SDXL anyway."""
    return max(int(text) - 2, 0) if text.isdecimal() and len(text) < 4 else text
