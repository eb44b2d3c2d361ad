"""What sharing saves: bytes of weights, and seconds to change tab, checkpoint and LoRA, against plain diffusers.

Measured with the embedded model, a copy of it with another UNet, and random LoRAs. The bytes of true-size SDXL are
those of its configurations in float16, laid out on the meta device.
"""

import gc
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pipelines.components.memory import bytes_of
from pipelines.components.single_file import CONFIGS
from pipelines.manager import PipelineManager
from pipelines.schema.models import load_catalogue
from pipelines.schema.requests import REQUESTS, TextToImageRequest, make_request
from pipelines.schema.settings import Settings

LORA_RANK = 16
MODES = ("full", "model", "group", "sequential")


def main(rounds: int, device: str, model: str) -> bool:
    """Prints the tables; False when the studio does not hold less than separate pipelines do."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo = Path(load_catalogue().checkpoints["demo"].source)
        other = copy_with_another_unet(demo, folder / "models" / "checkpoints" / "other")
        loras = [write_lora(demo, folder / "models" / "loras" / f"lora-{k}.safetensors", seed=k) for k in (1, 2)]
        is_less = print_bytes(demo, folder)
        print_switches(folder, demo, other, loras, rounds)
        print_modes(folder, device, model)
    return is_less


def print_bytes(demo: Path, folder: Path) -> bool:
    """Weights in memory once all four tasks and the refiner have drawn."""
    manager = open_studio(folder, "demo", "cpu")
    draw_all(manager, folder)
    ours = sum(part.component_bytes for part in manager.status().components)
    manager.close()
    theirs = sum(count(pipeline) for pipeline in stock_pipelines(demo))
    rows = {
        "embedded model, float32, measured": (ours, theirs),
        "SDXL, float16, from its configurations": true_size_bytes(),
    }
    print("| weights of four tasks and refiner | studio | separate diffusers pipelines | share |\n|---|---|---|---|")
    for what, (shared, separate) in rows.items():
        print(f"| {what} | {in_mb(shared)} | {in_mb(separate)} | {shared / separate:.0%} |")
    return ours < theirs


def print_switches(folder: Path, demo: Path, other: Path, loras: list[Path], rounds: int) -> None:
    """Seconds until a picture of one step can begin: ours is the whole request, less that of one with nothing to do."""
    manager = open_studio(folder, "demo", "cpu")
    draw_all(manager, folder)
    studio = {
        "tab": lambda turn: draw(manager, ("image_to_image", "inpaint")[turn % 2], folder),
        "checkpoint": lambda turn: draw(manager, "text_to_image", folder, model=("other", "demo")[turn % 2]),
        "LoRA": lambda turn: draw(
            manager, "text_to_image", folder, model="demo", loras=[{"name": loras[turn % 2].stem}]
        ),
    }
    usual = timed(lambda _: draw(manager, "text_to_image", folder), rounds)
    ours = {what: max(timed(switch, rounds) - usual, 0.0) for what, switch in studio.items()}
    manager.close()

    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(demo)

    def load_lora(turn: int) -> None:
        pipeline.unload_lora_weights()
        pipeline.load_lora_weights(str(loras[turn % 2]))

    theirs = {
        "tab": timed(lambda turn: (StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline)[
            turn % 2
        ].from_pretrained(demo), rounds),
        "checkpoint": timed(lambda turn: StableDiffusionXLPipeline.from_pretrained((other, demo)[turn % 2]), rounds),
        "LoRA": timed(load_lora, rounds),
    }  # fmt: skip
    print("\n| to change the | studio, s | plain diffusers, s |\n|---|---|---|")
    for what in studio:
        print(f"| {what} | {ours[what]:.2f} | {theirs[what]:.2f} |")


def print_modes(folder: Path, device: str, model: str) -> None:
    """Seconds of one picture of each task, and on CUDA the most memory it took, in each memory mode."""
    print(f"\n| {model} on {device}, one picture of 30 steps | mode | seconds | peak memory |\n|---|---|---|---|")
    for mode in MODES if device != "cpu" else MODES[:1]:
        manager = open_studio(folder, model, device, memory=mode)
        for task in REQUESTS:
            draw(manager, task, folder, num_inference_steps=2)
            if device != "cpu":
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            draw(manager, task, folder, num_inference_steps=30)
            seconds = time.perf_counter() - started
            peak = in_mb(torch.cuda.max_memory_allocated()) if device != "cpu" else "not counted on a CPU"
            print(f"| {task} | {mode} | {seconds:.2f} | {peak} |")
        manager.close()
        gc.collect()


def open_studio(folder: Path, model: str, device: str, **settings: Any) -> PipelineManager:
    """A studio over the models in `folder`."""
    return PipelineManager(
        Settings(model=model, device=device, output_dir=folder, models_dir=folder / "models", preload=True, **settings)
    )


def draw(manager: PipelineManager, task: str, folder: Path, **values: Any) -> None:
    """One request of a task, with whatever picture and mask it needs."""
    picture, mask = folder / "picture.png", folder / "mask.png"
    if not picture.exists():
        Image.new("RGB", (256, 256), "navy").save(picture)
        Image.new("L", (256, 256), 255).save(mask)
    given: dict[str, Any] = {"prompt": "a fox", "seed": 1, "num_inference_steps": 1, **values}
    if task != "text_to_image":
        given |= {"image": picture, "strength": 1.0}
    if task == "inpaint":
        given["mask_image"] = mask
    manager.submit(make_request(REQUESTS[task], given)).result(3600)


def draw_all(manager: PipelineManager, folder: Path) -> None:
    """All four tasks, and both experts."""
    for task in REQUESTS:
        draw(manager, task, folder)
    request = TextToImageRequest(prompt="a fox", num_inference_steps=4, denoising_end=0.5)
    manager.submit(request).result(3600)


def stock_pipelines(demo: Path) -> list[Any]:
    """One pipeline a task, each loaded by itself, as the documentation of diffusers begins."""
    classes = (StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline)
    pipelines: list[Any] = [made.from_pretrained(demo) for made in classes]
    refiner = StableDiffusionXLImg2ImgPipeline(
        vae=AutoencoderKL.from_pretrained(demo, subfolder="vae"),
        text_encoder=None,  # type: ignore[arg-type]
        tokenizer=None,  # type: ignore[arg-type]
        text_encoder_2=CLIPTextModelWithProjection.from_pretrained(demo, subfolder="text_encoder_2"),
        tokenizer_2=pipelines[0].tokenizer_2,
        unet=UNet2DConditionModel.from_pretrained(demo / "refiner", subfolder="unet"),
        scheduler=pipelines[0].scheduler,
        requires_aesthetics_score=True,
    )
    return [*pipelines, refiner]


def count(pipeline: Any) -> int:
    """Bytes of a pipeline's weights."""
    return sum(bytes_of(part) for part in pipeline.components.values() if isinstance(part, torch.nn.Module))


