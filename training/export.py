"""Write the shipped model: fp16 safetensors in shards, as diffusers reads them, swapped in file by file."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from training.autoencoder import load_autoencoder
from training.base import shipped_vae
from training.captions import background_phrases
from training.checkpoint import load_checkpoint
from training.config import Config
from training.fit_preview import composed_pictures, write_latent_rgb
from training.judge import export_judge, load_judge
from training.networks import make_refiner_unet
from training.refiner import load_base_average
from training.sampling import make_pipeline, make_scheduler
from training.subjects import COLOURS, SCENES, SIZE_WORDS, STYLES, SUBJECT_COLOURS, SUBJECTS, Background
from training.tokenizer import load_tokenizers

logger = logging.getLogger(__name__)

SHARD_SIZE = "9MB"
FILE_LIMIT_BYTES = 10_000_000
TOTAL_LIMIT_BYTES = 40_000_000

# The refiner brings a UNet and a scheduler only; the rest is the base's (SDXL's refiner has no first text encoder).
REFINER_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLImg2ImgPipeline",
    "force_zeros_for_empty_prompt": False,
    "requires_aesthetics_score": True,
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": [None, None],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": [None, None],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export_model(config: Config, work: Path, target: Path) -> None:
    """Write base, refiner (if trained), judge (if trained), preview map and vocabulary; other files there are kept.

    Raises:
        ValueError: a file or the whole is over its limit, or a weight is not finite.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as name:
        staged = Path(name)
        _write_base(config, work, staged)
        _write_refiner(config, work, staged / "refiner")
        if (work / "tiny" / "config.json").is_file():
            load_autoencoder(work / "tiny").half().save_pretrained(staged / "tiny")
        if (work / "judge.pt").is_file():
            export_judge(load_judge(work)[0], staged / "judge.safetensors")
        error = write_latent_rgb(
            load_autoencoder(shipped_vae(work)), composed_pictures(work / "data"), staged / "latent_rgb.json"
        )
        logger.info("export: latent to RGB, root mean square error %.4f", error)
        (staged / "vocabulary.json").write_text(json.dumps(vocabulary(), indent=2, ensure_ascii=False) + "\n", "utf-8")
        _clean_configs(staged)
        check_weights(staged)
        _swap(staged, target)


def vocabulary() -> dict[str, list[str]]:
    """List what the model can draw, in the words it was taught."""
    return {
        "subjects": list(SUBJECTS),
        "synonyms": [name for subject in SUBJECTS.values() for name in subject.names[1:]],
        "repaintable": [name for name, subject in SUBJECTS.items() if subject.repaint],
        "subject_colours": list(SUBJECT_COLOURS),
        "colours": list(COLOURS),
        "backgrounds": [background_phrases(Background(kind, "blue"))[0] for kind in ("plain", "gradient", "checked")],
        "scenes": [phrase for phrases in SCENES.values() for phrase in phrases],
        "styles": list(STYLES),
        "sizes": [word for words in SIZE_WORDS.values() for word in words],
        "positions": ["on the left", "on the right"],
        "two_subjects": ["a fox and an apple", "a fox on the left and an apple on the right", "a fox next to an apple"],
    }


def _write_base(config: Config, work: Path, folder: Path) -> None:
    model = load_base_average(config, work)
    vae = cast(AutoencoderKL, load_autoencoder(shipped_vae(work)))
    pipeline = make_pipeline(vae, (model.text_encoder, model.text_encoder_2), load_tokenizers(work), model.unet)
    pipeline.to(dtype=torch.float16).save_pretrained(folder, max_shard_size=SHARD_SIZE)
    for tokenizer in ("tokenizer", "tokenizer_2"):
        shutil.rmtree(folder / tokenizer)
        shutil.copytree(work / tokenizer, folder / tokenizer)


def _write_refiner(config: Config, work: Path, folder: Path) -> None:
    """Write the refiner; before it is trained, its start stands in, so that everything can be loaded."""
    unet = make_refiner_unet(config.refiner, config.base.hidden_2)
    state = load_checkpoint(work / "refiner.pt")
    if state is None:
        logger.warning("export: the refiner is not trained yet, its untrained start stands in")
    else:
        weights = state["average"]
        unet.load_state_dict(
            {key.removeprefix("unet."): value for key, value in weights.items() if key.startswith("unet.")}
        )
    unet.half().save_pretrained(folder / "unet", max_shard_size=SHARD_SIZE)
    make_scheduler().save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(REFINER_INDEX, indent=2) + "\n", "utf-8")


def _clean_configs(folder: Path) -> None:
    """Drop the paths of this machine, and let the text encoders load in fp32 unless another dtype is asked for."""
    for path in [*folder.rglob("config.json"), *folder.rglob("*_config.json"), *folder.rglob("model_index.json")]:
        settings = json.loads(path.read_text("utf-8"))
        settings.pop("_name_or_path", None)
        if "dtype" in settings:
            settings["dtype"] = "float32"
        path.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def check_weights(folder: Path) -> None:
    """Check the limits of size, and that all weights are finite fp16.

    Raises:
        ValueError: naming the file and the rule.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        if path.stat().st_size >= FILE_LIMIT_BYTES:
            raise ValueError(f"{path.name} must be under {FILE_LIMIT_BYTES} bytes, got {path.stat().st_size}")
        if path.suffix == ".safetensors":
            for key, tensor in load_file(path).items():
                if tensor.dtype != torch.float16 or not bool(tensor.isfinite().all()):
                    raise ValueError(f"{key} in {path.name} must be finite fp16, got {tensor.dtype}")
    total = sum(path.stat().st_size for path in files)
    if total >= TOTAL_LIMIT_BYTES:
        raise ValueError(f"the model must be under {TOTAL_LIMIT_BYTES} bytes, got {total}")
    logger.info("export: %d files, %.1f MB", len(files), total / 1e6)


def _swap(staged: Path, target: Path) -> None:
    """Rename the new files over the old ones, then drop weights that the new model does not have."""
    new = {path.relative_to(staged) for path in staged.rglob("*") if path.is_file()}
    for name in sorted(new):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).chmod(0o644)
        (staged / name).replace(target / name)
    for folder in {name.parent for name in new if name.parent != Path()}:
        for path in (target / folder).iterdir():
            if path.is_file() and path.relative_to(target) not in new:
                path.unlink()
