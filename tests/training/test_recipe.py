"""The pictures and captions that training sees, and the parts of the recipe that can be checked in a moment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPTokenizer

from training.autoencoder import decode, encode, psnr, to_tensor
from training.base import BaseSources
from training.captions import background_phrases, caption, with_article
from training.composed import composed
from training.config import Config, DiffusionConfig
from training.diffusion import Condition, Trainer
from training.groupnorm import use_fast_group_norm
from training.latents import Encoders, LatentPool
from training.layouts import (
    BUCKETS,
    MIXES,
    NATIVE,
    HeldOut,
    canonical_single,
    held_out_pairs,
    sample_layout,
)
from training.measures import centre, sharpness, subject_mask
from training.networks import make_vae
from training.pictures import Layout, Painter, draw
from training.refiner import aesthetic_scores, scored_pool
from training.styles import reduce_resolution
from training.subjects import (
    BACKGROUNDS,
    COLOURS,
    STYLES,
    SUBJECT_COLOURS,
    SUBJECTS,
    Background,
    is_colour_held_out,
    is_held_out,
)
from training.tokenizer import learn_vocabulary, save_tokenizer
from training.vae_start import start_near_identity

HELD_OUT = HeldOut()
BLUE = Background("plain", "blue")


@pytest.mark.parametrize("mix", MIXES)
def test_held_out_pairs_never_come_out_of_the_training_sampler(mix: str) -> None:
    rng = np.random.default_rng(0)
    layouts = [sample_layout(MIXES[mix], *NATIVE, HELD_OUT, rng) for _ in range(3000)]
    placed = [(placement, layout.background) for layout in layouts for placement in layout.placements]
    assert not any(is_held_out(placement.subject, background, HELD_OUT.backgrounds) for placement, background in placed)
    painted = [placement for placement, _ in placed if placement.colour]
    assert painted
    assert not any(is_colour_held_out(placement.subject, placement.colour, HELD_OUT.colours) for placement in painted)
    assert {placement.subject for placement, _ in placed} == set(SUBJECTS)
    assert {background for _, background in placed} == set(BACKGROUNDS)


def test_the_refiner_never_sees_held_out_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Layout] = []

    class Recorder:
        def draw(self, layouts: list[Layout]) -> torch.Tensor:
            seen.extend(layouts)
            return torch.rand(len(layouts), 3, 16, 16)

    monkeypatch.setattr("training.refiner.encode_pictures", lambda vae, pictures: torch.zeros(len(pictures), 4, 2, 2))
    tokens = torch.zeros(16, 1, 77)
    monkeypatch.setattr("training.refiner.caption_tokens", lambda *rest: (tokens, tokens))
    encoders = cast(Encoders, SimpleNamespace(painter=Recorder(), vae=None, tokenizers=()))
    scored_pool(Config(), *NATIVE, 1600, encoders, tmp_path / "pool.pt")
    assert len(seen) >= 1600
    pairs = [(placement.subject, layout.background) for layout in seen for placement in layout.placements]
    assert not any(is_held_out(*pair, Config().data.held_out_percent) for pair in pairs)


def test_the_vocabulary_is_as_wide_as_promised() -> None:
    assert len(SUBJECTS) >= 200
    assert len(COLOURS) == 10
    assert sum(background.kind == "scene" for background in BACKGROUNDS) >= 6
    assert {"black and white", "sepia", "pixel art", "line drawing", "silhouette", "poster", "blurry"} == set(STYLES)
    names = [name for subject in SUBJECTS.values() for name in subject.names]
    assert len(names) == len(set(names))
    assert not {name for name in names if set(name.split()) & set(COLOURS)}
    assert len({subject.emoji for subject in SUBJECTS.values()}) == len(SUBJECTS)


def test_no_subject_loses_half_of_its_backgrounds_or_colours() -> None:
    held_out = held_out_pairs(HELD_OUT.backgrounds)
    assert len(held_out) >= 600
    assert max(sum(pair[0] == subject for pair in held_out) for subject in SUBJECTS) < len(BACKGROUNDS) / 2
    for subject in (name for name, subject in SUBJECTS.items() if subject.repaint):
        lost = [colour for colour in SUBJECT_COLOURS if is_colour_held_out(subject, colour, HELD_OUT.colours)]
        assert len(lost) < len(SUBJECT_COLOURS) / 2


def test_captions_say_what_is_not_canonical_and_nothing_false() -> None:
    rng = np.random.default_rng(1)
    for _ in range(600):
        layout = sample_layout(MIXES["wide"], *NATIVE, HELD_OUT, rng)
        text = caption(layout, rng)
        for placement in layout.placements:
            names = SUBJECTS[placement.subject].names
            assert any(f"{placement.colour} {name}".strip() in text for name in names), text
        if len(layout.placements) == 1 and not layout.crop[1]:
            placement = layout.placements[0]
            is_aside = abs(placement.x - 0.5) > 0.15
            words = set(text.replace(",", "").split())
            assert bool(words & {"left", "right"}) == is_aside, text
            is_small = bool(words & {"small", "tiny", "little"})
            assert is_small == (placement.size < 0.53 and not is_aside), text
        assert layout.style != "silhouette" or "silhouette" in text


def test_articles_follow_the_sound_and_the_number() -> None:
    nouns = ("owl", "unicorn", "fox", "orange background", "ufo", "hourglass", "cherries", "glass of milk", "milk")
    said = ["an owl", "a unicorn", "a fox", "an orange background", "a ufo", "an hourglass", "cherries"]
    assert [with_article(noun) for noun in nouns] == [*said, "a glass of milk", "milk"]


def test_every_background_can_be_said() -> None:
    for background in BACKGROUNDS:
        said = " ".join(background_phrases(background))
        assert background.kind == "scene" or background.name in said
        assert background.kind in ("plain", "scene") or background.kind in said


def test_a_drawn_picture_has_its_background_at_the_border_and_its_subject_inside(sprites: Path) -> None:
    pixels = draw(canonical_single("apple", BLUE), sprites)
    assert pixels.shape == (256, 256, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[0].astype(int) - COLOURS["blue"]).max() <= 1
    red, _, blue = pixels[118:138, 118:138].reshape(-1, 3).mean(0)
    assert red > blue + 60


def test_a_batch_is_drawn_as_its_pictures_alone(sprites: Path) -> None:
    rng = np.random.default_rng(5)
    layouts = [sample_layout(MIXES["wide"], *BUCKETS[2], HELD_OUT, rng) for _ in range(12)]
    painter = Painter(sprites)
    together = painter.draw(layouts)
    assert together.shape == (12, 3, BUCKETS[2][1], BUCKETS[2][0])
    for layout, picture in zip(layouts, together, strict=True):
        torch.testing.assert_close(painter.draw([layout])[0], picture, atol=2e-3, rtol=0)


def test_a_crop_moves_the_subject_and_a_small_original_is_soft(sprites: Path) -> None:
    straight = canonical_single("star", BLUE)
    cropped = Layout(*NATIVE, BLUE, straight.placements, crop=(0, 64))
    soft = Layout(*NATIVE, BLUE, straight.placements, detail=0.25)
    (x, y), (cropped_x, cropped_y) = (
        centre(subject_mask(draw(layout, sprites), BLUE)) for layout in (straight, cropped)
    )
    assert cropped_x < x - 0.15
    assert abs(cropped_y - y) < 0.05
    assert cropped.time_ids == (256, 256, 0, 64, 256, 256)
    assert soft.time_ids == (64, 64, 0, 0, 256, 256)
    assert sharpness(draw(soft, sprites)) < 0.8 * sharpness(draw(straight, sprites))


def test_a_softened_picture_scores_lower_than_a_sharp_one(sprites: Path) -> None:
    rng = np.random.default_rng(0)
    sharp = Painter(sprites).draw([canonical_single("castle", BLUE)])
    assert aesthetic_scores(sharp, sharp, rng)[0] >= 6.0
    assert aesthetic_scores(reduce_resolution(sharp, 0.15), sharp, rng)[0] < 2.5


def test_the_autoencoder_starts_near_the_identity(sprites: Path) -> None:
    torch.manual_seed(0)
    pictures = to_tensor(composed(sprites, 4))
    vae = make_vae(Config().vae)
    start_near_identity(vae, pictures)
    with torch.inference_mode():
        output = decode(vae, encode(vae, pictures))
    assert psnr(output, pictures) > 20


def test_the_fast_group_norm_agrees_with_the_native_one() -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(8, 32)
    nn.init.normal_(norm.weight)
    native = torch.randn(3, 32, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
    fast = native.detach().clone().requires_grad_()
    upstream = torch.randn(3, 32, 9, 9)
    norm(native).backward(upstream)
    native_weight_grad = norm.weight.grad.clone()
    norm.zero_grad()
    use_fast_group_norm(norm, torch.device("cpu"))
    norm(fast).backward(upstream)
    torch.testing.assert_close(fast.grad, native.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norm.weight.grad, native_weight_grad, atol=1e-4, rtol=1e-5)


def test_unknown_words_are_cut_into_known_pieces(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, *learn_vocabulary(["a fox on a blue background"] * 20), pad_token="!")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("A Zebra, größer 狐狸 🦊!", padding="max_length", max_length=77).input_ids
    assert len(ids) == 77
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id in ids
    assert tokenizer.tokenize("fox") == ["fox</w>"]


def test_overrides_are_typed_and_named() -> None:
    config = Config()
    config.override("base.minutes=3")
    config.override("vae.analytic_start=false")
    assert config.base.minutes == 3.0
    assert config.vae.analytic_start is False
    with pytest.raises(ValueError, match="known field"):
        config.override("base.nonsense=1")
    with pytest.raises(ValueError, match=r"base\.samples must be a int"):
        config.override("base.samples=many")


def test_a_longer_run_in_larger_batches_keeps_its_phases() -> None:
    config = Config()
    config.override("base.length=0.5")
    config.override("base.batch_scale=4")
    scaled = config.base.scaled()
    assert scaled.samples * 2 == config.base.samples == sum(phase.samples for phase in config.base.phases)
    assert [phase.batch_size for phase in scaled.phases] == [4 * phase.batch_size for phase in config.base.phases]
    sources = BaseSources(config, Path(), cast(Encoders, None))
    assert sources.phase(0) == scaled.phases[0]
    assert sources.phase(scaled.phases[0].samples) == scaled.phases[1]
    assert sources.phase(scaled.samples) == scaled.phases[-1]


class TinyDenoiser(nn.Module):
    """The smallest thing a trainer can train."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.words = nn.Embedding(50, 4)

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Condition) -> torch.Tensor:
        words = self.words(condition.tokens_1).mean(1) * condition.kept[:, None]
        return self.conv(noisy) + words[:, :, None, None] + timesteps.view(-1, 1, 1, 1) / 1000


def make_trainer(path: Path) -> Trainer:
    torch.manual_seed(0)
    settings = DiffusionConfig(minutes=1e9, samples=40, learning_rate=1e-2, channels=())
    empty = torch.zeros(77, dtype=torch.long)
    return Trainer(TinyDenoiser(), settings, (empty, empty), path, torch.device("cpu"))


def test_a_resumed_training_takes_the_same_next_step(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(50, (10, 2, 77), generator=generator).short()
    pool = LatentPool(torch.randn(10, 4, 8, 8, generator=generator).half(), torch.zeros(10, 6), tokens, tokens)
    trainer = make_trainer(tmp_path / "state.pt")
    for _ in range(3):
        trainer.train_step(pool, 4)
    trainer.save()
    loss = trainer.train_step(pool, 4)

    resumed = make_trainer(tmp_path / "state.pt")
    assert resumed.resume()
    assert resumed.train_step(pool, 4) == loss
    assert resumed.samples == trainer.samples == 16
    assert resumed.learning_rate() == trainer.learning_rate()
    for mine, theirs in zip(resumed.average.parameters(), trainer.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)
