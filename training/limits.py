"""What the model costs: seconds of a picture, megabytes on disk, and what low precision changes."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline

from training.bench import Bench, Figures, Measured
from training.exams import held_out_prompts, plain_prompt
from training.lanes import Lanes
from training.sampling import call_in_lanes, sample, to_pixels

TIMED = 5
CORES = (1, 2)


def measure_time(bench: Bench) -> Measured:
    """Seconds of one picture in bf16 on a CPU, by one thread or two, the faster: the best of five after a warm-up.

    A small model's calls are so short that waking a second thread may cost more than it does.
    """
    low_base = load_on_cpu(bench, torch.bfloat16)
    prompt = [plain_prompt(*pair) for pair in held_out_prompts(bench.config, 1)]
    steps, guidance = bench.config.evaluate.num_inference_steps, bench.config.evaluate.guidance_scale
    threads = torch.get_num_threads()
    found = []
    for count in CORES:
        torch.set_num_threads(count)
        sample(low_base, prompt, 0, 2, autocast=False)
        for repeat in range(TIMED):
            before, started = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.monotonic()
            sample(low_base, prompt, repeat, steps, guidance, autocast=False)
            used = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
            found.append((time.monotonic() - started, used, count))
    torch.set_num_threads(threads)
    seconds, used, count = min(found)
    return Measured(
        {"picture_seconds": round(seconds, 2), "picture_processor_seconds": round(used, 2), "picture_threads": count}
    )


def load_on_cpu(bench: Bench, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """Load the base again, on the CPU."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(bench.model, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def measure_precision(bench: Bench) -> Measured:
    """Mean and largest mean difference of pictures in fp32 and in bf16 on a CPU, in grey levels."""
    pairs = held_out_prompts(bench.config, bench.config.evaluate.pictures_of_a_series, seed=13)
    prompts = [plain_prompt(*pair) for pair in pairs]
    rows, seeds = {"prompt": prompts}, bench.seeds(len(prompts))
    drawn = {}
    for dtype in (torch.float32, torch.bfloat16):
        pipeline, lanes = load_on_cpu(bench, dtype), Lanes(torch.device("cpu"))
        batches = call_in_lanes(pipeline, lanes, rows, seeds, autocast=False, **bench.common)
        drawn[dtype] = np.concatenate([to_pixels(batch) for batch in batches]).astype(float)
    differences = np.abs(drawn[torch.float32] - drawn[torch.bfloat16]).mean((1, 2, 3))
    return Measured(
        {
            "bf16_difference": round(float(differences.mean()), 2),
            "bf16_largest_difference": round(float(differences.max()), 2),
        }
    )


def folder_megabytes(folder: Path) -> float:
    """Size of a folder in millions of bytes."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1)


def parameter_counts(bench: Bench) -> Figures:
    """Count the parameters of each part."""
    parts = {
        "UNet": bench.base.unet,
        "refiner UNet": bench.refiner.unet,
        "text encoder": bench.base.text_encoder,
        "text encoder 2": bench.base.text_encoder_2,
        "autoencoder": bench.base.vae,
    }
    return {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
