"""Start the autoencoder as a near-identity: average pooling down, nearest-neighbour upsampling up.

From PyTorch's default start this autoencoder stays at 15 dB for hundreds of steps; from here it begins at 23 dB.
RGB is carried through the first three channels of every layer. Two more channels carry a constant +CARRIER and
-CARRIER, so that the single norm group's statistics hardly depend on the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from training.config import LATENT_CHANNELS

Layer = Any  # diffusers types its layers too loosely for a checker

CARRIER = 3.0
CARRIED = 5
SILU_LINEAR_BIAS = 2.0
SILU_AT_BIAS = 1.76
LOG_VARIANCE = -6.0


@torch.no_grad()
def start_near_identity(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Set the weights, then fit the outputs' scale and offset on `pictures`: (batch, 3, height, width), -1..1."""
    encoder: Layer = vae.encoder
    decoder: Layer = vae.decoder
    for half, blocks in ((encoder, encoder.down_blocks), (decoder, decoder.up_blocks)):
        _start_first(half.conv_in)
        for resnet in half.mid_block.resnets:
            _quieten(resnet)
        for block in blocks:
            for resnet in block.resnets:
                _quieten(resnet)
            for sampler in getattr(block, "downsamplers", None) or []:
                _carry(sampler.conv, average=True)
            for sampler in getattr(block, "upsamplers", None) or []:
                _carry(sampler.conv)
        _start_last(half.conv_norm_out, half.conv_out)
    _start_quantiser(vae)
    _fit(encoder.conv_out, encoder(pictures), functional.avg_pool2d(pictures, 8))
    latents = encoder(pictures)[:, :LATENT_CHANNELS]
    _fit(decoder.conv_out, decoder(latents), pictures)


def _start_first(conv: Layer) -> None:
    conv.weight[:CARRIED] = 0
    conv.bias[:CARRIED] = 0
    for channel in range(3):
        conv.weight[channel, channel, 1, 1] = 1
    conv.bias[3], conv.bias[4] = CARRIER, -CARRIER


def _carry(conv: Layer, average: bool = False) -> None:
    """Copy the carried channels; `average` takes the mean of the 2x2 pixels under a stride of two."""
    conv.weight[:CARRIED] = 0
    conv.weight[CARRIED:, :CARRIED] *= 0.5
    if conv.bias is not None:
        conv.bias[:CARRIED] = 0
    centre = conv.kernel_size[0] // 2
    for channel in range(CARRIED):
        if average:
            conv.weight[channel, channel, :2, :2] = 0.25
        else:
            conv.weight[channel, channel, centre, centre] = 1


def _quieten(resnet: Layer) -> None:
    """Let a residual branch begin at a tenth, and a hundredth on the carried channels."""
    resnet.conv2.weight *= 0.1
    resnet.conv2.bias *= 0
    resnet.conv2.weight[:CARRIED] *= 0.1
    if resnet.conv_shortcut is not None:
        _carry(resnet.conv_shortcut)


def _start_last(norm: Layer, conv: Layer) -> None:
    """Pass RGB through the nearly linear part of SiLU around a bias of two."""
    norm.bias[:3] = SILU_LINEAR_BIAS
    norm.weight[:3] = 0.7
    conv.weight *= 0.1
    conv.weight[:3] *= 0.3
    conv.bias.zero_()
    for channel in range(3):
        conv.weight[channel, :3] = 0
        conv.weight[channel, channel, 1, 1] = 1
        conv.bias[channel] = -SILU_AT_BIAS


def _start_quantiser(vae: Layer) -> None:
    vae.quant_conv.weight[:4] = torch.eye(4, 8).view(4, 8, 1, 1)
    vae.quant_conv.weight[4:] = 0
    vae.quant_conv.bias[:4] = 0
    vae.quant_conv.bias[4:] = LOG_VARIANCE
    vae.post_quant_conv.weight.copy_(torch.eye(4).view(4, 4, 1, 1))
    vae.post_quant_conv.bias.zero_()


def _fit(conv: Layer, output: Tensor, target: Tensor) -> None:
    """Scale and shift a last convolution so that its first three channels match the target in least squares."""
    for channel in range(3):
        have, want = output[:, channel].flatten(), target[:, channel].flatten()
        centred = have - have.mean()
        scale = (centred * (want - want.mean())).sum() / centred.square().sum()
        conv.weight[channel] *= scale
        conv.bias[channel] = (conv.bias[channel] - have.mean()) * scale + want.mean()
