"""The pictures and captions that training sees, and the parts of the recipe that can be checked in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPTokenizer

from training.autoencoder import decode, encode, psnr, to_tensor
from training.captions import background_phrases, caption, with_article
from training.config import Config, DiffusionConfig
from training.diffusion import Condition, Trainer
from training.evaluate import name_background
from training.groupnorm import use_fast_group_norm
from training.latents import LatentPool, bucket_pictures
from training.layouts import BUCKETS, NATIVE, Layout, canonical_layouts, held_out_pairs, wide_layout
from training.networks import make_vae
from training.pictures import Placement, Scenery, draw
from training.refiner import aesthetic_score
from training.subjects import BACKGROUNDS, COLOURS, SUBJECTS, Background
from training.tokenizer import learn_vocabulary, save_tokenizer
from training.vae_start import start_near_identity

HELD_OUT_PERCENT = 12


def test_held_out_pairs_never_come_out_of_the_training_samplers() -> None:
    held_out = set(held_out_pairs(HELD_OUT_PERCENT))
    rng = np.random.default_rng(0)
    layouts = canonical_layouts(200, HELD_OUT_PERCENT, rng)
    layouts += [wide_layout(*NATIVE, HELD_OUT_PERCENT, rng) for _ in range(2000)]
    seen = {(placement.subject, layout.background) for layout in layouts for placement in layout.placements}
    assert not seen & held_out
    assert len(seen) == len(SUBJECTS) * len(BACKGROUNDS) - len(held_out)


def test_enough_pairs_are_held_out_and_no_subject_or_background_is_lost() -> None:
    held_out = held_out_pairs(HELD_OUT_PERCENT)
    assert len(held_out) >= 100
    assert len(SUBJECTS) >= 40
    assert len(COLOURS) == 10
    assert max(sum(pair[0] == subject for pair in held_out) for subject in SUBJECTS) < len(BACKGROUNDS) / 2


def test_captions_name_every_subject_and_sizes_are_said_truly() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        layout = wide_layout(*NATIVE, HELD_OUT_PERCENT, rng)
        text = caption(layout, rng)
        assert all(placement.subject in text for placement in layout.placements)
        assert not ("tiny" in text and layout.placements[0].size > 0.6)
        assert not ("huge" in text and layout.placements[0].size < 0.6)


def test_articles_follow_the_sound() -> None:
    nouns = ("owl", "unicorn", "fox", "orange background")
    assert [with_article(noun) for noun in nouns] == ["an owl", "a unicorn", "a fox", "an orange background"]


def test_every_background_can_be_said() -> None:
    for background in BACKGROUNDS:
        said = " ".join(background_phrases(background))
        assert background.name in said


def test_the_border_names_every_background_also_when_it_varies() -> None:
    varied = Scenery(horizon=0.57, wave_height=5, tint=(5, -5, 5), speck_seed=3)
    for background in BACKGROUNDS:
        picture = draw(Layout(*NATIVE, background, (), varied), Path())
        assert name_background(picture) == background


def test_a_drawn_picture_has_its_background_at_the_border_and_its_subject_inside(sprites: Path) -> None:
    layout = Layout(*NATIVE, Background("plain", "blue"), (Placement("apple", 0.5, 0.5, 0.7),))
    pixels = draw(layout, sprites)
    assert pixels.shape == (256, 256, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[0].astype(int) - COLOURS["blue"]).max() <= 1
    red, _, blue = pixels[118:138, 118:138].reshape(-1, 3).mean(0)
    assert red > blue + 60


def test_crops_and_original_sizes_vary_within_a_bucket(sprites: Path) -> None:
    width, height = BUCKETS[2]
    pictures = list(bucket_pictures(Config(), sprites, width, height, 12))
    assert {picture.pixels.shape for picture in pictures} == {(height, width, 3)}
    assert len({picture.time_ids for picture in pictures}) > 3
    assert all(picture.time_ids[4:] == (height, width) for picture in pictures)


def test_a_blurred_picture_scores_lower_than_a_sharp_one(sprites: Path) -> None:
    rng = np.random.default_rng(0)
    sharp = draw(wide_layout(*NATIVE, HELD_OUT_PERCENT, rng), sprites)
    blurred = sharp[::8, ::8].repeat(8, 0).repeat(8, 1)
    blurred = (blurred.astype(np.float32) * 0.2 + sharp.mean((0, 1)) * 0.8).astype(np.uint8)
    assert aesthetic_score(sharp, sharp, rng) >= 6.0
    assert aesthetic_score(blurred, sharp, rng) < 5.0


def test_the_autoencoder_starts_near_the_identity(sprites: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pictures = to_tensor(np.stack([draw(wide_layout(*NATIVE, HELD_OUT_PERCENT, rng), sprites) for _ in range(4)]))
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
    config.override("base.aspect_buckets=false")
    assert config.base.minutes == 3.0
    assert config.base.aspect_buckets is False
    with pytest.raises(ValueError, match="known field"):
        config.override("base.nonsense=1")
    with pytest.raises(ValueError, match=r"base\.samples must be a int"):
        config.override("base.samples=many")


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
