"""What the model does with a given picture: image to image by strength, and inpainting half of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image

from training.bench import Bench, Figures, Measured, Sheet
from training.captions import background_phrases, with_article
from training.exams import held_out_prompts, paired, plain_prompt
from training.intervals import estimate
from training.layouts import NATIVE, canonical_single
from training.measures import centre, square, subject_mask
from training.pictures import Layout, Pixels
from training.sampling import sibling
from training.subjects import PLAIN, Background

STRENGTHS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
COLUMNS = 8
SHEET_PAIRS = 32
PAINTED = "cat"
RIGHT_HALF = (slice(None), slice(NATIVE[0] // 2, None))
# A square of a little more than half the area.
MIDDLE_HALF = (slice(36, 220), slice(36, 220))
NEIGHBOURS = ("apple", "car", "star", "house", "frog")


def measure_strength(bench: Bench) -> Measured:
    """Mean distance from the source, in grey levels, by image-to-image strength; sources and prompts are held out."""
    count = bench.config.evaluate.pictures_of_a_series
    pairs = held_out_prompts(bench.config, 2 * count, plain=True, seed=8)
    sources, asked = pairs[:count], [plain_prompt(*pair) for pair in pairs[count:]]
    source = bench.composed([canonical_single(*pair) for pair in sources])
    pipeline = sibling(bench.base, StableDiffusionXLImg2ImgPipeline)
    rows = {"prompt": asked, "image": [Image.fromarray(picture) for picture in source]}
    distances, shown = [], [source[:COLUMNS]]
    labels = [f"from: {plain_prompt(*pair)}" for pair in sources[:COLUMNS]]
    for strength in STRENGTHS:
        pictures = bench.call(f"strength-{strength}", pipeline, rows, bench.seeds(count), strength=strength)
        distances.append(round(float(np.abs(pictures.astype(float) - source).mean()), 2))
        shown.append(pictures[:COLUMNS])
        labels += [f"{strength}: {prompt}" for prompt in asked[:COLUMNS]]
    figures: Figures = {"strengths": list(STRENGTHS), "distance_by_strength": distances}
    return Measured(figures, {"image_to_image": Sheet(np.concatenate(shown), labels)})


def measure_inpainting(bench: Bench) -> Measured:
    """Subjects seen where half of another subject's picture was painted over: its middle, or the half beside it.

    Cats by the bare prompt in the middle; at the right with and without their place; held-out pairs at the right.
    """
    grounds = [PLAIN[index % len(PLAIN)] for index in range(bench.count)]
    neighbours = [NEIGHBOURS[index % len(NEIGHBOURS)] for index in range(bench.count)]
    bare, cats = [f"a {PAINTED}"] * bench.count, [PAINTED] * bench.count
    alone = [canonical_single(neighbour, ground) for neighbour, ground in zip(neighbours, grounds, strict=True)]
    _, pictures = _inpaint(bench, "inpaint-middle", bare, alone, MIDDLE_HALF)
    figures = estimate("inpainted_middle_percent", _seen(bench, pictures, cats), scale=100)
    aside = _with_room(neighbours, grounds)
    placed = [f"a {PAINTED} on the right {background_phrases(ground)[0]}" for ground in grounds]
    for name, asked in (("side", placed), ("bare_side", bare)):
        _, pictures = _inpaint(bench, f"inpaint-{name}", asked, aside, RIGHT_HALF)
        seen = _seen(bench, _painted_squares(pictures, grounds), cats)
        figures |= estimate(f"inpainted_{name}_percent", seen, scale=100)
    pairs = held_out_prompts(bench.config, bench.count, plain=True, seed=12)
    held_out, grounds = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    asked = [f"{with_article(subject)} on the right {background_phrases(ground)[0]}" for subject, ground in pairs]
    aside = _with_room([PAINTED if subject != PAINTED else "apple" for subject in held_out], grounds)
    source, pictures = _inpaint(bench, "inpaint-pairs", asked, aside, RIGHT_HALF)
    seen = _seen(bench, _painted_squares(pictures, grounds), held_out)
    figures |= estimate("inpainted_pairs_percent", seen, scale=100)
    return Measured(figures, {"inpaint": before_and_after(source, pictures, asked)})


def before_and_after(before: Pixels, after: Pixels, labels: Sequence[str], first: str = "before") -> Sheet:
    """Put pairs of pictures side by side, 32 at most."""
    shown = np.stack([before, after], 1)[:SHEET_PAIRS]
    texts = [text for label in labels[:SHEET_PAIRS] for text in (first, label)]
    return Sheet(shown.reshape(-1, *before.shape[1:]), texts)


def painted_square(picture: Pixels, background: Background) -> Pixels:
    """Cut the square of the right half that holds what is not background there, whatever its height."""
    left = picture.shape[1] // 2
    mask = subject_mask(picture, background)
    mask[:, :left] = False
    _, y = centre(mask)
    return square(picture, left, round(y * picture.shape[0]))


def _with_room(neighbours: list[str], grounds: list[Background]) -> list[Layout]:
    """Place subjects on the left and leave the right half to be painted."""
    layouts = [paired(neighbour, PAINTED, ground) for neighbour, ground in zip(neighbours, grounds, strict=True)]
    return [replace(layout, placements=layout.placements[:1]) for layout in layouts]


def _inpaint(
    bench: Bench, name: str, prompts: list[str], layouts: list[Layout], painted: tuple[slice, slice]
) -> tuple[Pixels, Pixels]:
    """Paint over rows and columns of pictures of the layouts: sources and results."""
    source = bench.composed(layouts)
    width, height = NATIVE
    mask = np.zeros((height, width), np.uint8)
    mask[painted] = 255
    rows = {
        "prompt": prompts,
        "image": [Image.fromarray(picture) for picture in source],
        "mask_image": [Image.fromarray(mask)] * len(prompts),
    }
    pipeline = sibling(bench.base, StableDiffusionXLInpaintPipeline)
    seeds = bench.seeds(len(prompts))
    return source, bench.call(name, pipeline, rows, seeds, strength=1.0, width=width, height=height)


def _painted_squares(pictures: Pixels, grounds: list[Background]) -> Pixels:
    return np.stack([painted_square(picture, ground) for picture, ground in zip(pictures, grounds, strict=True)])


def _seen(bench: Bench, squares: Pixels, wanted: list[str]) -> list[float]:
    return [float(name == want) for name, want in zip(bench.judges.subjects.names(squares), wanted, strict=True)]
