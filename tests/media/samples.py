"""What the peers' programs wrote into pictures: their settings as they were, long prompts replaced by a few words.

Each sample names the program that wrote it and where it was seen; most in the test data of readers of such metadata.
"""

from typing import Any

A1111_OLD = (  # A1111's web UI of 2023; a test picture of d3x-at/sd-parsers (MIT)
    "photo of a duck\n"
    "Negative prompt: monochrome\n"
    "Steps: 15, Sampler: UniPC, CFG scale: 5, Seed: 235284042, Size: 512x400, Model hash: c0d1994c73, "
    "Model: realistic_realisticVisionV20_v20"
)
A1111_SDXL = (  # A1111's web UI 1.4.1, the picture of its wiki page; seen in fkleon/fooocus-metadata
    "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k\n"
    "Steps: 50, Sampler: DPM++ 2M Karras, CFG scale: 5, Seed: 42, Size: 1024x1024, Model hash: 1f69731261, "
    "Model: sd_xl_base_0.9, Clip skip: 2, RNG: CPU, Version: v1.4.1-166-g21aec6f5"
)
A1111_HIRES = (  # A1111's web UI of early 2023; seen in fkleon/fooocus-metadata
    "a mechwarrior robot with a (laster gun:1.2), [detailed]\n"
    "Negative prompt: lowres, [green background]\n"
    "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 2395363541, Size: 640x640, Model hash: 53d4559a, "
    "Model: elldrethSLucidMix_v10, Denoising strength: 0, Hires upscale: 2, Hires steps: 1, "
    "Hires upscaler: Latent (antialiased)"
)
A1111_NEW = (  # A1111's web UI 1.9.4; seen in the tests of a Discord bot that reads such pictures
    "magical fantasy forest <lora:CosmicStyleSDXL:1.2> <lora:add-detail-xl:0.8>\n"
    "Negative prompt: watermark\n"
    "Steps: 30, Sampler: DPM++ 3M, Schedule type: Karras, CFG scale: 6.5, Seed: 2921279476, Size: 888x1184, "
    "Model hash: 501235c0cd, Model: jibMixRealisticXL_v180SkinSupreme, VAE hash: f03e48fe77, "
    'VAE: sdxl-vae-fp16-fix.safetensors, Lora hashes: "CosmicStyleSDXL: ccfe5cfff7, add-detail-xl: 0d9bd1b873", '
    "Version: v1.9.4"
)
A1111_REFINER = (  # A1111's web UI 1.6.0, its settings reordered by a model site; seen in a list of SDXL models
    "a ghibli landscape\n"
    "Negative prompt: blurry\n"
    "Steps: 40, Size: 1024x1024, Seed: 112358132134, Model: sd_xl_base_1.0_0.9vae, "
    "Refiner: sd_xl_refiner_1.0_0.9vae [8d0ce6c016], Version: v1.6.0, Sampler: DPM++ 3M SDE Karras, CFG scale: 7, "
    'Model hash: e6bb9ea85b, "ghibli_last: 56d1eeb58396", Refiner switch at: 0.8'
)
CIVITAI = (  # Civitai's generator of 2024; seen in the tests of a reader in TypeScript
    "double exposure, yin yang symbol,\n"
    "miniature carribean beach scene \n"
    "Negative prompt:  negativeXL_D, greyscale\n"
    "Steps: 22, Sampler: DPM++ 2M Karras, CFG scale: 3.8, Seed: 894409639, Size: 832x1216, Clip skip: 2, "
    "Created Date: 2024-09-23T06:17:42.9952795Z, Civitai resources: "
    '[{"type":"checkpoint","modelVersionId":128078,"modelName":"SD XL","modelVersionName":"v1.0 VAE fix"},'
    '{"type":"lora","weight":0.85,"modelVersionId":210432,"modelName":"Double Exposure"}], Civitai metadata: {}'
)
FORGE = (  # Forge 2.0.1; seen as the settings of a browser script that fills its inputs
    "a lighthouse at dusk\n"
    "Steps: 25, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: -1, Size: 768x1088, "
    "Model hash: bdb59bac77, Model: waiIllustrious_v140, Denoising strength: 0.37, ADetailer model: face_yolov8n.pt, "
    "Hires Module 1: Use same choices, Hires CFG Scale: 5, Hires upscale: 1.5, Hires upscaler: R-ESRGAN 4x+, "
    "Version: f2.0.1v1.10.1-previous-669-gdfdcbab6, Module 1: sdxl_vae"
)
FORGE_NOOB = (  # Forge 2.0.1; seen in the tests of a reader in TypeScript
    "a fox, J4D3\n"
    "Negative prompt: SmoothNegativePony-neg,\n"
    "score_6, score_5, score_4\n"
    "Steps: 60, Sampler: DPM++ 3M SDE, Schedule type: Karras, CFG scale: 7, Seed: 1736401068, Size: 896x1152, "
    "Model hash: 34d8e4c691, Model: smoothMixOldVerNoobai_ponyV3, Clip skip: 2, ADetailer model: face_yolov9c.pt, "
    'ADetailer prompt: "detailed face", Lora hashes: "Smooth Pony Booster: ad1599fe9152, JADE: 0790afc4176e", '
    'TI: "SmoothQualityPony, SmoothQualityPony", NGMS: 3.0, NGMS all steps: True, '
    "Version: f2.0.1v1.10.1-previous-669-gdfdcbab6"
)
FOOOCUS_A1111 = (  # Fooocus 2.5.5 with the scheme "a1111"; seen in fkleon/fooocus-metadata
    "cinematic still A sunflower field . film grain, A sunflower field, highly detailed\n"
    "Negative prompt: anime, cartoon, disfigured\n"
    "Steps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 127589946317439009, Size: 512x512, CFG scale: 4, Sharpness: 2, "
    'ADM Guidance: "(1.5, 0.8, 0.3)", Model: juggernautXL_v8Rundiffusion, Model hash: aeb7e9e689, '
    "Performance: Speed, Scheduler: karras, VAE: Default (model), Raw prompt: A sunflower field, "
    'Raw negative prompt: , Clip skip: 2, Lora hashes: "sd_xl_offset_example-lora_1.0: 4852686128", '
    'Lora weights: "sd_xl_offset_example-lora_1.0: 0.1", Version: Fooocus v2.5.5'
)
FOOOCUS_JSON: dict[str, Any] = {  # the same picture with the scheme "fooocus"; seen in fkleon/fooocus-metadata
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "juggernautXL_v8Rundiffusion",
    "base_model_hash": "aeb7e9e689",
    "clip_skip": 2,
    "full_negative_prompt": ["anime, cartoon, disfigured"],
    "full_prompt": ["cinematic still A sunflower field . film grain", "A sunflower field, highly detailed"],
    "guidance_scale": 4,
    "lora_combined_1": "sd_xl_offset_example-lora_1.0 : 0.1",
    "loras": [["sd_xl_offset_example-lora_1.0", 0.1, "4852686128"]],
    "metadata_scheme": "fooocus",
    "negative_prompt": "",
    "performance": "Speed",
    "prompt": "A sunflower field",
    "prompt_expansion": "A sunflower field, highly detailed",
    "refiner_model": "None",
    "refiner_switch": 0.5,
    "resolution": "(512, 512)",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "seed": "127589946317439009",
    "sharpness": 2,
    "steps": 30,
    "styles": "['Fooocus V2', 'Fooocus Enhance', 'Fooocus Sharp']",
    "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}
FOOOCUS_LEGACY: dict[str, Any] = {  # Fooocus 2.1.860; seen in fkleon/fooocus-metadata
    "Prompt": "dinosaur leashed",
    "Negative Prompt": "",
    "Fooocus V2 Expansion": "dinosaur leashed, full color",
    "Styles": "['Fooocus V2', 'Dark Moody Atmosphere', 'Misc Horror']",
    "Performance": "Extreme Speed",
    "Resolution": "(1024, 1024)",
    "Sharpness": 0.0,
    "Guidance Scale": 1.0,
    "ADM Guidance": "(1.0, 1.0, 0.0)",
    "Base Model": "sd_xl_base_1.0_0.9vae.safetensors",
    "Refiner Model": "None",
    "Refiner Switch": 1.0,
    "Sampler": "lcm",
    "Scheduler": "lcm",
    "Seed": 6515525224486854496,
    "LoRA 1": "PetDinosaur-v2.safetensors : 1.65",
    "LoRA 6": "sdxl_lcm_lora.safetensors : 1.0",
    "Version": "v2.1.860",
}
COMFYUI_PLAIN: dict[str, Any] = {  # ComfyUI's first graph with an SDXL model; replicate/cog-comfyui (MIT)
    "3": {
        "inputs": {
            "seed": 156680208700286, "steps": 10, "cfg": 2.5, "sampler_name": "dpmpp_2m_sde", "scheduler": "karras",
            "denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
        "class_type": "KSampler",
        "_meta": {"title": "KSampler"},
    },
    "4": {"inputs": {"ckpt_name": "SDXL-Flash.safetensors"}, "class_type": "CheckpointLoaderSimple"},
    "5": {"inputs": {"width": 1024, "height": 1024, "batch_size": 1}, "class_type": "EmptyLatentImage"},
    "6": {
        "inputs": {"text": "beautiful scenery nature glass bottle landscape, purple galaxy bottle,", "clip": ["4", 1]},
        "class_type": "CLIPTextEncode",
    },
    "7": {"inputs": {"text": "text, watermark", "clip": ["4", 1]}, "class_type": "CLIPTextEncode"},
    "8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}, "class_type": "VAEDecode"},
    "9": {"inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}, "class_type": "SaveImage"},
}  # fmt: skip
COMFYUI_REFINER: dict[str, Any] = {  # a graph of two experts, exported by ComfyUI; seen in a Discord bot
    "4": {"inputs": {"ckpt_name": "xl6HEPHAISTOSSD10XLSFW_v10.safetensors"}, "class_type": "CheckpointLoaderSimple"},
    "5": {"inputs": {"width": 1024, "height": 1024, "batch_size": 1}, "class_type": "EmptyLatentImage"},
    "10": {
        "inputs": {
            "add_noise": "enable", "noise_seed": 570665753905807, "steps": 25, "cfg": 10, "sampler_name": "euler",
            "scheduler": "normal", "start_at_step": 0, "end_at_step": 20, "return_with_leftover_noise": "enable",
            "model": ["4", 0], "positive": ["50", 0], "negative": ["51", 0], "latent_image": ["5", 0],
        },
        "class_type": "KSamplerAdvanced",
    },
    "11": {
        "inputs": {
            "add_noise": "disable", "noise_seed": 0, "steps": 25, "cfg": 8, "sampler_name": "euler",
            "scheduler": "normal", "start_at_step": 20, "end_at_step": 10000, "return_with_leftover_noise": "disable",
            "model": ["12", 0], "positive": ["15", 0], "negative": ["16", 0], "latent_image": ["10", 0],
        },
        "class_type": "KSamplerAdvanced",
    },
    "12": {"inputs": {"ckpt_name": "sd_xl_refiner_1.0.safetensors"}, "class_type": "CheckpointLoaderSimple"},
    "15": {"inputs": {"text": "positive prompt", "clip": ["12", 1]}, "class_type": "CLIPTextEncode"},
    "16": {"inputs": {"text": "", "clip": ["12", 1]}, "class_type": "CLIPTextEncode"},
    "17": {"inputs": {"samples": ["11", 0], "vae": ["12", 2]}, "class_type": "VAEDecode"},
    "19": {"inputs": {"filename_prefix": "ComfyUI", "images": ["17", 0]}, "class_type": "SaveImage"},
    "49": {
        "inputs": {"text_positive": "positive prompt", "text_negative": "", "style": "sai-base", "log_prompt": "No"},
        "class_type": "SDXLPromptStyler",
    },
    "50": {
        "inputs": {
            "width": 1024, "height": 1024, "crop_w": 0, "crop_h": 0, "target_width": 1024, "target_height": 1024,
            "text_g": ["49", 0], "text_l": "positive prompt", "clip": ["4", 1],
        },
        "class_type": "CLIPTextEncodeSDXL",
    },
    "51": {
        "inputs": {
            "width": 1024, "height": 1024, "crop_w": 0, "crop_h": 0, "target_width": 1024, "target_height": 1024,
            "text_g": ["49", 1], "text_l": "", "clip": ["4", 1],
        },
        "class_type": "CLIPTextEncodeSDXL",
    },
}  # fmt: skip
COMFYUI_LORAS: dict[str, Any] = {  # loaders as ComfyUI exports them, seen in MOVZX/Mimpi; in the graph above
    **{number: COMFYUI_PLAIN[number] for number in ("5", "8", "9")},
    "3": {
        "inputs": COMFYUI_PLAIN["3"]["inputs"] | {"model": ["15", 0], "scheduler": "sgm_uniform", "seed": 5},
        "class_type": "KSampler",
    },
    "4": {
        "inputs": {"ckpt_name": "SDXL/perfectionRealisticILXL_v10.safetensors"}, "class_type": "CheckpointLoaderSimple",
    },
    "6": {"inputs": {"text": ["220", 0], "clip": ["76", 0]}, "class_type": "CLIPTextEncode"},
    "7": {"inputs": {"text": "", "clip": ["76", 0]}, "class_type": "CLIPTextEncode"},
    "15": {
        "inputs": {
            "lora_name": "lcm_lora_sdxl.safetensors", "strength_model": 1, "strength_clip": 1, "model": ["84", 0],
            "clip": ["84", 1],
        },
        "class_type": "LoraLoader",
    },
    "76": {"inputs": {"stop_at_clip_layer": -2, "clip": ["15", 1]}, "class_type": "CLIPSetLastLayer"},
    "84": {
        "inputs": {
            "PowerLoraLoaderHeaderWidget": {"type": "PowerLoraLoaderHeaderWidget"},
            "lora_1": {"on": False, "lora": "DMD2/dmd2_sdxl_4step_lora_fp16.safetensors", "strength": 1},
            "lora_2": {"on": True, "lora": "SDXL\\add-detail-xl.safetensors", "strength": 0.95},
            "➕ Add Lora": "", "model": ["4", 0], "clip": ["4", 1],
        },
        "class_type": "Power Lora Loader (rgthree)",
    },
    "220": {
        "inputs": {"string_a": ["221", 0], "string_b": "at night", "delimiter": ", "},
        "class_type": "StringConcatenate",
    },
    "221": {"inputs": {"value": "a red fox"}, "class_type": "PrimitiveStringMultiline"},
}  # fmt: skip
