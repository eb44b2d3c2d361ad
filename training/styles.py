"""Styles made from the same pictures: filters of the subject alone, and filters of the whole picture.

Textures and pictures are (batch, 4 or 3, height, width), 0..1; textures have premultiplied alpha.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.subjects import Style

ART_BLOCK = 8
"""Pixels of a side of one block of pixel art: one block is one latent, so that the model can draw it."""
POSTER_LEVELS = 3
FRAME_SHARE = 0.0625
FRAME_COLOUR = (0.96, 0.93, 0.86)
SEPIA = ((0.42, 0.66, 0.16), (0.36, 0.57, 0.14), (0.26, 0.42, 0.10))
LUMINANCE = (0.299, 0.587, 0.114)
DARK = 0.3


def luminance(pictures: Tensor) -> Tensor:
    """Weigh the three channels: (batch, 3, height, width) -> (batch, 1, height, width)."""
    weights = torch.tensor(LUMINANCE, device=pictures.device).view(1, 3, 1, 1)
    return (pictures[:, :3] * weights).sum(1, keepdim=True)


def blur(pictures: Tensor, deviation: float) -> Tensor:
    """Blur with a Gaussian whose deviation is in pixels; borders are repeated."""
    radius = max(1, round(2.5 * deviation))
    places = torch.arange(-radius, radius + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-places.square() / (2 * deviation * deviation))
    kernel = kernel / kernel.sum()
    channels = pictures.shape[1]
    padded = functional.pad(pictures, (radius, radius, radius, radius), mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return functional.conv2d(rows, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def reduce_resolution(pictures: Tensor, share: float) -> Tensor:
    """Lose detail as an upscaled small original does; `share` is the original's side over the picture's."""
    height, width = pictures.shape[2:]
    size = (max(4, round(height * share)), max(4, round(width * share)))
    small = functional.interpolate(pictures, size, mode="bilinear", antialias=True)
    return functional.interpolate(small, (height, width), mode="bilinear")


def style_texture(texture: Tensor, style: Style, on_dark: Tensor) -> Tensor:
    """Change drawn subjects, premultiplied: (batch, 4, height, width); `on_dark`: (batch,), 1 on dark backgrounds."""
    alpha = texture[:, 3:]
    ink = on_dark.view(-1, 1, 1, 1).float() * 0.92 + 0.04
    if style == "silhouette":
        return torch.cat([(ink * alpha).expand(-1, 3, -1, -1), alpha], 1)
    if style == "line drawing":
        lines = _lines(texture)
        return torch.cat([(ink * lines).expand(-1, 3, -1, -1), lines], 1)
    if style == "poster":
        colour = blur(texture[:, :3], 1.0) / blur(alpha, 1.0).clamp(min=0.05)
        grey = luminance(colour)
        strong = (grey + (colour - grey) * 1.35).clamp(0, 1)
        flat = (strong * POSTER_LEVELS - 0.15).round().clamp(0, POSTER_LEVELS) / POSTER_LEVELS
        return torch.cat([flat * alpha, alpha], 1)
    return texture


def _lines(texture: Tensor) -> Tensor:
    """Cover the edges inside a subject and its outline."""
    height = texture.shape[2]
    layers = torch.cat([texture[:, :3], texture[:, 3:] * 1.2], 1)
    layers = blur(layers, height / 256)
    horizontal = functional.pad(layers[..., 2:] - layers[..., :-2], (1, 1, 0, 0))
    vertical = functional.pad(layers[..., 2:, :] - layers[..., :-2, :], (0, 0, 1, 1))
    strength = (horizontal.square() + vertical.square()).sum(1, keepdim=True).sqrt() * (height / 256)
    return (
        functional.max_pool2d(((strength - 0.12) * 5).clamp(0, 1), 3, 1, 1)
        if height >= 192
        else (((strength - 0.06) * 8).clamp(0, 1))
    )


def style_pictures(pictures: Tensor, style: Style) -> Tensor:
    """Change whole pictures: (batch, 3, height, width)."""
    if style == "black and white":
        return ((luminance(pictures) - 0.5) * 1.1 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)
    if style == "sepia":
        matrix = torch.tensor(SEPIA, device=pictures.device) * 0.9
        return torch.einsum("rc,bchw->brhw", matrix, pictures).clamp(0, 1)
    if style == "pixel art":
        small = functional.avg_pool2d(pictures, ART_BLOCK)
        return functional.interpolate((small * 7).round() / 7, scale_factor=ART_BLOCK, mode="nearest")
    if style == "blurry":
        return blur(pictures, min(pictures.shape[2:]) * 0.03)
    if style == "poster":
        height, width = pictures.shape[2:]
        frame = round(FRAME_SHARE * min(height, width))
        inside = torch.zeros(height, width, device=pictures.device)
        inside[frame : height - frame, frame : width - frame] = 1
        colour = torch.tensor(FRAME_COLOUR, device=pictures.device).view(1, 3, 1, 1)
        return pictures * inside + colour * (1 - inside)
    return pictures
