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
from pipelines.components.use import Use
from pipelines.diffusion.previews import PREVIEW_SECONDS, LatentPreview
from pipelines.diffusion.run import predict_picture
from pipelines.diffusion.schedulers import noise_level
from pipelines.manager import PipelineManager
from pipelines.media.preview import encode_preview
from pipelines.schema.requests import TextToImageRequest
from pipelines.schema.settings import Settings

MOST_RATIO = 1.10
MOST_PREVIEW_SHARE = 0.03

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "gray")


def measure(pairs: int) -> tuple[Comparison, Comparison]:
    """Compares the studio with the pipeline, once with a new prompt each time and once with the same."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model="demo", device="cpu", dtype="float32", output_dir=Path(folder), preload=True)
        manager = PipelineManager(settings)
        own = manager.library.select(TextToImageRequest(), manager.model)
        base = manager.components.expert(Use(own, torch.float32), "base", lambda event: None)
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

        results = (
            compare("a new prompt each time", lambda t: draw(new(t)), lambda t: draw_stock(new(t)), pairs),
            compare("the same prompt again", lambda _: draw("a fox"), lambda _: draw_stock("a fox"), pairs),
        )
        manager.close()
    return results


def preview_share(side: int, repeats: int = 100) -> float:
    """The largest share of the time that previews of eight pictures of `side` pixels can take, 0 to 1.

    From the noise prediction to the JPEG, as often as the engine draws one.
    """
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    preview = LatentPreview(torch.rand(4, 3), torch.rand(3))
    noise_pred, latents = torch.randn(2, 8, 4, side // 8, side // 8)
    level = noise_level(scheduler, torch.tensor(500))
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        predicted = predict_picture(scheduler, noise_pred, level, latents)
        encode_preview(preview.draw(predicted[0]))
        taken.append(time.process_time() - start)
    return statistics.median(taken) / PREVIEW_SECONDS


def main(pairs: int) -> bool:
    """Prints the tables; False when the studio costs more than it promises."""
    print(HEADER)
    new, again = measure(pairs)
    print(new.row(), again.row(), sep="\n")
    print(f"\n| previews at most every {PREVIEW_SECONDS} s, 8 pictures | share of the time |\n|---|---|")
    shares = {side: preview_share(side) for side in (256, 1024)}
    for side, share in shares.items():
        print(f"| {side}x{side} | {share:.2%} |")
    promises = {
        f"a new prompt in at most {MOST_RATIO:.2f} times stock's time": new.ratio <= MOST_RATIO,
        "a repeated prompt costs less than a new one": again.ratio < new.ratio,
        f"previews under {MOST_PREVIEW_SHARE:.0%} of the time": max(shares.values()) < MOST_PREVIEW_SHARE,
    }
    print("", *(f"{'kept' if kept else 'BROKEN'}: {promise}" for promise, kept in promises.items()), sep="\n")
    return all(promises.values())
