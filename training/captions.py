"""Captions as a run needs them: of its images, drawn by counter, and in the form that its model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from ..config import TextConfig
from ..data import ImageData, cache_folder, counter_generator
from ..data.captions import DRAWS, LEVELS, Captions, caption_images, make_caption
from ..data.strokes import PROPERTIES
from ..models.text import encode, load_text_encoder, tokenize, train_tokenizer

# Captions that the tokenizer learns its merges from; of made-up digits, so that it is the same for every dataset.
TOKENIZER_TEXTS = 20_000
# What the embeddings of a frozen encoder may take; those that were used least lately go first.
CACHE_BYTES = 2 << 30


@dataclass
class TextCoder:
    """Turns captions into the arguments of the run's model.

    Attributes:
        tokenizer: of the encoder.
        max_length: tokens of a text.
        frozen_encoder: None where the encoder is trained; then the model takes tokens, and otherwise embeddings.
    """

    tokenizer: Any
    max_length: int
    frozen_encoder: Any = None

    def __post_init__(self) -> None:
        if self.frozen_encoder is not None:
            bytes_of_one = 4 * self.max_length * self.frozen_encoder.config.hidden_size
            self.embedding = lru_cache(max(1, CACHE_BYTES // bytes_of_one))(self._embed)

    def __call__(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """The model's arguments, (B, …) each, on the CPU."""
        tokens = tokenize(self.tokenizer, texts, self.max_length)
        if self.frozen_encoder is None:
            return tokens
        embeddings = torch.stack([self.embedding(text) for text in texts])
        return {"encoder_hidden_states": embeddings, "encoder_attention_mask": tokens["attention_mask"]}

    @torch.no_grad()
    def _embed(self, text: str) -> torch.Tensor:
        """(S, D) float32 of a text; computed alone, so that it is the same whatever was computed before."""
        return encode(self.frozen_encoder, tokenize(self.tokenizer, [text], self.max_length))[0]


@dataclass(frozen=True)
class CaptionSource:
    """Captions of a set of images, in the form that the model takes."""

    captions: Captions
    coder: TextCoder

    def draw(self, indices: torch.Tensor, dropped: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Arguments of the model for (B,) images, "" for those that are dropped."""
        texts = self.captions.draw(indices, generator)
        return self.coder(["" if drop else text for text, drop in zip(texts, dropped.tolist(), strict=True)])


@dataclass(frozen=True)
class RunText:
    """All of a run that has to do with words.

    Attributes:
        coder: what the encoder needs.
        training, validation: captions of the run's images.
    """

    coder: TextCoder
    training: CaptionSource
    validation: CaptionSource


def make_tokenizer(config: TextConfig) -> Any:
    """The tokenizer that is trained here: the same for every dataset, seed and machine."""
    draws = torch.rand(TOKENIZER_TEXTS, DRAWS, generator=counter_generator(0, "tokenizer")).tolist()
    levels = [dict.fromkeys(PROPERTIES, level) for level in LEVELS]
    texts = [make_caption(i % 10, levels[i // 10 % len(levels)], own) for i, own in enumerate(draws)]
    return train_tokenizer(texts, config.vocab_size, config.max_length)


def build_coder(config: TextConfig, read_only: bool = False) -> TextCoder:
    """Make what turns captions into the model's arguments.

    Args:
        config: of the words.
        read_only: download nothing.

    Raises:
        ValueError: an encoder that is not to be had, or takes shorter texts alone.
    """
    if config.encoder is None:
        return TextCoder(make_tokenizer(config), config.max_length)
    encoder, tokenizer = load_text_encoder(config.encoder, local_files_only=read_only)
    longest = getattr(encoder.config, "max_position_embeddings", None) or config.max_length
    if config.max_length > longest:
        raise ValueError(f"text.max_length: got {config.max_length}, expected at most {longest}, the encoder's.")
    return TextCoder(tokenizer, config.max_length, encoder)


def build_text(coder: TextCoder, data: ImageData, validation: ImageData, read_only: bool = False) -> RunText:
    """Measure the images, and caption them; with `read_only` what was measured is not kept.

    Raises:
        ValueError: images that are no digits.
    """
    cache = None if read_only else cache_folder("strokes")
    return RunText(coder, *(CaptionSource(caption_images(images, cache), coder) for images in (data, validation)))
