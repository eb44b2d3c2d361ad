"""What other programs wrote is read in our words: their real texts, their odd ones, and those meant to do harm."""

import json
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from pipelines.media.metadata import make_text_chunks
from pipelines.media.readers.infotext import split_infotext, split_settings
from pipelines.media.readers.picture import read_picture_settings, read_text_settings
from pipelines.media.readers.restored import MAX_UNMAPPED, Restored, plain_name
from pipelines.media.readers.sampling import find_sampling
from pipelines.schema.errors import InvalidRequest, PictureError
from pipelines.schema.requests import TextToImageRequest, make_request
from pipelines.schema.schedulers import SCHEDULER_NAMES, SCHEDULER_TITLES, check_sampling
from tests.media import samples

LINE = "Steps: 20, Sampler: Euler a, Seed: 5"


def save(path: Path, **texts: str) -> Path:
    chunks = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        chunks.add_itxt(key, text)
    Image.new("RGB", (16, 16)).save(path, pnginfo=chunks)
    return path


def read(sample: Any) -> Restored:
    return read_text_settings(sample if isinstance(sample, str) else json.dumps(sample))


def sampling(
    scheduler: str, spacing: str = "default", sigmas: str = "default", steps: str = "default"
) -> dict[str, str]:
    return {"scheduler": scheduler, "timestep_spacing": spacing, "sigmas": sigmas, "timesteps": steps}