def true_size_bytes() -> tuple[int, int]:
    """Bytes of SDXL's weights in float16: shared as the studio has them, and of four separate pipelines."""
    with torch.device("meta"):
        unets = {kind: _empty(UNet2DConditionModel, kind, "unet") for kind in ("base", "refiner")}
        vae = _empty(AutoencoderKL, "base", "vae")
        first = CLIPTextModel(_text_config("text_encoder"))
        second = CLIPTextModelWithProjection(_text_config("text_encoder_2"))
    sizes = {name: 2 * sum(p.numel() for p in part.parameters()) for name, part in unets.items()}
    around = [2 * sum(p.numel() for p in part.parameters()) for part in (vae, first, second)]
    base, refiner = sizes["base"] + sum(around), sizes["refiner"]
    return base + refiner, 3 * base + refiner + around[0] + around[2]


def _empty(model_class: Any, kind: str, part: str) -> Any:
    return model_class.from_config(model_class.load_config(CONFIGS / kind, subfolder=part))


def _text_config(part: str) -> CLIPTextConfig:
    return CLIPTextConfig(**json.loads((CONFIGS / "base" / part / "config.json").read_text(encoding="utf-8")))


def copy_with_another_unet(demo: Path, target: Path) -> Path:
    """A checkpoint that shares all but its UNet with the embedded one."""
    shutil.copytree(demo, target, ignore=shutil.ignore_patterns("refiner"))
    file = next((target / "unet").glob("*.safetensors"))
    tensors = load_file(file)
    key = next(iter(tensors))
    save_file({**tensors, key: tensors[key] + 0.001}, file, {"format": "pt"})
    return target


def write_lora(demo: Path, target: Path, seed: int) -> Path:
    """A random LoRA on every attention projection of the UNet."""
    unet: Any = UNet2DConditionModel.from_pretrained(demo, subfolder="unet")
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in unet.named_modules():
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            tensors[f"unet.{name}.lora_A.weight"] = (
                torch.randn(LORA_RANK, layer.in_features, generator=generator) * 0.02
            )
            tensors[f"unet.{name}.lora_B.weight"] = (
                torch.randn(layer.out_features, LORA_RANK, generator=generator) * 0.02
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, {"format": "pt"})
    return target


def timed(action: Callable[[int], Any], rounds: int) -> float:
    """The median of seconds."""
    taken = []
    for turn in range(rounds):
        started = time.perf_counter()
        action(turn)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def in_mb(size: int) -> str:
    """A size for the table."""
    return f"{size / 1e6:,.0f} MB"
