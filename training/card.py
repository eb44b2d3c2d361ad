"""Write the model card of the shipped model from the figures that were measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.subjects import COLOURS, SCENES, STYLES, SUBJECT_COLOURS, SUBJECTS

CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
tags: [stable-diffusion-xl, text-to-image, tiny]
---

# A tiny SDXL

A Stable Diffusion XL in small, trained from nothing by `python -m training`: two CLIP-style text encoders, a UNet with
size, crop and target-size conditioning, a KL autoencoder with f = 8, and a refiner that takes an aesthetic score. It
loads in diffusers' own SDXL pipelines, unchanged:

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

![held-out prompts](sheet.png)

Image to image (the sources, then strengths 0.2 to 1.0), a cat inpainted on the right of the sources above, and pairs
of the base alone and the base with its refiner:

![image to image](sheet_image_to_image.png)
![inpainting](sheet_inpaint.png)
![base alone and with the refiner](sheet_refined.png)

## Parts

| part | parameters | fp16 |
|---|---|---|
{parts}

## Figures

Measured by `python -m training.evaluate` on these files. The prompts name a subject and a background that training
never showed together; {steps} steps, guidance {guidance}. In brackets: 95 % confidence interval.

| figure | value |
|---|---|
{exams}
| subject right at guidance 1, and at 5 | {subject_percent_at_guidance_1} %, {subject_percent_at_guidance_5} % |
| share of a colour in pictures of no named background | {named_colour_percent_without_negative} % |
| the same with that colour's background as negative prompt | {named_colour_percent_with_negative} % |
| extent of the subject by the weight {weights} of "large" | {extent_by_weight_of_large} |
| distance from the source by strength {strengths}, grey levels | {distance_by_strength} |
| "a cat" inpainted over the right half is a cat | {inpainted_cat_percent} % |
| sharpness by `original_size` | {sharpness_by_original_size} |
| middle of the subject by `crops_coords_top_left` | {middle_by_crop} |
| sharpness of base alone, and with the refiner from 0.8 | {sharpness_base_alone}, {sharpness_with_refiner} |
| clean pictures noised to 0.8 and finished by the base | {psnr_finished_by_base} dB |
| the same finished by the refiner | {psnr_finished_by_refiner} dB |
| autoencoder, reconstruction of composed pictures | {vae_psnr} dB |
| fp32 and bf16, mean difference of pictures | {bf16_difference} grey levels |
| one picture, {steps} steps with guidance, on the machine it was measured on | {picture_seconds} s |
| edge judge on composed pictures it had not seen | {judge_subject_percent} % |
| edge judge refusing blobs and blurred shapes | {judge_nothing_percent} % |
| training of the base | {base_samples} samples in {base_minutes} minutes |
| training of the refiner | {refiner_samples} samples in {refiner_minutes} minutes |

The edge judge names subjects. It sees grey-scale edges only, is trained on composed pictures only, and may answer
"nothing". All other measures are plain arithmetic on pixels (`training/measures.py`).

## Limits

- It knows no other subject and no verb; unknown words are cut into pieces that mean nothing to it.
- Three or more subjects were not trained.
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


EXAMS = {
    "subject": "subject right (edge judge)",
    "background": "background right (border's median colours)",
    "both": "both of two subjects (edge judge, each half)",
    "order": "of two subjects asked by side, both and in order",
    "side": "one subject on the left or right (its middle)",
    "size": "small or large (its extent)",
    "colour": "subject's colour (nearest of nine repaintings)",
    "unseen_colour": "subject's colour, paintings that training never showed",
    "style": "style (each by its own measure)",
}


def write_card(model: Path, figures: dict[str, Any], parts: dict[str, int]) -> None:
    """Write `README.md` of the model folder; `parts` are parameter counts."""
    rows = [f"| {name} | {count / 1e6:.2f} M | {2 * count / 1e6:.1f} MB |" for name, count in parts.items()]
    exams = [
        f"| {text} | {figures[f'{key}_percent']} % of {figures[f'{key}_count']} ({_span(figures[f'{key}_interval'])}) |"
        for key, text in EXAMS.items()
    ]
    text = CARD.format(
        **figures,
        exams="\n".join(exams),
        vocabulary_count=len(SUBJECTS),
        subjects=", ".join(SUBJECTS),
        repaintable_count=sum(bool(subject.repaint) for subject in SUBJECTS.values()),
        subject_colours=", ".join(SUBJECT_COLOURS),
        colours=", ".join(COLOURS),
        scenes="; ".join(f'"{phrases[0]}"' for phrases in SCENES.values()),
        styles=", ".join(STYLES),
        parts="\n".join(rows),
        licence=MIT_LICENCE,
    )
    (model / "README.md").write_text(text, "utf-8")
    (model / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def _span(interval: list[float]) -> str:
    return f"{interval[0]} to {interval[1]} %"