EXPECTED: list[tuple[Any, str, dict[str, Any], tuple[str, ...]]] = [
    (
        samples.A1111_OLD, "AUTOMATIC1111",
        {
            "prompt": "photo of a duck", "negative_prompt": "monochrome", "num_inference_steps": 15,
            "guidance_scale": 5.0, "seed": 235284042, "width": 512, "height": 400,
            "model": "realistic_realisticVisionV20_v20", **sampling("unipc", "leading"),
        },
        (),
    ),
    (
        samples.A1111_SDXL, "AUTOMATIC1111",
        {
            "prompt": "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k", "negative_prompt": "",
            "num_inference_steps": 50, "guidance_scale": 5.0, "seed": 42, "width": 1024, "height": 1024,
            "model": "sd_xl_base_0.9", "clip_skip": 0, **sampling("dpmpp_2m", sigmas="karras"),
        },
        (),
    ),
    (
        samples.A1111_HIRES, "AUTOMATIC1111",
        {
            "prompt": "a mechwarrior robot with a (laster gun:1.2), [detailed]",
            "negative_prompt": "lowres, [green background]", "num_inference_steps": 20, "guidance_scale": 7.0,
            "seed": 2395363541, "width": 640, "height": 640, "model": "elldrethSLucidMix_v10",
            **sampling("dpmpp_2m", sigmas="karras"),
        },
        ("Denoising strength: 0", "Hires upscale: 2", "Hires steps: 1", "Hires upscaler: Latent (antialiased)"),
    ),
    (
        samples.A1111_NEW, "AUTOMATIC1111",
        {
            "prompt": "magical fantasy forest <lora:CosmicStyleSDXL:1.2> <lora:add-detail-xl:0.8>",
            "negative_prompt": "watermark", "num_inference_steps": 30, "guidance_scale": 6.5, "seed": 2921279476,
            "width": 888, "height": 1184, "model": "jibMixRealisticXL_v180SkinSupreme", "vae": "sdxl-vae-fp16-fix",
        },
        ("Sampler: DPM++ 3M", "Schedule type: Karras"),
    ),
    (
        samples.A1111_REFINER, "AUTOMATIC1111",
        {
            "prompt": "a ghibli landscape", "negative_prompt": "blurry", "num_inference_steps": 40,
            "guidance_scale": 7.0, "width": 1024, "height": 1024, "model": "sd_xl_base_1.0_0.9vae",
            "refiner": "sd_xl_refiner_1.0_0.9vae", "denoising_end": 0.8,
        },
        (
            "Sampler: DPM++ 3M SDE Karras", '"ghibli_last: 56d1eeb58396"',
            "Seed: 112358132134 (must be at most 4294967295)",
        ),
    ),
    (
        samples.CIVITAI, "AUTOMATIC1111",
        {
            "prompt": "double exposure, yin yang symbol,\nminiature carribean beach scene",
            "negative_prompt": "negativeXL_D, greyscale", "num_inference_steps": 22, "guidance_scale": 3.8,
            "seed": 894409639, "width": 832, "height": 1216, "clip_skip": 0, **sampling("dpmpp_2m", sigmas="karras"),
        },
        ("Civitai resources: …",),
    ),
    (
        samples.FORGE, "Forge",
        {
            "prompt": "a lighthouse at dusk", "negative_prompt": "", "num_inference_steps": 25, "guidance_scale": 7.0,
            "seed": -1, "width": 768, "height": 1088, "model": "waiIllustrious_v140", "vae": "sdxl_vae",
            **sampling("euler_ancestral", "linspace"),
        },
        (
            "Denoising strength: 0.37", "ADetailer model: face_yolov8n.pt", "Hires Module 1: Use same choices",
            "Hires CFG Scale: 5", "Hires upscale: 1.5", "Hires upscaler: R-ESRGAN 4x+",
        ),
    ),
    (
        samples.FORGE_NOOB, "Forge",
        {
            "prompt": "a fox, J4D3", "negative_prompt": "SmoothNegativePony-neg,\nscore_6, score_5, score_4",
            "num_inference_steps": 60, "guidance_scale": 7.0, "seed": 1736401068, "width": 896, "height": 1152,
            "model": "smoothMixOldVerNoobai_ponyV3", "clip_skip": 0,
        },
        (
            "Sampler: DPM++ 3M SDE", "Schedule type: Karras", "ADetailer model: face_yolov9c.pt",
            "ADetailer prompt: detailed face", "NGMS: 3.0", "NGMS all steps: True",
        ),
    ),
    (
        samples.FOOOCUS_A1111, "Fooocus",
        {
            "prompt": "cinematic still A sunflower field . film grain, A sunflower field, highly detailed",
            "negative_prompt": "anime, cartoon, disfigured", "num_inference_steps": 30, "guidance_scale": 4.0,
            "width": 512, "height": 512, "model": "juggernautXL_v8Rundiffusion", "clip_skip": 0,
            "loras": [{"name": "sd_xl_offset_example-lora_1.0", "weight": 0.1}],
            **sampling("dpmpp_2m_sde", sigmas="karras"),
        },
        ("Sharpness: 2", "Adm guidance: (1.5, 0.8, 0.3)", "Seed: 127589946317439009 (must be at most 4294967295)"),
    ),
    (
        samples.FOOOCUS_JSON, "Fooocus",
        {
            "prompt": "A sunflower field", "negative_prompt": "", "num_inference_steps": 30, "guidance_scale": 4.0,
            "width": 512, "height": 512, "model": "juggernautXL_v8Rundiffusion", "clip_skip": 0,
            "loras": [{"name": "sd_xl_offset_example-lora_1.0", "weight": 0.1}],
            "styles": ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"],
            **sampling("dpmpp_2m_sde", sigmas="karras"),
        },
        (
            "Adm guidance: (1.5, 0.8, 0.3)", "Prompt expansion: A sunflower field, highly detailed", "Sharpness: 2",
            "Seed: 127589946317439009 (must be at most 4294967295)",
        ),
    ),
    (
        samples.FOOOCUS_LEGACY, "Fooocus",
        {
            "prompt": "dinosaur leashed", "negative_prompt": "", "num_inference_steps": 8, "guidance_scale": 1.0,
            "width": 1024, "height": 1024, "model": "sd_xl_base_1.0_0.9vae",
            "loras": [{"name": "PetDinosaur-v2", "weight": 1.65}, {"name": "lcm", "weight": 1.0}],
            "styles": ["Fooocus V2", "Dark Moody Atmosphere", "Misc Horror"], **sampling("lcm"),
        },
        (
            "Fooocus v2 expansion: dinosaur leashed, full color", "Sharpness: 0.0", "Adm guidance: (1.0, 1.0, 0.0)",
            "Seed: 6515525224486854496 (must be at most 4294967295)",
        ),
    ),
    (
        samples.COMFYUI_PLAIN, "ComfyUI",
        {
            "prompt": "beautiful scenery nature glass bottle landscape, purple galaxy bottle,",
            "negative_prompt": "text, watermark", "num_inference_steps": 10, "guidance_scale": 2.5, "width": 1024,
            "height": 1024, "num_images_per_prompt": 1, "model": "SDXL-Flash",
            **sampling("dpmpp_2m_sde", sigmas="karras"),
        },
        ("seed: 156680208700286 (must be at most 4294967295)",),
    ),
    (
        samples.COMFYUI_REFINER, "ComfyUI",
        {
            "prompt": "positive prompt", "negative_prompt": "", "num_inference_steps": 25, "guidance_scale": 10.0,
            "width": 1024, "height": 1024,
            "num_images_per_prompt": 1, "model": "xl6HEPHAISTOSSD10XLSFW_v10", "refiner": "sd_xl_refiner_1.0",
            "denoising_end": 0.8, **sampling("euler", "linspace"),
        },
        ("SDXLPromptStyler: sai-base", "seed: 570665753905807 (must be at most 4294967295)"),
    ),
    (
        samples.COMFYUI_LORAS, "ComfyUI",
        {
            "prompt": "a red fox, at night", "negative_prompt": "", "num_inference_steps": 10, "guidance_scale": 2.5,
            "seed": 5, "width": 1024, "height": 1024,
            "num_images_per_prompt": 1, "model": "perfectionRealisticILXL_v10", "clip_skip": 0,
            "loras": [{"name": "add-detail-xl", "weight": 0.95}, {"name": "lcm_lora_sdxl", "weight": 1.0}],
            **sampling("dpmpp_2m_sde", "trailing"),
        },
        (),
    ),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(EXPECTED)))
