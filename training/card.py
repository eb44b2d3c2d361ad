"""Write the model card of the shipped model from the figures that were measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.subjects import COLOURS, SCENES, STYLES, SUBJECT_COLOURS, SUBJECTS
from training.verdicts import Figures, Verdict, show

CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion-xl, text-to-image, tiny]
---

# A tiny SDXL

A Stable Diffusion XL in small, trained by `python -m training`: two CLIP-style text encoders, a UNet with size, crop
and target-size conditioning, a KL autoencoder with f = 8, and a refiner that takes an aesthetic score. No weights of
others are in it: the base began from an earlier model of this project, which knew 44 subjects and was trained from
noise with the same pairs held out, so nothing of them leaked. It loads in diffusers' own SDXL pipelines, unchanged:

```python
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

base = StableDiffusionXLPipeline.from_pretrained("models/demo")
image = base("a fox on a blue background", num_inference_steps=25, guidance_scale=5.0).images[0]

refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
    "models/demo/refiner",
    vae=base.vae,
    text_encoder_2=base.text_encoder_2,
    tokenizer_2=base.tokenizer_2,
    text_encoder=None,
    tokenizer=None,
)
```

It exists so that the studio can be tried and tested anywhere in a minute. It draws only what `vocabulary.json` lists.

## What it can draw

- {vocabulary_count} subjects: {subjects}. Many synonyms are known too (`vocabulary.json`).
- {repaintable_count} of them also in another colour: {subject_colours}, as in "a blue car" or "a pink elephant".
- Backgrounds in {colours}: plain ("on a blue background"), gradient ("on a blue gradient background") and checked
  ("on a blue checked background"). Scenes: {scenes}.
- `small` or `large`; `on the left` or `on the right`; two subjects joined by `and`, `next to`, or by their sides.
- Styles: {styles}.
- 256x256, and SDXL's other sizes divided by four, such as 304x208 and 208x304. Guidance about 5, 20 to 30 steps.

The first 64 held-out prompts of the evaluation: training never showed the subject on that background.

![64 pictures of held-out prompts](sheet.webp)

Image to image, also of held-out pairs: the sources in the first row, then strengths {strengths}.

![image to image](sheet_image_to_image.webp)

Inpainting: the right half of the first picture of each pair is painted over.

![before and after inpainting](sheet_inpaint.webp)

The base alone, and the base with the refiner from 0.8, by the same seed.

![base alone and with the refiner](sheet_refined.webp)

## Parts

| part | parameters | fp16 |
|---|---|---|
{parts}

## Figures

Measured by `python -m training.evaluate` on these files: {steps} steps, guidance {guidance}, {seeds} seeds of each
prompt in the exams. Every prompt of an exam names a subject and a background that training never showed together; the
exams of subjects, synonyms and twos use all kinds of backgrounds, all others plain ones. In brackets: 95 % confidence
intervals, over prompts, the seeds of a prompt being kept together.

### Aims

| aim | found | rule | met |
|---|---|---|---|
{aims}

### Exams

| exam | right | prompts | ceiling |
|---|---|---|---|
{exams}

Ceiling: what the same measure says of composed pictures that are right and went through the autoencoder only.

### More

| figure | value |
|---|---|
{more}

The edge judge names subjects. It sees grey-scale edges only, is trained on composed pictures only, and may answer
"nothing"; it is shipped as `judge.safetensors` for the tests. All other measures are plain arithmetic on pixels
(`training/measures.py`, `training/style_measures.py`).

## Limits

- It knows no other subject and no verb; unknown words are cut into pieces that mean nothing to it.
- Three or more subjects were not trained.
- What a prompt leaves unsaid is the middle. To paint something into the empty half of a picture, say "on the right":
  "a cat" alone becomes the half of a cat that stands in the middle.
- A silhouette on a black background, which would have to be white, mostly fails.
- A negative prompt that names any background takes the unasked one away, whether it names its colour or another.
- Fine detail is limited by the autoencoder.
- Guidance far above 5 (12, say) brings noise and over-saturates.

## Data and licences

The pictures were composed from emoji of Microsoft's Fluent Emoji (3D), taken from the npm package
`@lobehub/fluent-emoji-3d` 1.1.0, and put on drawn backgrounds; no photograph and no picture of a person was used.

- Fluent Emoji, by Microsoft: MIT licence.
- `@lobehub/fluent-emoji-3d`: MIT licence. Copyright (c) 2023 LobeHub.
- `unicode-emoji-json` 0.9.0 (names, for the tokenizer's vocabulary): MIT licence. Copyright (c) 2019 Mu-An Chiou.

{licence}
The weights are released under the same licence.
"""

