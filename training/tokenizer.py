"""Train CLIP's kind of tokenizer (lower-cased byte-level BPE with `</w>`) on the recipe's own captions."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from training.captions import caption
from training.config import CONTEXT_LENGTH, Config
from training.fetch import unicode_names
from training.layouts import MIXES, NATIVE, HeldOut, sample_layout
from training.subjects import SUBJECTS

logger = logging.getLogger(__name__)

START, END = "<|startoftext|>", "<|endoftext|>"
# SDXL's second tokenizer pads with "!" (id 0 there).
PAD_TOKENS = {"tokenizer": END, "tokenizer_2": "!"}
# CLIP's own word pattern (openai/CLIP, simple_tokenizer.py).
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CAPTIONS = 20_000
VOCABULARY_SIZE = 2400
COMMON_WORDS = (
    "dark bright cute happy sad beautiful high low quality best photo realistic cartoon 3d render illustration style "
    "sunset forest mountain water sky cloud two three left right of next to behind front above under top bottom big "
    "small tall round old new one many a an the with without and in on at is are it this that from by for background "
    "blurry sharp detailed low resolution ugly text watermark worst brown golden silver soft light"
)


def train_tokenizers(config: Config, work: Path) -> None:
    """Train one vocabulary and save it as `work/tokenizer` and `work/tokenizer_2`, which differ in the pad token."""
    if all((work / name / "tokenizer_config.json").is_file() for name in PAD_TOKENS):
        logger.info("tokenizer: done before")
        return
    vocabulary, merges = learn_vocabulary(_texts(config, work))
    for name, pad_token in PAD_TOKENS.items():
        save_tokenizer(work / name, vocabulary, merges, pad_token)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    logger.info("tokenizer: %d entries, %s", len(vocabulary), tokenizer.tokenize("a tropical fish in the snow, zebra"))


def _texts(config: Config, work: Path) -> list[str]:
    rng = np.random.default_rng(config.data.seed)
    held_out = HeldOut(config.data.held_out_percent, config.data.held_out_colours_percent)
    texts = [caption(sample_layout(MIXES["wide"], *NATIVE, held_out, rng), rng) for _ in range(CAPTIONS)]
    names = [name for subject in SUBJECTS.values() for name in subject.names]
    return texts + [COMMON_WORDS] * 50 + names * 20 + list(unicode_names(work / "data").values())


def learn_vocabulary(texts: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn merges from texts; ids in CLIP's order: bytes, bytes ending a word, merges, start, end."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=5,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [(pair[0], pair[1]) for pair in learned]
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *(a + b for a, b in merges), START, END]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}, merges


def save_tokenizer(folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]], pad_token: str) -> None:
    """Write CLIP's own files by hand, as transformers 5 saves only tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT_LENGTH,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": pad_token,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def load_tokenizers(work: Path) -> tuple[CLIPTokenizer, CLIPTokenizer]:
    """Load both tokenizers."""
    return CLIPTokenizer.from_pretrained(work / "tokenizer"), CLIPTokenizer.from_pretrained(work / "tokenizer_2")