def test_what_the_peers_wrote_is_read_and_the_rest_is_named(index: int) -> None:
    sample, source, values, unmapped = EXPECTED[index]
    found = read(sample)
    assert (found.source, found.task) == (source, "text_to_image")
    assert found.values == values
    shortened = tuple(said.split(": [")[0] + ": …" if said.startswith("Civitai") else said for said in found.unmapped)
    assert shortened == unmapped


# A1111's infotext


def test_a_prompt_and_a_negative_prompt_may_have_several_lines() -> None:
    text = f"a fox\n\n  in the snow \nNegative prompt: blur,\nNegative prompt: twice\n\n{LINE}"
    found = split_infotext(text)
    assert found is not None
    assert found.prompt == "a fox\n\n  in the snow"
    assert found.negative_prompt == "blur,\nNegative prompt: twice"


@pytest.mark.parametrize(
    "text",
    ["", "a fox", "Steps: 20", "a fox, Steps: 20", "Steps: many, Sampler: Euler", "steps: 20, sampler: x", "{", "\0"],
)
def test_a_text_without_a_line_of_settings_is_none(text: str) -> None:
    assert split_infotext(text) is None
    with pytest.raises(InvalidRequest, match=r"^text must be an infotext"):
        read_text_settings(text)


def test_what_stands_behind_the_settings_is_passed_over() -> None:
    found = read(f"a red fox\nNegative prompt: blur\n{LINE}\nTemplate: a {{red|blue}} fox\nNegative Template: blur")
    assert (found.values["prompt"], found.values["seed"], found.unmapped) == ("a red fox", 5, ())


def test_what_wildcards_were_drawn_from_comes_along(tmp_path: Path) -> None:
    found = read(f'a red fox\n{LINE}, Template: "a {{red|blue}} fox", Negative Template: "\\ud800"')
    assert (found.template, found.unmapped) == ({"prompt": "a {red|blue} fox", "negative_prompt": "?"}, ())
    request = make_request(TextToImageRequest, {"prompt": "a red fox", "width": 64, "height": 64})
    chunks = make_text_chunks(request, seed=5, model="demo", template={"prompt": "a {red|blue} fox"})
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png", pnginfo=chunks)
    assert read_picture_settings(tmp_path / "a.png").template == {"prompt": "a {red|blue} fox"}


