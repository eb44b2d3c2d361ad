"""Between pixels and latents: encoding, decoding, and first noise."""

from typing import cast

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from pipelines.components.expert import Expert
from pipelines.schema.errors import NumericalError

_pictures = VaeImageProcessor(vae_scale_factor=8)
_masks = VaeImageProcessor(vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True)


def make_generators(seeds: tuple[int, ...]) -> list[torch.Generator]:
    """One CPU generator per picture, so that picture k of a batch equals the same seed alone, on any device."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def make_noise(generators: list[torch.Generator], size: tuple[int, int], expert: Expert) -> torch.Tensor:
    """Normal noise for pictures of `size` (width, height) pixels: (pictures, 4, height / 8, width / 8)."""
    shape = (len(generators), expert.vae.config["latent_channels"], size[1] // 8, size[0] // 8)
    return randn_tensor(shape, generators, device=expert.device, dtype=expert.dtype)


def encode_picture(expert: Expert, picture: Image.Image, generators: list[torch.Generator]) -> torch.Tensor:
    """Latents of one picture, scaled as the UNet wants them, sampled once per generator: (pictures, 4, h/8, w/8)."""
    vae = expert.vae
    pixels = _pictures.preprocess(picture).to(device=vae.device, dtype=vae.dtype)
    distribution = vae.encode(pixels).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
    latents = torch.cat([distribution.sample(generator) for generator in generators]).to(expert.dtype)
    return latents * vae.config["scaling_factor"]


def shrink_mask(mask: Image.Image, expert: Expert) -> torch.Tensor:
    """The mask at the size of latents, 1 where it is redrawn: (1, 1, h/8, w/8)."""
    pixels = _masks.preprocess(mask)
    size = (pixels.shape[-2] // 8, pixels.shape[-1] // 8)
    return torch.nn.functional.interpolate(pixels, size=size).to(device=expert.device, dtype=expert.dtype)


def decode_picture(vae: AutoencoderKL, latents: torch.Tensor) -> Image.Image:
    """One picture from its scaled latents (1, 4, h/8, w/8); raises `NumericalError` instead of a black one."""
    pixels = vae.decode(latents.to(vae.dtype) / vae.config["scaling_factor"], return_dict=False)[0]
    if not pixels.isfinite().all():
        raise NumericalError("the picture came out as NaN; try --dtype float32")
    return cast(list[Image.Image], _pictures.postprocess(pixels, output_type="pil"))[0]
