"""The common graphs of ComfyUI, each built from the nodes that its editor offers, in our words."""

from copy import deepcopy
from typing import Any

import pytest

from pipelines.media.readers.comfyui import read_graph
from tests.media.samples import COMFYUI_PLAIN, COMFYUI_REFINER

Graph = dict[str, Any]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def plain(**nodes: Any) -> Graph:
    """The first graph of the editor with some nodes replaced or added; a dict of inputs changes those of a node."""
    graph = deepcopy(COMFYUI_PLAIN)
    for name, changed in nodes.items():
        number = name.removeprefix("n")
        if "class_type" in changed:
            graph[number] = changed
        else:
            graph[number]["inputs"] |= changed
    return graph


def test_a_picture_to_start_from_is_image_to_image_and_cannot_be_restored() -> None:
    graph = plain(
        n3={"latent_image": ["11", 0], "denoise": 0.87, "seed": 3},
        n10=node("LoadImage", image="example.png"),
        n11=node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
    )
    found = read_graph(graph)
    assert (found.task, found.values["strength"]) == ("image_to_image", 0.87)
    assert "width" not in found.values
    assert found.unmapped == ("LoadImage: example.png",)


def advanced(**inputs: Any) -> Graph:
    """A sampler that begins in mid-schedule over an uploaded picture."""
    shared = {key: COMFYUI_PLAIN["3"]["inputs"][key] for key in ("cfg", "sampler_name", "scheduler", "model")}
    return plain(
        n3=node("KSamplerAdvanced", **shared, noise_seed=3, latent_image=["11", 0], **inputs),
        n11=node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
    )


def test_a_later_start_is_a_smaller_strength() -> None:
    assert read_graph(advanced(steps=20, start_at_step=5)).values["strength"] == 0.75


@pytest.mark.parametrize(
    ("steps", "start_at"),
    [(20, 10**400), (1, 10**400), (10**400, 5), (20, -1), (20, True), (True, 0), (0, 0), (20, "5")],
)
def test_no_strength_follows_from_steps_that_are_none(steps: Any, start_at: Any) -> None:
    found = read_graph(advanced(steps=steps, start_at_step=start_at))
    assert "strength" not in found.values
    assert f"start_at_step: {start_at}"[:100] in [said[:100] for said in found.unmapped]


def test_true_is_no_step_at_which_two_samplers_meet() -> None:
    graph = deepcopy(COMFYUI_REFINER)
    first, second = (item["inputs"] for item in graph.values() if item["class_type"] == "KSamplerAdvanced")
    for start, end in ((True, 1), (1, True)):
        first["end_at_step"], second["start_at_step"] = end, start
        assert "refiner" not in read_graph(graph).values
    first["end_at_step"] = second["start_at_step"] = 1
    assert read_graph(graph).values["denoising_end"] == 0.04


def test_a_masked_picture_is_inpaint() -> None:
    graph = plain(
        n3={"latent_image": ["12", 0], "denoise": 0.5, "seed": 3},
        n10=node("LoadImage", image="a.png"),
        n11=node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
        n12=node("SetLatentNoiseMask", samples=["11", 0], mask=["10", 1]),
    )
    assert (read_graph(graph).task, read_graph(graph).values["strength"]) == ("inpaint", 0.5)


def test_an_inpainting_models_conditioning_is_followed() -> None:
    graph = plain(
        n3={"positive": ["11", 0], "negative": ["11", 1], "latent_image": ["11", 2], "seed": 3},
        n10=node("LoadImageMask", image="a.png"),
        n11=node("InpaintModelConditioning", positive=["6", 0], negative=["7", 0], pixels=["10", 0], vae=["4", 2]),
    )
    found = read_graph(graph)
    assert found.task == "inpaint"
    assert found.values["negative_prompt"] == "text, watermark"
    assert found.unmapped == ("LoadImageMask: a.png",)