def test_windows_line_ends_and_other_letters_are_read_too() -> None:
    found = read(f"a fox\r\nNegative Prompt: blur\r\n{LINE}, cfg SCALE: 3\r\n")
    assert (found.values["negative_prompt"], found.values["guidance_scale"]) == ("blur", 3.0)


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ('a: "b, c: d", e: f', {"a": "b, c: d", "e": "f"}),
        (r'a: "say \"x, y\"", e: f', {"a": 'say "x, y"', "e": "f"}),
        ('a: "b, e: f', {"a": '"b', "e": "f"}),
        ('a: "b" c, e: f', {"a": '"b" c', "e": "f"}),
        ('a: {"b": "c", "d": [1, 2]}, e: f', {"a": '{"b": "c", "d": [1, 2]}', "e": "f"}),
        ("a: [1, 2, e: f", {"a": "[1", "e": "f"}),
        ("a: , e: f", {"a": "", "e": "f"}),
        ("word, e: f,", {"e": "f"}),
        ("a: b: c, a: d", {"a": "b: c"}),
        ("", {}),
    ],
)
def test_a_line_is_split_at_the_commas_that_stand_in_no_value(line: str, settings: dict[str, str]) -> None:
    assert split_settings(line) == settings


def test_each_value_is_judged_alone() -> None:
    found = read("a fox\nSteps: 500, Sampler: Euler, CFG scale: 7, Seed: x, Size: 1020x1024, Clip skip: 40")
    assert found.values == {"prompt": "a fox", "negative_prompt": "", "guidance_scale": 7.0} | sampling(
        "euler", "linspace"
    )
    assert sorted(found.unmapped) == [
        "Clip skip: 40",
        "Seed: x (must be a whole number)",
        "Size: 1020x1024 (must be a multiple of 8)",
        "Steps: 500 (must be at most 150)",
    ]


def test_values_that_do_not_go_together_give_way_to_the_others() -> None:
    found = read("a fox\nSteps: 80, Sampler: LCM, CFG scale: 2")
    assert (found.values["scheduler"], found.unmapped) == ("lcm", ("Steps: 80 (must be at most 50 with lcm)",))


def test_a_picture_to_start_from_makes_it_image_to_image() -> None:
    found = read(f"a fox\n{LINE}, Denoising strength: 0.35, Resize mode: Just resize")
    assert (found.task, found.values["strength"], found.values["resize_mode"]) == ("image_to_image", 0.35, "stretch")


def test_a_mask_makes_it_inpaint() -> None:
    found = read(
        f"a fox\n{LINE}, Denoising strength: 0.75, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 40, "
        "Mask mode: Inpaint not masked"
    )
    assert found.task == "inpaint"
    own = {name: found.values[name] for name in ("strength", "inpaint_area", "padding_mask_crop", "invert_mask")}
    assert own == {"strength": 0.75, "inpaint_area": "masked", "padding_mask_crop": 40, "invert_mask": True}
    assert found.unmapped == ("Mask blur: 4",)


def test_what_sets_nothing_is_not_listed() -> None:
    found = read(
        f"a fox\n{LINE}, RNG: CPU, Model hash: a, VAE hash: b, VAE: Automatic, Refiner: None, User: me, "
        "Style Selector Enabled: True, Style Selector Randomize: False, Style Selector Style: base, Version: v1.9.0"
    )
    assert found.unmapped == ()
    assert not {"vae", "refiner"} & set(found.values)
    assert read(f"a fox\n{LINE}, RNG: NV").unmapped == ("RNG: NV",)


def test_a_long_list_of_what_is_not_mapped_is_cut() -> None:
    found = read(f"a fox\n{LINE}, " + ", ".join(f"ADetailer {number}: {'x' * 500}" for number in range(100)))
    assert len(found.unmapped) == MAX_UNMAPPED + 1
    assert found.unmapped[-1] == f"… {100 - MAX_UNMAPPED} more"
    assert max(map(len, found.unmapped)) <= 160


