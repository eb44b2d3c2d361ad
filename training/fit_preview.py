"""Fit the linear map from scaled latents to RGB that cheap previews use.

`python -m training.fit_preview --vae FOLDER --pictures FOLDER --out latent_rgb.json`; without `--pictures` the fit is
made on composed pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training.autoencoder import Autoencoder, encode, load_autoencoder, scaling_factor, to_tensor
from training.composed import composed
from training.config import LATENT_FACTOR
from training.pictures import Pixels


@torch.inference_mode()
def scaled_latents(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Encode pictures into the latents a UNet sees: (batch, 4, height / 8, width / 8)."""
    return encode(autoencoder, pictures).float() * scaling_factor(autoencoder)


def fit_latent_rgb(latents: list[Tensor], pictures: list[Tensor]) -> tuple[Tensor, Tensor, float]:
    """Fit RGB = latents @ weight + bias in least squares at 1/8 size.

    Returns weight (4, 3), bias (3,) and the root mean square error, RGB in -1..1.
    """
    inputs = torch.cat([item.permute(0, 2, 3, 1).reshape(-1, item.shape[1]) for item in latents])
    targets = torch.cat(
        [functional.avg_pool2d(item, LATENT_FACTOR).permute(0, 2, 3, 1).reshape(-1, 3) for item in pictures]
    )
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)
    solution = torch.linalg.lstsq(inputs, targets).solution
    error = (inputs @ solution - targets).square().mean().sqrt()
    return solution[:-1], solution[-1], float(error)


def write_latent_rgb(autoencoder: Autoencoder, pictures: list[Pixels], path: Path) -> float:
    """Fit on the pictures, write {"weight": 4x3, "bias": 3}, and return the root mean square error."""
    tensors = [to_tensor(pixels[None]) for pixels in pictures]
    weight, bias, error = fit_latent_rgb([scaled_latents(autoencoder, tensor) for tensor in tensors], tensors)
    fitted = {
        "weight": [[round(value, 5) for value in row] for row in weight.tolist()],
        "bias": [round(value, 5) for value in bias.tolist()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fitted, indent=2) + "\n", "utf-8")
    return error


def composed_pictures(data: Path, count: int = 96) -> list[Pixels]:
    """Draw composed pictures for a fit."""
    return list(composed(data, count, seed=17))


def photographs(folder: Path, longest: int = 768) -> list[Pixels]:
    """Read the pictures of a folder, at most `longest` pixels wide and high, cut to multiples of eight."""
    pictures = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"):
            image = Image.open(path).convert("RGB")
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            width, height = (side - side % LATENT_FACTOR for side in image.size)
            pictures.append(np.array(image.crop((0, 0, width, height))))
    return pictures


def main() -> None:
    """Run the fit from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.fit_preview", description=__doc__)
    parser.add_argument("--vae", type=Path, required=True, help="folder of an AutoencoderKL or AutoencoderTiny")
    parser.add_argument("--pictures", type=Path, help="folder of photographs (default: composed pictures)")
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "work" / "data", help="fetched packages")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    pictures = photographs(arguments.pictures) if arguments.pictures else composed_pictures(arguments.data)
    if not pictures:
        parser.error(f"no pictures in {arguments.pictures}")
    error = write_latent_rgb(load_autoencoder(arguments.vae), pictures, arguments.out)
    print(f"{len(pictures)} pictures, root mean square error {error:.4f} of RGB in -1..1")


if __name__ == "__main__":
    main()