def test_a_second_pass_over_larger_latents_is_named_and_the_first_one_read() -> None:
    second = {**COMFYUI_PLAIN["3"]["inputs"], "latent_image": ["20", 0], "denoise": 0.5, "steps": 15}
    graph = plain(
        n3={"seed": 3},
        n20=node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5),
        n21=node("KSampler", **second),
        n8={"samples": ["21", 0]},
    )
    found = read_graph(graph)
    assert (found.values["num_inference_steps"], found.values["width"]) == (10, 1024)
    assert found.unmapped == ("another pass with KSampler: steps 15, cfg 2.5, denoise 0.5",)


def test_two_samplers_of_one_model_on_one_schedule_are_one_run() -> None:
    graph = deepcopy(COMFYUI_REFINER)
    graph["11"]["inputs"]["model"] = ["4", 0]
    found = read_graph(graph)
    assert not {"refiner", "denoising_end"} & set(found.values)
    assert found.values["num_inference_steps"] == 25


def test_the_refiners_scores_are_read() -> None:
    graph = deepcopy(COMFYUI_REFINER)
    for number, score in (("15", 7.5), ("16", 2)):
        graph[number] = node(
            "CLIPTextEncodeSDXLRefiner", text="a", ascore=score, width=1024, height=1024, clip=["12", 1]
        )
    found = read_graph(graph)
    assert (found.values["aesthetic_score"], found.values["negative_aesthetic_score"]) == (7.5, 2.0)


def test_both_encoders_prompts_and_sizes_are_read() -> None:
    sizes = {"width": 4096, "height": 2048, "crop_w": 16, "crop_h": 8, "target_width": 1024, "target_height": 1024}
    graph = plain(
        n3={"seed": 3},
        n6=node("CLIPTextEncodeSDXL", text_g="a landscape", text_l="fog, hills", clip=["4", 1], **sizes),
        n7=node("CLIPTextEncodeSDXL", text_g="blur", text_l="blur", clip=["4", 1], **sizes | {"crop_w": 0}),
    )
    values = read_graph(graph).values
    assert (values["prompt"], values["prompt_2"]) == ("fog, hills", "a landscape")
    assert values["negative_prompt"] == "blur"
    assert "negative_prompt_2" not in values
    assert (values["original_size"], values["crops_coords_top_left"]) == ([2048, 4096], [8, 16])
    assert "target_size" not in values, "it is the picture's own"
    assert values["negative_crops_coords_top_left"] == [8, 0]
    assert "negative_original_size" not in values, "it is the positive one's"


def test_concatenated_prompts_are_chunks_and_combined_ones_are_told() -> None:
    graph = plain(
        n3={"positive": ["20", 0], "seed": 3},
        n20=node("ConditioningConcat", conditioning_to=["6", 0], conditioning_from=["21", 0]),
        n21=node("CLIPTextEncode", text="at night", clip=["4", 1]),
        n6={"text": "a red fox"},
    )
    assert read_graph(graph).values["prompt"] == "a red fox\nBREAK\nat night"
    graph["20"] = node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["21", 0])
    found = read_graph(graph)
    assert (found.values["prompt"], found.unmapped) == ("a red fox", ("positive: ConditioningCombine",))


def test_a_control_net_is_told_and_the_words_behind_it_are_read() -> None:
    graph = plain(
        n3={"positive": ["20", 0], "negative": ["20", 1], "seed": 3},
        n20=node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["22", 0], strength=1),
        n22=node("ControlNetLoader", control_net_name="canny.safetensors"),
    )
    found = read_graph(graph)
    assert found.values["negative_prompt"] == "text, watermark"
    assert found.unmapped == ("positive: ControlNetApplyAdvanced", "negative: ControlNetApplyAdvanced")


def test_a_negative_that_is_zeroed_out_is_empty() -> None:
    graph = plain(n3={"negative": ["20", 0], "seed": 3}, n20=node("ConditioningZeroOut", conditioning=["6", 0]))
    assert read_graph(graph).values["negative_prompt"] == ""


