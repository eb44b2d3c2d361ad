"""One guided UNet call, the studio's against stock diffusers': the embedded model and one of middle size."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from benchmarks.figures import Figure, Promise, ratio_figure
from benchmarks.pairs import Taken, take_turns
from benchmarks.scene import Scene, base_of
from pipelines.components.device import name_of_dtype
from pipelines.components.unet.told import Share, Told
from pipelines.diffusion.steps.call import Call, predict

PROMISES = {("mid-size", "float32"): 3.2, ("mid-size", "bfloat16"): 1.25}
"""By size and by what stock diffusers is told, on one thread of a CPU."""
CALLS = {"tiny": 10, "mid-size": 2}
"""In each turn, so that a turn takes a fraction of a second."""
SIDE = 32


def measure(scene: Scene) -> list[Figure]:
    """How many times stock's time is of ours, by CPU time on one thread, then by both clocks on all cores."""
    figures = []
    for size in CALLS:
        for threads in reversed(scene.threads()):
            figures += measure_size(scene, size, threads)
    return figures


@torch.inference_mode()
def measure_size(scene: Scene, size: str, threads: int) -> list[Figure]:
    """Our call in the studio's precision and lanes, its rows told before; stock's in float32 and in bfloat16."""
    calls = 1 if scene.quick else CALLS[size]
    with scene.studio(size, threads) as manager:
        base, lanes = base_of(manager), manager._engine.rounds.lanes
        told = make_told(base.unet, base.device, base.dtype)
        sample, timestep = make_sample(base.device, base.dtype)
        call = Call(base.unet, sample, timestep, Share(told, 0, (1, 1)))
        ways: dict[str, Callable[[int], Taken]] = {
            "ours": scene.clock.timed(lambda _: [predict([call], lanes) for _ in range(calls)])
        }
        for dtype in (torch.float32, torch.bfloat16):
            ways[name_of_dtype(dtype)] = scene.clock.timed(make_stock(scene, size, dtype, calls))
        times = take_turns(ways, scene.pairs)
        ours = name_of_dtype(base.dtype)
    figures = []
    on = "one thread" if threads == 1 else f"{threads} threads"
    for stock in ("float32", "bfloat16"):
        bound = PROMISES.get((size, stock))
        promise = scene.on_cpu(Promise("at least", bound)) if bound and threads == 1 else None
        name = f"{size} UNet step in {ours}, {on}, against stock {stock}"
        figures.append(ratio_figure(f"{name}, CPU time", times[stock], times["ours"], "cpu", promise))
        if threads > 1:
            figures.append(ratio_figure(f"{name}, wall time", times[stock], times["ours"], "wall"))
    return figures


def make_stock(scene: Scene, size: str, dtype: torch.dtype, calls: int) -> Callable[[int], None]:
    """diffusers' own UNet with the same weights, called as its pipelines call it."""
    unet: Any = UNet2DConditionModel.from_pretrained(scene.source(size), subfolder="unet", dtype=dtype)
    unet = unet.to(scene.device).eval()
    told = make_told(unet, scene.device, dtype)
    sample, timestep = make_sample(scene.device, dtype)
    added = {"text_embeds": told.text_embeds, "time_ids": told.time_ids}

    def step(_turn: int) -> None:
        for _ in range(calls):
            unet(sample, timestep, told.prompt_embeds, added_cond_kwargs=added, return_dict=False)

    return step


def make_told(unet: Any, device: torch.device, dtype: torch.dtype) -> Told:
    """A prompt of 77 random tokens, its negative, and SDXL's six sizes."""
    config = unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    generator = torch.Generator().manual_seed(0)
    prompt_embeds = torch.randn(2, 77, config.cross_attention_dim, generator=generator)
    text_embeds = torch.randn(2, pooled, generator=generator)
    time_ids = torch.tensor([[256.0, 256, 0, 0, 256, 256]] * 2)
    return Told(prompt_embeds.to(device, dtype), text_embeds.to(device, dtype), time_ids.to(device, dtype))


def make_sample(device: torch.device, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows of noise for a picture of 256 pixels, and a timestep."""
    sample = torch.randn(1, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return torch.cat([sample] * 2).to(device, dtype), torch.tensor(500.0, device=device)
