"""Memory over many small jobs of all kinds: what is left of each must be nothing."""

import gc
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image

from benchmarks.figures import Figure, Promise, counted
from benchmarks.scene import COLOURS, Scene
from pipelines.manager import PipelineManager
from pipelines.schema.requests import REQUESTS, GenerationRequest, make_request

MOST_MB = 16.0
"""What the allocator may keep of 150 jobs; one job's keys and values are about 1 MB."""
JOBS = (50, 200)
TOGETHER = 5
SCHEDULERS = ("euler", "euler_ancestral", "ddim", "dpmpp_2m_sde", "heun")
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"width": 96, "height": 64},
    {"num_images_per_prompt": 2},
    {"guidance_end": 0.5},
    {"deep_cache_interval": 2},
    {"guidance_scale": 1.0},
    {"prompt": "a [fox|cat] on a red background"},
)


def measure(scene: Scene) -> list[Figure]:
    """Resident memory of the process, without the weights, after the first jobs and after all."""
    marks = (5, 15) if scene.quick else JOBS
    found = []
    with scene.studio("tiny") as manager:
        done = 0
        for mark in marks:
            while done < mark:
                count = min(TOGETHER, mark - done)
                draw_some(manager, scene.folder, done, count)
                done += count
            found.append(megabytes(manager, scene.device))
    promise = Promise("at most", MOST_MB)
    return [
        counted(f"memory after {marks[0]} jobs, without weights", found[0], "MB"),
        counted(f"growth from job {marks[0]} to {marks[1]}", found[1] - found[0], "MB", promise),
    ]


def draw_some(manager: PipelineManager, folder: Path, first: int, count: int) -> None:
    """Jobs of several visitors at once."""
    jobs = [
        manager.submit(mixed_request(folder, number), f"visitor {number % 3}") for number in range(first, first + count)
    ]
    for job in jobs:
        job.result(600)


def mixed_request(folder: Path, number: int) -> GenerationRequest:
    """Small requests of every task in turn, with every scheduler and every change of `CHANGES`; texts come again."""
    picture, mask = folder / "picture.png", folder / "mask.png"
    if not picture.exists():
        Image.new("RGB", (64, 64), "navy").save(picture)
        Image.new("L", (64, 64), 255).save(mask)
    task = list(REQUESTS)[number % len(REQUESTS)]
    given: dict[str, Any] = {"width": 64, "height": 64, "num_inference_steps": 4, "seed": number}
    given |= {"prompt": f"a fox on a {COLOURS[number % 7]} background", "scheduler": SCHEDULERS[number % 5]}
    given |= CHANGES[number % len(CHANGES)]
    if task != "text_to_image":
        given |= {"image": picture, "strength": 0.75}
    if task == "inpaint":
        given["mask_image"] = mask
    return make_request(REQUESTS[task], given)


def megabytes(manager: PipelineManager, device: torch.device) -> float:
    """What the process holds beside the weights; on CUDA what is allocated on the device."""
    gc.collect()
    weights = sum(part.component_bytes for part in manager.status().components)
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return (held - weights) / 1e6