@pytest.mark.parametrize(
    ("version", "source"),
    [
        ("v1.10.1", "AUTOMATIC1111"), ("1.6.0", "AUTOMATIC1111"), ("f0.0.17v1.8.0rc-latest", "Forge"),
        ("f2.0.1v1.10.1-previous-669-gdfdcbab6", "Forge"), ("neo", "Forge"), ("Fooocus v2.5.5", "Fooocus"),
        ("ComfyUI", "ComfyUI"), ("v1.10.1, App: SD.Next", "SD.Next"),
    ],
)  # fmt: skip
def test_the_program_is_named(version: str, source: str) -> None:
    assert read(f"a fox\n{LINE}, Version: {version}").source == source


# Samplers


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("DPM++ 2M Karras", "", sampling("dpmpp_2m", sigmas="karras")),
        ("DPM++ 2M", "Karras", sampling("dpmpp_2m", sigmas="karras")),
        ("DPM++ 2M", "Automatic", sampling("dpmpp_2m", sigmas="karras")),
        ("DPM++ 2M", "", sampling("dpmpp_2m", "linspace")),
        ("DPM++ 2M SDE Exponential", "", sampling("dpmpp_2m_sde", sigmas="exponential")),
        ("DPM++ 2M SDE", "Automatic", sampling("dpmpp_2m_sde", sigmas="exponential")),
        ("DPM++ SDE Karras", "", sampling("dpmpp_sde", sigmas="karras")),
        ("DPM2 a Karras", "", sampling("dpm2_ancestral", "linspace", "karras")),
        ("LMS Karras", "", sampling("lms", "linspace", "karras")),
        ("Euler", "SGM Uniform", sampling("euler", "trailing")),
        ("Euler", "Align Your Steps", sampling("euler", steps="align_your_steps")),
        ("Euler", "Beta", sampling("euler", "linspace", "beta")),
        ("Euler a", "", sampling("euler_ancestral", "linspace")),
        ("DDIM", "", sampling("ddim", "leading")),
        ("PLMS", "", sampling("pndm", "leading")),
        ("UniPC", "", sampling("unipc", "leading")),
        ("LCM", "", sampling("lcm")),
        ("euler_ancestral", "normal", sampling("euler_ancestral", "linspace")),
        ("dpmpp_2m_sde_gpu", "karras", sampling("dpmpp_2m_sde", sigmas="karras")),
        ("dpmpp_2m", "sgm_uniform", sampling("dpmpp_2m", "trailing")),
        ("dpm_2", "simple", sampling("dpm2", "trailing")),
        ("dpm_2_ancestral", "exponential", sampling("dpm2_ancestral", "linspace", "exponential")),
        ("heun", "beta", sampling("heun", "linspace", "beta")),
        ("ddim", "ddim_uniform", sampling("ddim", "leading")),
        ("uni_pc_bh2", "normal", sampling("unipc", "linspace")),
        ("deis", "karras", sampling("deis", sigmas="karras")),
        ("lms", "normal", sampling("lms", "linspace")),
        ("sample_dpmpp_2m", "ays", sampling("dpmpp_2m", steps="align_your_steps")),
        ("lcm", "lcm", sampling("lcm")),
    ],
)
def test_samplers_and_schedules_have_our_names(sampler: str, schedule: str, expected: dict[str, str]) -> None:
    found = find_sampling(sampler, schedule)
    assert found is not None
    assert (found.values, found.obeyed) == (expected, True)


@pytest.mark.parametrize("sampler", ["DPM++ 3M SDE", "DPM adaptive", "Restart", "res_multistep", "", "Karras"])
def test_an_unknown_sampler_has_none(sampler: str) -> None:
    assert find_sampling(sampler, "karras") is None


