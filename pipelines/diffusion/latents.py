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


def make_noise(
    generators: list[torch.Generator], size: tuple[int, int], expert: Expert, offset: float = 0.0
) -> torch.Tensor:
    """Normal noise for pictures of `size` (width, height) pixels: (pictures, 4, height / 8, width / 8).

    `offset` scales one more normal number for each channel of each picture, drawn last: the noise of
    N. Guttenberg, "Diffusion with Offset Noise" (crosslabs.org, 2023).
    """
    channels = expert.vae.config["latent_channels"]
    target = {"device": expert.device, "dtype": expert.dtype}
    noise = randn_tensor((len(generators), channels, size[1] // 8, size[0] // 8), generators, **target)
    if offset == 0:
        return noise
    return noise + offset * randn_tensor((len(generators), channels, 1, 1), generators, **target)


def make_pixels(picture: Image.Image) -> torch.Tensor:
    """The picture as the VAE reads it: (1, 3, h, w), -1 to 1."""
    return _pictures.preprocess(picture)


def make_mask_pixels(mask: Image.Image) -> torch.Tensor:
    """The mask cut at half: (1, 1, h, w), 1 where the picture is redrawn, else 0."""
    return _masks.preprocess(mask)


def encode_pixels(expert: Expert, pixels: torch.Tensor, generators: list[torch.Generator]) -> torch.Tensor:
    """Latents of one picture, scaled as the UNet wants them, sampled once per generator: (pictures, 4, h/8, w/8)."""
    vae = expert.vae
    encoded = vae.encode(pixels.to(device=expert.device, dtype=expert.vae_dtype))
    distribution = encoded.latent_dist  # pyright: ignore[reportAttributeAccessIssue]
    latents = torch.cat([distribution.sample(generator) for generator in generators]).to(expert.dtype)
    return latents * vae.config["scaling_factor"]


def shrink_mask(pixels: torch.Tensor, expert: Expert) -> torch.Tensor:
    """The mask's pixels (1, 1, h, w) at the size of latents: (1, 1, h/8, w/8)."""
    size = (pixels.shape[-2] // 8, pixels.shape[-1] // 8)
    return torch.nn.functional.interpolate(pixels, size=size).to(device=expert.device, dtype=expert.dtype)


def decode_pixels(vae: AutoencoderKL, latents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Scaled latents (n, 4, h/8, w/8) as pixels (n, 3, h, w), -1 to 1, by a VAE whose precision is `dtype`."""
    return vae.decode(latents.to(dtype) / vae.config["scaling_factor"], return_dict=False)[0]


def decode_picture(vae: AutoencoderKL, latents: torch.Tensor, dtype: torch.dtype) -> Image.Image:
    """One picture from its scaled latents (1, 4, h/8, w/8); raises `NumericalError` instead of a black one."""
    pixels = decode_pixels(vae, latents, dtype)
    if not pixels.isfinite().all():
        raise NumericalError("the VAE made NaN or infinity of the picture; another VAE may help", "pixels")
    return cast(list[Image.Image], _pictures.postprocess(pixels, output_type="pil"))[0]
