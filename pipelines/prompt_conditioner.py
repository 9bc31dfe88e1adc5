"""From prompts to what a denoiser with a text encoder is told.

N pieces: an image is one piece, or one for each digit of a number. S tokens, D width of the text.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..data.captions import ANY_DIGIT, plain_phrase
from ..data.prompts import Reading, copies_of, read_prompt
from ..models.text import encode, tokenize
from .conditioners import Conditions
from .options import Generators

# What the digits of one number have in common, unless the prompt says it, and how often each level from -2 to 2 is
# drawn: as often as it comes among real digits.
COMMON_STYLE = ("thickness", "slant")
LEVEL_SHARES = (0.1, 0.2, 0.4, 0.2, 0.1)


class Embedded(NamedTuple):
    """Texts as the denoiser sees them.

    Attributes:
        states: (N, S, D).
        mask: (N, S), nonzero for tokens; None reads all of them.
    """

    states: torch.Tensor
    mask: torch.Tensor | None


class PromptConditioner:
    """For a denoiser with a text encoder; see `Conditioner`.

    Args:
        text_encoder, tokenizer: the pipeline's.
        denoiser: says the width and the dtype of its conditions.
        max_tokens: tokens that a prompt is padded or cut to.
        digit_guidance: whether guidance leads away from a prompt with its digit left open, in place of "".
        device: where the denoiser is.
    """

    argument, reads_words = "prompt", True
    class_names = tuple("0123456789")
    ids = {name: int(name) for name in class_names}

    def __init__(
        self,
        text_encoder: Any,
        tokenizer: Any,
        denoiser: Any,
        max_tokens: int,
        digit_guidance: bool,
        device: torch.device,
    ):
        self._text_encoder, self._tokenizer, self._max_tokens = text_encoder, tokenizer, max_tokens
        self._width, self._dtype = denoiser.config.cross_attention_dim, denoiser.dtype
        self._digit_guidance, self._device = digit_guidance, device

    def listed(self, inputs: str | Sequence[str], name: str = "prompt") -> list[str]:
        """Return one prompt or several as a list; one that asks for copies is there as often as it says."""
        prompts = [inputs] if isinstance(inputs, str) else inputs
        if not isinstance(prompts, Sequence | np.ndarray) or not len(prompts):
            raise ValueError(f"{name}: got {inputs!r}, expected a text or a list of texts.")
        if not all(isinstance(text, str) for text in prompts):
            raise ValueError(f"{name}: got {inputs!r}, expected a text or a list of texts.")
        texts = [str(text) for text in prompts]
        return texts if name != "prompt" else [copy for text in texts for copy in copies_of(text)]

    def encode(
        self,
        inputs: Sequence[str] | Embedded,
        negative: str | Sequence[str] | Embedded | None = None,
        *,
        repeats: int = 1,
        generators: Generators = None,
    ) -> Conditions:
        """Return the conditions of prompts; those of a number are one piece for each digit.

        Args:
            inputs: prompts, or embeddings of one piece each.
            negative: one, or one for each prompt; None is "", or what `digit_guidance` makes of the prompt.
            repeats: images of each prompt.
            generators: one for each image; of a number they draw the style that its digits share.

        Raises:
            ValueError: a prompt with a number that is none, another number of negative prompts, or embeddings of
                another width.
        """
        if isinstance(inputs, Embedded):
            cond, defaults, sizes = inputs, [""], (1,) * (repeats * len(inputs.states))
        else:
            readings = [reading for reading in self._read(inputs, "prompt") for _ in range(repeats)]
            own = generators if isinstance(generators, list) else [generators] * len(readings)
            rows = [texts_of_row(reading, generator) for reading, generator in zip(readings, own, strict=True)]
            texts, sizes = [text for row in rows for text in row], tuple(len(row) for row in rows)
            cond = self._embed(texts)
            defaults = [without_digit(text) for text in texts] if self._digit_guidance else [""]
        if not isinstance(negative, Embedded):
            negative = self._embed(defaults if negative is None else self._negatives(negative, repeats, sizes))
        count = sum(sizes)
        tensors = self._tensors("prompt_embeds", cond, count), self._tensors("negative_prompt_embeds", negative, count)
        return Conditions(*tensors, sizes)

    def _read(self, prompts: Sequence[str], name: str) -> list[Reading]:
        """Understand prompts, and warn of what was not understood."""
        readings = [read_prompt(text) for text in prompts]
        for text, reading in zip(prompts, readings, strict=True):
            if reading.complaint():
                shown = repr(reading.text) if reading.text else "nothing: an unconditional digit"
                warnings.warn(f"{name} {text!r}: {reading.complaint()}. What is drawn is {shown}.", stacklevel=5)
        return readings

    def _negatives(self, negative: str | Sequence[str], repeats: int, sizes: Sequence[int]) -> list[str]:
        """A negative text for each piece."""
        texts = [reading.text for reading in self._read(self.listed(negative, "negative_prompt"), "negative_prompt")]
        count = len(sizes) // repeats
        if len(texts) not in (1, count):
            raise ValueError(f"negative_prompt: got {len(texts)} for {count} prompts; pass one, or one per prompt.")
        own = [text for text in texts * (count // len(texts)) for _ in range(repeats)]
        return [text for text, size in zip(own, sizes, strict=True) for _ in range(size)]

    @torch.no_grad()
    def _embed(self, texts: Sequence[str]) -> Embedded:
        """Embeddings of texts as they stand."""
        tokens = tokenize(self._tokenizer, texts, self._max_tokens)
        tokens = {name: tensor.to(self._device) for name, tensor in tokens.items()}
        return Embedded(encode(self._text_encoder, tokens), tokens["attention_mask"])

    def _tensors(self, name: str, embedded: Embedded, count: int) -> dict[str, torch.Tensor]:
        """Keyword tensors of the denoiser for `count` pieces, of embeddings whose number divides it."""
        states, mask = embedded
        if states.ndim != 3 or states.shape[2] != self._width or count % len(states):
            raise ValueError(
                f"{name}: got shape {tuple(states.shape)}, expected ({count}, S, {self._width}), as encode_prompt "
                "returns."
            )
        if mask is None:
            mask = torch.ones(states.shape[:2], dtype=torch.long)
        repeats = count // len(states)
        return {
            "encoder_hidden_states": states.to(self._device, self._dtype).repeat_interleave(repeats, 0),
            "encoder_attention_mask": mask.to(self._device).repeat_interleave(repeats, 0),
        }

    def inputs_for_classes(self, ids: Sequence[int]) -> list[str]:
        """Return numerals."""
        return [str(label) for label in ids]


def texts_of_row(reading: Reading, generator: torch.Generator | None) -> list[str]:
    """Return what the encoder is to see for each piece of a prompt: one text, or of a number one for each digit.

    Digits of one number share the style that the prompt does not say, drawn by the generator.
    """
    if len(reading.digits) < 2:
        return [reading.text]
    language = _language_of(reading)
    device = generator.device if generator is not None else None
    draws = torch.rand(len(COMMON_STYLE), generator=generator, device=device).cpu()
    bounds = torch.tensor(LEVEL_SHARES).cumsum(0)[:-1]
    levels = (torch.bucketize(draws, bounds, right=True) - 2).tolist()
    style = [
        plain_phrase(name, level, language)
        for name, level in zip(COMMON_STYLE, levels, strict=True)
        if name not in reading.properties
    ]
    template = reading.template.replace("{}", " ".join([*style, "{}"]))
    return [template.format(digit) for digit in reading.digits]


def without_digit(text: str) -> str:
    """Return a prompt with its digit left open, such as "a thin digit" for "a thin 4"; "" where no style is said.

    Guidance from there to the prompt sharpens which digit it is, and leaves the style as likely as it was.
    """
    reading = read_prompt(text)
    if not reading.digits or not reading.properties:
        return ""
    return reading.template.format(ANY_DIGIT[_language_of(reading)])


def _language_of(reading: Reading) -> str:
    return "ko" if any("가" <= character <= "힣" for character in reading.template) else "en"