@pytest.mark.parametrize(
    ("sampler", "schedule"), [("Euler a", "Karras"), ("DDIM", "Beta"), ("lcm", "simple"), ("euler", "kl_optimal")]
)
def test_a_schedule_that_the_scheduler_does_not_obey_is_told(sampler: str, schedule: str) -> None:
    found = find_sampling(sampler, schedule)
    assert found is not None
    assert not found.obeyed
    assert found.values["sigmas"] == "default"


def test_no_sampler_gets_options_that_it_does_not_know() -> None:
    schedules = ["", "automatic", "karras", "exponential", "beta", "ays", "uniform", "sgm uniform", "ddim", "other"]
    for name in SCHEDULER_NAMES:
        for schedule in schedules:
            found = find_sampling(SCHEDULER_TITLES[name], schedule)
            assert found is not None
            check_sampling(**found.values)  # type: ignore[arg-type]
            assert found.values["scheduler"] == name


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SDXL\\folder\\a.b.safetensors", "a.b"), ("sub/model.ckpt", "model"), ("model [1a2b3c4d]", "model"),
        ("model_v1.0", "model_v1.0"), ("model.SafeTensors", "model"), ("", ""), ("a.safetensors [1f]", "a"),
    ],
)  # fmt: skip
def test_a_models_name_has_no_folder_extension_or_hash(file: str, name: str) -> None:
    assert plain_name(file) == name


# Fooocus


def test_a_performance_brings_its_steps_and_its_lora() -> None:
    data = {"prompt": "a fox", "base_model": "a.safetensors", "performance": "Lightning", "sampler": "euler"}
    found = read(data)
    assert found.values["num_inference_steps"] == 4
    assert found.values["loras"] == [{"name": "lightning-4-steps", "weight": 1.0}]
    assert read(data | {"performance": "Quality"}).values["num_inference_steps"] == 60


def test_a_refiner_takes_over_where_fooocus_switches() -> None:
    data = {
        "prompt": "a fox",
        "base_model": "a",
        "refiner_model": "sd_xl_refiner_1.0.safetensors",
        "refiner_switch": 0.7,
    }
    assert read(data).values.items() >= {"refiner": "sd_xl_refiner_1.0", "denoising_end": 0.7}.items()
    assert "denoising_end" not in read(data | {"refiner_model": "None"}).values


def test_one_wrong_lora_does_not_cost_the_others() -> None:
    loras = [["good", 0.5, "h"], ["heavy", 40, "h"], ["good", 1, "h"], ["", 1], "text", ["none"], ["None", 1.0]]
    found = read({"prompt": "a fox", "base_model": "a", "loras": loras})
    assert found.values["loras"] == [{"name": "good", "weight": 1.0}]
    assert found.unmapped == ("LoRA heavy: 40",)


# Pictures


def exif_picture(path: Path, comment: bytes) -> Path:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    Image.new("RGB", (16, 16)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
@pytest.mark.parametrize(
    ("head", "encoding"),
    [(b"UNICODE\0", "utf-16-be"), (b"UNICODE\0", "utf-16-le"), (b"ASCII\0\0\0", "utf-8"), (b"", "utf-8")],
)
def test_exifs_comment_holds_an_infotext_too(tmp_path: Path, name: str, head: bytes, encoding: str) -> None:
    text = f"a fox 🦊\n{LINE}" if encoding != "utf-8" else f"a fox\n{LINE}"
    found = read_picture_settings(exif_picture(tmp_path / name, head + text.encode(encoding)))
    assert (found.values["prompt"], found.values["seed"]) == (text.split("\n")[0], 5)


@pytest.mark.parametrize(("scheme", "sample"), [("fooocus", samples.FOOOCUS_JSON), ("a1111", samples.FOOOCUS_A1111)])
@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.png"])
def test_both_schemes_of_fooocus_are_read_from_each_of_its_formats(
    tmp_path: Path, scheme: str, sample: Any, name: str
) -> None:
    text = sample if isinstance(sample, str) else json.dumps(sample)
    path = tmp_path / name
    if name.endswith("png"):
        save(path, parameters=text, fooocus_scheme=scheme)
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.UserComment], exif[ExifTags.Base.MakerNote] = text, scheme
        Image.new("RGB", (16, 16)).save(path, exif=exif)
    assert read_picture_settings(path) == read(sample)