def test_words_that_no_known_node_holds_are_told() -> None:
    graph = plain(n3={"seed": 3}, n6={"text": ["20", 0]}, n20=node("Florence2Run", image=["21", 0]))
    found = read_graph(graph)
    assert "prompt" not in found.values
    assert found.unmapped == ("positive prompt: from Florence2Run",)


def test_custom_samplers_are_read_from_their_own_nodes() -> None:
    graph = plain(
        n3=node(
            "SamplerCustomAdvanced", noise=["20", 0], guider=["21", 0], sampler=["22", 0], sigmas=["23", 0],
            latent_image=["5", 0],
        ),
        n20=node("RandomNoise", noise_seed=11),
        n21=node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=6),
        n22=node("KSamplerSelect", sampler_name="euler"),
        n23=node("AlignYourStepsScheduler", model_type="SDXL", steps=12, denoise=1),
    )  # fmt: skip
    found = read_graph(graph)
    assert found.unmapped == ()
    expected = {
        "seed": 11, "guidance_scale": 6.0, "num_inference_steps": 12, "scheduler": "euler", "model": "SDXL-Flash",
        "timesteps": "align_your_steps", "negative_prompt": "text, watermark", "width": 1024,
    }  # fmt: skip
    assert {name: found.values[name] for name in expected} == expected


def test_what_changes_the_model_is_read_or_told() -> None:
    graph = plain(
        n3={"model": ["20", 0], "seed": 3},
        n20=node("RescaleCFG", model=["21", 0], multiplier=0.7),
        n21=node("FreeU_V2", model=["22", 0], b1=1.3, s1=0.9),
        n22=node("LoraLoaderModelOnly", model=["4", 0], lora_name="a/ink.safetensors", strength_model=0.6),
    )
    found = read_graph(graph)
    assert found.values["guidance_rescale"] == 0.7
    assert found.values["loras"] == [{"name": "ink", "weight": 0.6}]
    assert found.unmapped == ("FreeU_V2: b1 1.3, s1 0.9",)


def test_a_vae_of_its_own_and_skipped_layers_are_read() -> None:
    graph = plain(
        n3={"seed": 3},
        n6={"clip": ["20", 0]},
        n20=node("CLIPSetLastLayer", clip=["4", 1], stop_at_clip_layer=-3),
        n8={"vae": ["21", 0]},
        n21=node("VAELoader", vae_name="sdxl_vae.safetensors"),
    )
    assert read_graph(graph).values.items() >= {"clip_skip": 1, "vae": "sdxl_vae"}.items()
    graph["20"]["inputs"]["stop_at_clip_layer"] = -1
    assert read_graph(graph).unmapped == ("stop_at_clip_layer: -1",), "SDXL's last layer is never used"


def test_numbers_may_come_from_nodes_of_their_own() -> None:
    graph = plain(
        n3={"seed": ["20", 0], "steps": ["21", 0]},
        n20=node("Seed (rgthree)", seed=99),
        n21=node("PrimitiveInt", value=22),
    )
    values = read_graph(graph).values
    assert (values["seed"], values["num_inference_steps"]) == (99, 22)


def test_a_graph_that_only_shows_its_picture_is_read_too() -> None:
    graph = plain(n3={"seed": 3}, n9=node("PreviewImage", images=["8", 0]))
    assert read_graph(graph) == read_graph(plain(n3={"seed": 3}))
    del graph["9"]
    assert read_graph(graph) == read_graph(plain(n3={"seed": 3})), "nor does it need a node that shows it"


def test_a_graph_without_a_sampler_that_we_know_says_so() -> None:
    found = read_graph({"1": node("WanVideoSampler", steps=4), "2": node("SaveImage", images=["1", 0])})
    assert (found.values, found.unmapped) == ({}, ("no sampler of the common kinds in this graph",))


def test_a_batch_is_so_many_pictures() -> None:
    assert read_graph(plain(n5={"batch_size": 4})).values["num_images_per_prompt"] == 4
    found = read_graph(plain(n5={"batch_size": 40}, n3={"seed": 3}))
    assert "num_images_per_prompt" not in found.values
    assert found.unmapped == ("batch_size: 40 (must be at most 8)",)
