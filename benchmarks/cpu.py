"""The embedded model on the CPU: what the studio adds to, and saves against, a bare diffusers pipeline.

Both draw 256x256 in 20 Euler steps at guidance 5 with the same components, on one thread, counted in CPU
seconds of the whole process. The studio's time includes its queue, previews, events and saving the PNG.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

from benchmarks.pairs import HEADER, Comparison, compare
from pipelines.diffusion.previews import PREVIEW_SECONDS, LatentPreview
from pipelines.manager import PipelineManager
from pipelines.media.preview import encode_preview
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.settings import Settings

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "gray")


def measure(pairs: int) -> list[Comparison]:
    """Compares the studio with the pipeline, once with a new prompt each time and once with the same."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model="demo", device="cpu", dtype="float32", output_dir=Path(folder), preload=True)
        manager = PipelineManager(settings)
        base = manager.components.expert("base", lambda what, fraction: None)
        scheduler = EulerDiscreteScheduler.from_config(base.scheduler_config)
        tokenizers: dict[str, Any] = {"tokenizer": base.tokenizer, "tokenizer_2": base.tokenizer_2}
        parts: dict[str, Any] = {**base.modules, **tokenizers, "scheduler": scheduler}
        pipeline = StableDiffusionXLPipeline(**parts, add_watermarker=False)
        pipeline.set_progress_bar_config(disable=True)

        def draw(prompt: str) -> None:
            request = TextToImageRequest(prompt=prompt, num_inference_steps=20, guidance_scale=5.0, seed=1)
            manager.submit(request).result(timeout=600)

        def draw_stock(prompt: str) -> None:
            generator = torch.Generator("cpu").manual_seed(1)
            pipeline(prompt, width=256, height=256, num_inference_steps=20, guidance_scale=5.0, generator=generator)

        def new(turn: int) -> str:
            return f"a fox on a {COLOURS[turn % len(COLOURS)]} background, number {turn}"

        results = [
            compare("a new prompt each time", lambda t: draw(new(t)), lambda t: draw_stock(new(t)), pairs),
            compare("the same prompt again", lambda _: draw("a fox"), lambda _: draw_stock("a fox"), pairs),
        ]
        manager.close()
    return results


def preview_share(height: int, width: int, repeats: int = 200) -> float:
    """The largest share of the time that previews of `height` x `width` latents can take, 0 to 1."""
    preview = LatentPreview(torch.rand(4, 3), torch.rand(3))
    latents = torch.randn(4, height, width)
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        encode_preview(preview.draw(latents))
        taken.append(time.process_time() - start)
    return statistics.median(taken) / PREVIEW_SECONDS


def main(pairs: int) -> None:
    """Prints the tables."""
    print(HEADER)
    for comparison in measure(pairs):
        print(comparison.row())
    print("\n| previews at most every 0.2 s | share of the time |\n|---|---|")
    for name, side in (("256x256", 32), ("1024x1024", 128)):
        print(f"| {name} | {preview_share(side, side):.1%} |")