def test_a_graph_stands_in_its_own_chunk(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", prompt=json.dumps(samples.COMFYUI_PLAIN), workflow='{"nodes": []}')
    assert read_picture_settings(path) == read(samples.COMFYUI_PLAIN)


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        ({"workflow": '{"nodes": [], "links": []}'}, "must hold the graph that ComfyUI ran"),
        ({"invokeai_metadata": "{}"}, "not of InvokeAI"),
        ({"Software": "NovelAI", "Comment": "{}"}, "not of NovelAI"),
        ({"parameters": '{"sui_image_params": {"prompt": "a"}}'}, "not of SwarmUI"),
        ({"parameters": "a fox"}, "must hold settings of this studio, AUTOMATIC1111, Forge, Fooocus or ComfyUI, got"),
        ({"prompt": "[" * 100_000}, "must hold settings of this studio"),
        ({"prompt": '{"a":' * 100_000}, "must hold settings of this studio"),
        ({}, "must hold settings of this studio"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path: Path, texts: dict[str, str], rule: str) -> None:
    with pytest.raises(PictureError) as caught:
        read_picture_settings(save(tmp_path / "a.png", **texts), "picture")
    assert rule in str(caught.value)
    assert caught.value.field == "picture"


# Hostile texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
KEYS = """model positive negative latent_image clip text text_g text_l seed noise_seed steps cfg sampler_name scheduler
    denoise ckpt_name lora_name strength_model width height crop_w crop_h samples vae images conditioning_to
    conditioning_from string_a string_b delimiter value start_at_step end_at_step guider sigmas noise sampler ascore
    lora_1 vae_name"""
KINDS = """KSampler KSamplerAdvanced SamplerCustomAdvanced SamplerCustom CLIPTextEncode CLIPTextEncodeSDXL SaveImage
    VAEDecode VAEEncode LoraLoader CheckpointLoaderSimple EmptyLatentImage ConditioningConcat ConditioningCombine
    CLIPSetLastLayer RescaleCFG BasicScheduler RandomNoise CFGGuider Reroute StringConcatenate LoadImage"""
SETTINGS = """Sampler,Schedule type,CFG scale,Seed,Size,Model,VAE,Clip skip,Refiner,Loras,Task,Version,
Denoising strength,Module 1,Mask mode,Hires upscale,Timestep spacing,Prompt 2""".replace("\n", "")
LINKS = st.tuples(st.sampled_from("123456"), st.integers(0, 2)).map(list)
GRAPHS = st.dictionaries(
    st.sampled_from("123456"),
    st.fixed_dictionaries(
        {
            "class_type": st.sampled_from(KINDS.split()),
            "inputs": st.dictionaries(st.sampled_from(KEYS.split()), LINKS | JSON, max_size=9),
        }
    )
    | JSON,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(GRAPHS)
def test_no_graph_raises_anything_but_our_error(graph: Any) -> None:
    try:
        found = read_text_settings(json.dumps(graph))
    except InvalidRequest:
        return
    json.dumps(found.values)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from([*samples.FOOOCUS_JSON, *samples.FOOOCUS_LEGACY]), JSON), st.text(max_size=10))
def test_no_json_of_fooocus_raises_anything(data: Any, prompt: str) -> None:
    found = read_text_settings(json.dumps({**data, "prompt": prompt, "base_model": "a"}))
    json.dumps(found.values)


@settings(max_examples=40, deadline=None)
@given(
    st.text(max_size=30),
    st.dictionaries(st.sampled_from(SETTINGS.split(",")), st.text(max_size=12)),
)  # fmt: skip
def test_no_infotext_raises_anything(prompt: str, pairs: dict[str, str]) -> None:
    line = ", ".join(f"{key}: {value}" for key, value in {"Steps": "20", **pairs, "Seed": "1"}.items())
    try:
        found = read_text_settings(f"{prompt}\n{line}")
    except InvalidRequest:
        assert "\n" in line or "\r" in line
        return
    json.dumps(found.values)


