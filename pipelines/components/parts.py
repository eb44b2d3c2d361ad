"""Which files each part of an expert comes from. Knows names only, no weights."""

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
    add_ons = (*(lora for lora, _ in selection.loras), *selection.embeddings)
    return [*(pair for plan in plans for pair in plan), *((add_on, None) for add_on in add_ons)]


def plan_parts(selection: Selection, name: str) -> dict[str, Entry]:
    """Where each part of an expert comes from.

    A checkpoint and the refiner made for it have the VAE and the second text encoder in common; any other refiner
    brings its own text encoder. Latents go from one to the other, so the VAE is always one.
    """
    model, refiner = selection.model, selection.refiner
    vae = selection.vae or model
    if name == "base" or refiner is None:
        return {part: vae if part == "vae" else model for part in PARTS}
    text = model if model.refiner == refiner.name else refiner
    return {"tokenizer_2": text, "text_encoder_2": text, "vae": vae, "unet": refiner}


def parts_by_entry(sources: dict[str, Entry]) -> list[tuple[Entry, list[str]]]:
    """Each entry once, with the parts that come from it."""
    entries = {entry.name: entry for entry in sources.values()}
    return [(entry, [part for part, source in sources.items() if source is entry]) for entry in entries.values()]
