"""What the model does with its settings: guidance, negative prompts, weights of words, original size and crop.

Each function draws with diffusers' own pipelines and returns named figures; a mean's interval is over its prompts.
"""

from __future__ import annotations

import numpy as np
import torch
from compel import CompelForSDXL

from training.bench import Bench, Figures, Measured
from training.captions import with_article
from training.exams import held_out_prompts, plain_prompt, subjects_exam, two_subjects_exam
from training.intervals import estimate
from training.measures import centre, colour_share, extent, name_background, sharpness, stands_on, subject_mask
from training.subjects import COLOURS

WEIGHTS = (0.4, 0.7, 1.0, 1.3, 1.6)
ORIGINAL_SIDES = (64, 256, 1024)
CROPS = {"none": (0, 0), "left": (0, 64), "top": (64, 0)}


def measure_guidance(bench: Bench) -> Measured:
    """Subjects right at guidance 1 and 5, alone and in twos, of the same prompts and seeds; at 5 those of the exams."""
    settings = bench.config.evaluate
    asked = {"subject": subjects_exam(bench.config, settings.prompts)}
    asked["both"] = two_subjects_exam(bench.config, settings.prompts_of_a_word)
    figures: Figures = {}
    for name, exam in asked.items():
        drawn = {
            1: bench.draw(f"guidance-1-{exam.name}", exam.prompts, guidance_scale=1.0),
            5: bench.draw(f"{exam.name}-0", exam.prompts),
        }
        right = {scale: np.array(exam.judge(drawn[scale], bench.judges)[name], float) for scale in drawn}
        for scale, answers in right.items():
            figures |= estimate(f"guidance_{scale}_{name}_percent", answers.tolist(), scale=100)
        figures |= estimate(f"guidance_{name}_gain", (right[5] - right[1]).tolist(), scale=100)
    return Measured(figures)


def measure_negative_prompt(bench: Bench) -> Measured:
    """Backgrounds that come unasked, drawn again with that colour's background as negative prompt.

    As controls, with another colour's background, and with a subject that was not asked for: any negative prompt
    changes a picture. `kept`: the border still has the colour; `share`: pixels near it.
    """
    count = bench.config.evaluate.prompts // 2
    subjects = [subject for subject, _ in held_out_prompts(bench.config, count, seed=11)]
    prompts, seeds = [with_article(subject) for subject in subjects], bench.seeds(count)
    first = bench.draw("unnamed-background", prompts)
    seen = [name_background(picture) for picture in first]
    rows = [row for row, background in enumerate(seen) if background.kind != "scene"]
    figures: Figures = {"negative_pictures": len(rows)}
    if not rows:
        return Measured(figures)
    colours = [seen[row].name for row in rows]
    names = list(COLOURS)
    others = [names[(names.index(colour) + len(names) // 2) % len(names)] for colour in colours]
    arms: dict[str, list[str] | None] = {
        "none": None,
        "named": [f"{colour} background" for colour in colours],
        "other": [f"{colour} background" for colour in others],
        "subject": [with_article(subjects[row - 1]) for row in rows],
    }
    kept: dict[str, np.ndarray] = {}
    share: dict[str, np.ndarray] = {}
    for arm, negatives in arms.items():
        pictures = first[rows]
        if negatives is not None:
            asked = {"prompt": [prompts[row] for row in rows], "negative_prompt": negatives}
            pictures = bench.draw_rows(f"negative-{arm}", asked, [seeds[row] for row in rows])
        kept[arm] = np.array([name_background(p).name == c for p, c in zip(pictures, colours, strict=True)], float)
        share[arm] = np.array([colour_share(p, COLOURS[c]) for p, c in zip(pictures, colours, strict=True)])
        figures |= estimate(f"negative_{arm}_kept_percent", kept[arm].tolist(), scale=100)
        figures |= estimate(f"negative_{arm}_share_percent", share[arm].tolist(), scale=100)
    figures |= estimate("negative_share_drop", (share["none"] - share["named"]).tolist(), scale=100)
    figures |= estimate("negative_kept_drop", (kept["subject"] - kept["named"]).tolist(), scale=100)
    return Measured(figures)


def measure_weights(bench: Bench) -> Measured:
    """Mean extent of the subject by the weight of "small" and of "large", in compel's grammar.

    A prompt counts only if its background is right at every weight: what is not background is taken for the subject.
    """
    compel = CompelForSDXL(bench.base)
    pairs = held_out_prompts(bench.config, bench.config.evaluate.pictures_of_a_series, plain=True, seed=9)
    figures: Figures = {"weights": list(WEIGHTS)}
    for word in ("small", "large"):
        extents, stands = [], []
        for weight in WEIGHTS:
            with torch.no_grad():
                encoded = compel([plain_prompt(f"({word}){weight} {subject}", ground) for subject, ground in pairs])
            rows = {"prompt_embeds": encoded.embeds, "pooled_prompt_embeds": encoded.pooled_embeds}
            pictures = bench.draw_rows(f"weight-{word}-{weight}", rows, bench.seeds(len(pairs)))
            asked = list(zip(pictures, (background for _, background in pairs), strict=True))
            extents.append([extent(subject_mask(*one)) for one in asked])
            stands.append([stands_on(*one) for one in asked])
        measured = np.all(stands, axis=0)
        if measured.any():
            figures[f"extent_by_weight_of_{word}"] = np.round(np.mean(np.array(extents)[:, measured], 1), 3).tolist()
    return Measured(figures)


def measure_micro_conditioning(bench: Bench) -> Measured:
    """Sharpness by original size, and how far the subject's middle moves by crop, as a share of the picture."""
    pairs = held_out_prompts(bench.config, bench.count, plain=True, seed=6)
    prompts = [plain_prompt(*pair) for pair in pairs]
    sharp: dict[int, np.ndarray] = {}
    for side in ORIGINAL_SIDES:
        pictures = bench.draw(f"original-{side}", prompts, original_size=(side, side))
        sharp[side] = np.array([sharpness(picture) for picture in pictures])
    means = [round(float(sharp[side].mean()), 2) for side in ORIGINAL_SIDES]
    figures: Figures = {"original_sizes": list(ORIGINAL_SIDES), "sharpness_by_original_size": means}
    figures |= estimate("small_original_sharpness_share", (sharp[64] / sharp[1024]).tolist(), 3)
    middles: dict[str, np.ndarray] = {}
    for name, crop in CROPS.items():
        pictures = bench.draw(f"crop-{name}", prompts, crops_coords_top_left=crop)
        places = [centre(subject_mask(picture, pair[1])) for picture, pair in zip(pictures, pairs, strict=True)]
        middles[name] = np.array(places)
    figures |= estimate("crop_left_moves", (middles["left"] - middles["none"])[:, 0].tolist(), 3)
    figures |= estimate("crop_top_moves", (middles["top"] - middles["none"])[:, 1].tolist(), 3)
    return Measured(figures)