@pytest.mark.parametrize(
    "text",
    [
        "Steps: 1, " + 'k:["a,' * 150_000,
        "a:[1," * 180_000 + "\nSteps: 1, a: b",
        "Steps: 1, a: " + "[" * 900_000,
        "Steps: 1, a: " + '"\\' * 400_000,
        "Steps: 1, a: " + 'x "' * 300_000,
        "Steps: 1, " + "a: b, " * 150_000,
        "Steps:" * 150_000,
        ", Steps: 1" * 90_000,
        "\nSteps: 1," * 90_000,
        "Negative prompt:\n" * 50_000 + LINE,
        f"{'(' * 900_000}\n{LINE}",
        json.dumps(
            {str(n): {"class_type": "KSampler", "inputs": {"latent_image": [str(n + 1), 0]}} for n in range(9_000)}
        ),
        json.dumps(
            {"0": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}
            | {"1": {"class_type": "KSampler", "inputs": {"steps": 1, "cfg": 1, "positive": ["2", 0]}}}
            | {
                str(n): {"class_type": "X", "inputs": {"string_a": [str(n + 1), 0], "string_b": [str(n + 1), 0]}}
                for n in range(3, 5000)
            }
            | {"2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["3", 0]}}}
        ),
    ],
)
def test_a_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    with suppress(InvalidRequest):
        read_text_settings(text)
    assert time.process_time() - began < 5


GRAPH_OF_A_PICTURE = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "\ud800bad"}},
    "2": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0]}},
    "3": {"class_type": "KSampler", "inputs": {"steps": 5, "cfg": 2, "latent_image": ["2", 0]}},
    "4": {"class_type": "\udfffX", "inputs": {"images": ["3", 0]}},
}
FOOOCUS = {"prompt": "a fox", "base_model": "a"}


@pytest.mark.parametrize(
    "sample",
    [
        GRAPH_OF_A_PICTURE,
        FOOOCUS | {"styles": "['\ud800']"},
        FOOOCUS | {"sampler": "\ud800", "scheduler": "\ud800", "vae": "\ud800", "\ud800": "\ud800"},
        FOOOCUS | {"loras": [["\ud800", 1]]},
        f'a fox\n{LINE}, Foo: "\\ud800"',
        f'a fox\n{LINE}, App: "\\ud800"',
        f'a fox\n{LINE}, Model: "\\ud800", Version: sdxl-studio 1',
        f'a fox\n{LINE}, Loras: "\\ud800: 1", Version: sdxl-studio 1',
    ],
)
def test_half_a_character_never_gets_out(sample: Any) -> None:
    found = read(sample)
    json.dumps(asdict(found), ensure_ascii=False).encode()
    assert "?" in f"{found.source} {found.unmapped}"


def test_more_loras_than_can_be_are_not_looked_for() -> None:
    tags = "<lora:a:1>" * 100
    found = read(f'a fox {tags}\n{LINE}, Loras: "{"a: 1, " * 150_000}", Version: sdxl-studio 1')
    assert "loras" not in found.values
    assert found.values["prompt"] == f"a fox {tags}"
    assert [said[:13] for said in found.unmapped] == ["Loras: a: 1, "]


def test_a_graph_that_goes_in_circles_comes_to_an_end() -> None:
    links = {"model": ["2", 0], "positive": ["3", 0], "latent_image": ["1", 0]}
    ring = {
        "1": {"class_type": "KSampler", "inputs": {"steps": 5, "cfg": 2, **links}},
        "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "a.ckpt", "strength_model": 1, "model": ["2", 0]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": ["4", 0], "clip": ["3", 0]}},
        "4": {"class_type": "StringConcatenate", "inputs": {"string_a": ["4", 0], "string_b": ["4", 0]}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }  # fmt: skip
    found = read(ring)
    assert found.values["loras"] == [{"name": "a", "weight": 1.0}]
    assert "positive prompt: from StringConcatenate" in found.unmapped
