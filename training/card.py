"""Write the model card of the shipped model from the figures that were measured."""

from __future__ import annotations

import json
from pathlib import Path

from training.subjects import COLOURS, GRADIENT_COLOURS, SCENES, SUBJECTS

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

- {subject_count} subjects: {subjects}.
- Backgrounds: {colours}; gradients of {gradients}; scenes: {scenes}.
- `small` or `large`; two subjects joined by `and` or `next to`, or placed `on the left` and `on the right`.
- 256x256, and SDXL's other sizes divided by four, such as 304x208 and 208x304. Guidance about 5, 20 to 30 steps.

![held-out prompts](sheet.png)

## Parts

| part | parameters | fp16 |
|---|---|---|
{parts}

## Figures

Measured by `python -m training.evaluate` on these files. The {prompts} prompts name a subject and a background that
training never showed together; {steps} steps, guidance {guidance}.

| figure | value |
|---|---|
| subject right (edge judge) | {subject_percent} % of {prompts} |
| background right (border's median colours) | {background_percent} % of {prompts} |
| both subjects right, left and right (edge judge) | {both_subjects_percent} % of {pair_prompts} |
| autoencoder, reconstruction of composed pictures | {vae_psnr} dB |
| edge judge on composed pictures it had not seen | {judge_subject_percent} % |
| edge judge refusing blobs and blurred shapes | {judge_nothing_percent} % |
| training of the base | {base_samples} samples in {base_minutes} minutes on two shared CPU cores |
| training of the refiner | {refiner_samples} samples in {refiner_minutes} minutes |

The judge sees grey-scale edges only, is trained on composed pictures only, and may answer "nothing".

## Limits

- It knows no other subject, no style and no verb; unknown words are cut into pieces that mean nothing to it.
- A colour word before a subject names its own colour ("red apple"); it does not repaint it ("blue apple" is not blue).
- Three or more subjects were not trained. Two subjects are sometimes drawn as one of them twice.
- The longest sizes (384x160, 160x384) are weaker than the others, and a single subject is not always placed on the side
  that was asked for.
- The refiner is lightly trained: it sharpens edges, but may simplify small features such as eyes.
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


def write_card(model: Path, figures: dict[str, float], parts: dict[str, int]) -> None:
    """Write `README.md` of the model folder; `parts` are parameter counts."""
    rows = [f"| {name} | {count / 1e6:.2f} M | {2 * count / 1e6:.1f} MB |" for name, count in parts.items()]
    text = CARD.format(
        **figures,
        subject_count=len(SUBJECTS),
        subjects=", ".join(SUBJECTS),
        colours=", ".join(COLOURS),
        gradients=", ".join(GRADIENT_COLOURS),
        scenes="; ".join(f'"{phrases[0]}"' for phrases in SCENES.values()),
        parts="\n".join(rows),
        licence=MIT_LICENCE,
    )
    (model / "README.md").write_text(text, "utf-8")
    (model / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
