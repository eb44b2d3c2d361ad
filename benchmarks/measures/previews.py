"""The largest share of the time that previews can take, drawn as often as the engine draws them."""

import time

import torch
from diffusers import EulerDiscreteScheduler

from benchmarks.figures import Figure, Promise
from benchmarks.pairs import Spread
from benchmarks.scene import Scene
from pipelines.diffusion.previews import PREVIEW_SECONDS, LatentPreview
from pipelines.diffusion.run import predict_picture
from pipelines.diffusion.schedulers import noise_level
from pipelines.media.preview import encode_preview

MOST_SHARE = 3.0
PICTURES = 8
"""Of the run whose first picture is shown: as many as a request can ask for."""


def measure(scene: Scene) -> list[Figure]:
    """For small pictures and for SDXL's own size."""
    torch.set_num_threads(1)
    return [measure_side(scene, side) for side in (256, 1024)]


def measure_side(scene: Scene, side: int) -> Figure:
    """From the noise prediction to the JPEG, for pictures of `side` pixels; in percent of the time between two."""
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    preview = LatentPreview(torch.rand(4, 3), torch.rand(3))
    noise_pred, latents = torch.randn(2, PICTURES, 4, side // 8, side // 8, device=scene.device)
    level = noise_level(scheduler, torch.tensor(500))
    shares = []
    for _ in range(10 * scene.pairs):
        start = time.process_time()
        predicted = predict_picture(scheduler, noise_pred, level, latents)
        encode_preview(preview.draw(predicted[0]))
        shares.append(100 * (time.process_time() - start) / PREVIEW_SECONDS)
    name = f"previews of {side}x{side}, share of the time"
    return Figure(name, Spread.of(shares), "%", Promise("at most", MOST_SHARE))