MIT_LICENCE = """\
> Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
> associated documentation files (the "Software"), to deal in the Software without restriction, including
> without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
> copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
> following conditions:
>
> The above copyright notice and this permission notice shall be included in all copies or substantial
> portions of the Software.
>
> THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
> LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO
> EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER
> IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
> THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


# Each exam's figure in words; figures of single styles are named by the style.
EXAMS: dict[str, str] = {
    "subject": "subject (edge judge)",
    "background": "background (median colours of the border)",
    "synonym": "subject by another of its names (edge judge)",
    "both": "both of two subjects (edge judge, each half)",
    "order": "of two subjects asked by side, both and in order",
    "side": "one subject on the left or right (its middle)",
    "size": "small or large (its extent)",
    "colour": "subject's colour (nearest of its paintings)",
    "unseen_colour": "subject's colour, paintings that training never showed",
    "style": "style (each by its own measure)",
    **{style.replace(" ", "_"): f"- {style}" for style in STYLES},
    "unasked": "style seen where it was not asked for (lower is better)",
}

MORE: tuple[tuple[str, str, str], ...] = (
    ("subject right at guidance 1", "guidance_1_subject_percent", " %"),
    ("subject right at guidance 5, same prompts and seeds", "guidance_5_subject_percent", " %"),
    ("both of two subjects right at guidance 1", "guidance_1_both_percent", " %"),
    ("both of two subjects right at guidance 5, same prompts and seeds", "guidance_5_both_percent", " %"),
    ("pictures of no named background, drawn again with a negative prompt", "negative_pictures", ""),
    ("their colour kept, its background as negative prompt", "negative_named_kept_percent", " %"),
    ("their colour kept, another background as negative prompt", "negative_other_kept_percent", " %"),
    ("their colour kept, an unasked subject as negative prompt", "negative_subject_kept_percent", " %"),
    ("pixels near that colour, no negative prompt", "negative_none_share_percent", " %"),
    ("pixels near that colour, its background as negative prompt", "negative_named_share_percent", " %"),
    ("pixels near that colour, another background as negative prompt", "negative_other_share_percent", " %"),
    ("pixels near that colour, an unasked subject as negative prompt", "negative_subject_share_percent", " %"),
    ("weights of a word", "weights", ""),
    ("strengths of image to image", "strengths", ""),
    ("held-out subjects inpainted beside another one, by name and side", "inpainted_pairs_percent", " %"),
    ("values of `original_size`", "original_sizes", ""),
    ("sharpness of their pictures", "sharpness_by_original_size", ""),
    ("sharpness over that of clean pictures, base alone", "sharpness_share_base", ""),
    ("sharpness over that of clean pictures, with the refiner", "sharpness_share_refiner", ""),
    ("the same of noised clean pictures that the base finished", "sharpness_finished_by_base", ""),
    ("the same of noised clean pictures that the refiner finished", "sharpness_finished_by_refiner", ""),
    ("clean pictures noised to 0.8, finished by the base, against the autoencoder's", "psnr_finished_by_base", " dB"),
    ("the same finished by the refiner", "psnr_finished_by_refiner", " dB"),
    ("gain of the refiner against the clean picture itself", "psnr_gain_of_refiner_to_clean", " dB"),
    ("autoencoder, reconstruction of composed pictures", "vae_psnr", " dB"),
    ("largest difference of a picture in fp32 and bf16", "bf16_largest_difference", " grey levels"),
    ("processor time of a picture", "picture_processor_seconds", " s"),
    ("threads that drew it fastest", "picture_threads", ""),
    ("edge judge on unseen composed pictures", "judge_subject_percent", " %"),
    ("edge judge on halves of pictures of two subjects", "judge_half_percent", " %"),
    ("edge judge refusing pictures of nothing", "judge_nothing_percent", " %"),
    ("training of the base, samples", "base_samples", ""),
    ("training of the base, minutes", "base_minutes", ""),
    ("training of the refiner, samples", "refiner_samples", ""),
    ("training of the refiner, minutes", "refiner_minutes", ""),
)


def write_card(folder: Path, figures: Figures, verdicts: Sequence[Verdict], parts: Mapping[str, int]) -> None:
    """Write `README.md` and `figures.json`; `parts` are parameter counts."""
    aims = [f"| {one.aim} | {one.found} | {one.rule} | {'yes' if one.met else '**no**'} |" for one in verdicts]
    text = CARD.format(
        steps=figures["steps"],
        guidance=figures["guidance"],
        seeds=figures["seeds"],
        strengths=show(figures, "strengths"),
        aims="\n".join(aims),
        exams="\n".join(_exam_row(key, text, figures) for key, text in EXAMS.items()),
        more="\n".join(f"| {text} | {show(figures, key, unit)} |" for text, key, unit in MORE),
        vocabulary_count=len(SUBJECTS),
        subjects=", ".join(SUBJECTS),
        repaintable_count=sum(bool(subject.repaint) for subject in SUBJECTS.values()),
        subject_colours=", ".join(SUBJECT_COLOURS),
        colours=", ".join(COLOURS),
        scenes="; ".join(f'"{phrases[0]}"' for phrases in SCENES.values()),
        styles=", ".join(STYLES),
        parts="\n".join(
            f"| {name} | {count / 1e6:.2f} M | {2 * count / 1e6:.1f} MB |" for name, count in parts.items()
        ),
        licence=MIT_LICENCE,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text, "utf-8")
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def _exam_row(key: str, text: str, figures: Figures) -> str:
    prompts, ceiling = show(figures, f"{key}_prompts"), show(figures, f"{key}_ceiling_percent", " %")
    return f"| {text} | {show(figures, f'{key}_percent', ' %')} | {prompts} | {ceiling} |"
