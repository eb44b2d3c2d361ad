"""The embedded model as diffusers reads it, and one request drawn with it without engine or queue."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pipelines.components.expert import Expert
from pipelines.components.unet.model import KeepingUNet
from pipelines.diffusion.conditioning import Conditioning, make_conditioning
from pipelines.diffusion.latents import decode_picture
from pipelines.diffusion.run import Run
from pipelines.prompts.cache import EmbeddingCache
from pipelines.prompts.encoding import PromptEncoder
from pipelines.schema.models import CheckpointKind, Selection, load_catalogue
from pipelines.schema.requests import GenerationRequest
from pipelines.tasks import TASKS
from pipelines.tasks.task import Condition

Experts = Mapping[str, Expert]


@cache
def load_demo_experts() -> Experts:
    """Base and refiner in float32 on the CPU; they share VAE and second text encoder."""
    entries = load_catalogue().checkpoints
    source, refiner_source = entries["demo"].source, entries["demo-refiner"].source

    def load(part_class: Any, part: str, folder: str = source) -> Any:
        loaded = part_class.from_pretrained(folder, subfolder=part)
        return loaded.eval().requires_grad_(False) if isinstance(loaded, torch.nn.Module) else loaded

    base = Expert(
        name="base",
        unet=load(KeepingUNet, "unet"),
        vae=load(AutoencoderKL, "vae"),
        text_encoder_2=load(CLIPTextModelWithProjection, "text_encoder_2"),
        tokenizer_2=load(CLIPTokenizer, "tokenizer_2"),
        text_encoder=load(CLIPTextModel, "text_encoder"),
        tokenizer=load(CLIPTokenizer, "tokenizer"),
        scheduler_config=cast(dict[str, Any], EulerDiscreteScheduler.load_config(source, subfolder="scheduler")),
        force_zeros_for_empty_prompt=True,
        requires_aesthetics_score=False,
        device=torch.device("cpu"),
        dtype=torch.float32,
        vae_dtype=torch.float32,
    )
    refiner = replace(
        base,
        name="refiner",
        unet=load(KeepingUNet, "unet", refiner_source),
        text_encoder=None,
        tokenizer=None,
        force_zeros_for_empty_prompt=False,
        requires_aesthetics_score=True,
    )
    return {"base": base, "refiner": refiner}


@cache
def load_inpainting_experts() -> Experts:
    """The same with a base that also takes mask and masked picture: random weights for the five new channels."""
    experts = load_demo_experts()
    plain = experts["base"].unet
    unet = cast(KeepingUNet, KeepingUNet.from_config(plain.config, in_channels=9))
    weights = dict(plain.state_dict())
    new = 0.05 * torch.randn(weights["conv_in.weight"].shape[0], 5, 3, 3, generator=torch.Generator().manual_seed(0))
    weights["conv_in.weight"] = torch.cat([weights["conv_in.weight"], new], dim=1)
    unet.load_state_dict(weights)
    return {**experts, "base": replace(experts["base"], unet=unet.eval().requires_grad_(False))}


def select(kind: CheckpointKind = "base", refiner: bool = True) -> Selection:
    """The catalogue's entries for the embedded model, as if the base were of another kind."""
    entries = load_catalogue().checkpoints
    model = entries["demo"].model_copy(update={"kind": kind})
    return Selection(model, entries["demo-refiner"] if refiner else None)


def make_condition(request: GenerationRequest, experts: Experts) -> Condition:
    """What the engine gives a task: experts by name, and the request's conditioning for each."""

    def condition(name: str) -> tuple[Expert, Conditioning]:
        expert = experts[name]
        encoder = PromptEncoder(expert, EmbeddingCache(), request.clip_skip, weighting=request.prompt_weighting)
        return expert, make_conditioning(expert, encoder, request, {})

    return condition


@torch.inference_mode()
def prepare_run(request: GenerationRequest, experts: Experts | None = None, kind: CheckpointKind = "base") -> Run:
    """The request's run before its first step."""
    task = TASKS[request.task]
    request, inputs = task.admit(request, select(kind))
    return task.prepare(request, inputs, make_condition(request, experts or load_demo_experts()))


@torch.inference_mode()
def draw(request: GenerationRequest, experts: Experts | None = None, kind: CheckpointKind = "base") -> np.ndarray:
    """The first picture's pixels (h, w, 3) as they are drawn, before anything is pasted."""
    run = prepare_run(request, experts, kind)
    while not run.is_done:
        run.advance()
    last = run.segments[-1].expert
    return np.asarray(decode_picture(last.vae, run.finish()[:1], last.vae_dtype))
