"""Which files each part of an expert comes from. Knows names and dates only, no weights."""

from dataclasses import replace
from pathlib import Path

from pipelines.schema.models import Entry, Selection
from pipelines.schema.requests import GenerationRequest, RefineRequest

PARTS = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2", "vae", "unet")
"""By their names in a diffusers folder, in the order they are loaded: small ones first, so that a foreign folder
fails early."""


def experts_of(request: GenerationRequest) -> tuple[str, ...]:
    """The experts that draw a request: "base", "refiner" or both."""
    if isinstance(request, RefineRequest):
        return ("refiner",)
    return ("base", "refiner") if getattr(request, "denoising_end", 1.0) < 1 else ("base",)


def files_of(selection: Selection, experts: tuple[str, ...]) -> list[tuple[Entry, list[str] | None]]:
    """Everything a request needs on this disk: entries with the parts of them, or `None` for a whole file."""
    plans = [parts_by_entry(plan_parts(selection, name)) for name in experts if selection.entry(name)]
    add_ons = (
        *(lora for lora, _ in selection.loras),
        *selection.embeddings,
        *((selection.tiny,) if selection.tiny else ()),
    )
    return [*(pair for plan in plans for pair in plan), *((add_on, None) for add_on in add_ons)]


def plan_parts(selection: Selection, name: str) -> dict[str, Entry]:
    """Where each part of an expert comes from.

    A checkpoint and the refiner made for it have the VAE and the second text encoder in common; any other refiner
    brings its own text encoder, if it has one. Latents go from one to the other, so the VAE is always one.
    """
    model, refiner = selection.model, selection.refiner
    vae = selection.vae or model
    if name == "base" or refiner is None:
        return {part: vae if part == "vae" else model for part in PARTS}
    text = model if model.refiner == refiner.name or _borrows_text_encoder(refiner) else refiner
    return {"tokenizer_2": text, "text_encoder_2": text, "vae": vae, "unet": refiner}


def _borrows_text_encoder(refiner: Entry) -> bool:
    """Whether a refiner's folder has no text encoder of its own, as one that lies in its base's folder."""
    folder = Path(refiner.source)
    return folder.is_dir() and not (folder / "text_encoder_2").is_dir()


def parts_by_entry(sources: dict[str, Entry]) -> list[tuple[Entry, list[str]]]:
    """Each entry once, with the parts that come from it."""
    entries = {entry.name: entry for entry in sources.values()}
    return [(entry, [part for part, source in sources.items() if source is entry]) for entry in entries.values()]


def stamp_of(path: Path, part: str = "") -> tuple:
    """When a file, or the files of a part in a folder, were last written: a file that was replaced is another one."""
    if path.is_file():
        stat = path.stat()
        return (stat.st_mtime_ns, stat.st_size)
    files = sorted(file for file in (path / part).rglob("*") if file.is_file()) if path.is_dir() else []
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def weight_bytes(path: Path) -> int:
    """Bytes of the weights in a file, or in a folder; a refiner of its own in a model's folder is not counted."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.glob("*/*.safetensors"))


def with_stamps(selection: Selection) -> Selection:
    """The selection with its LoRAs told apart from others that were under the same name before, or will be."""
    loras = tuple(
        (lora.model_copy(update={"stamp": repr(stamp_of(Path(lora.source)))}), weight)
        for lora, weight in selection.loras
    )
    return replace(selection, loras=loras)
