"""From classes and prompts to conditions of a denoiser: what the pipelines that take them share."""

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch

from ..data.captions import ANY_DIGIT, plain_phrase
from ..data.prompts import Reading, read_prompt
from ..models.text import encode, tokenize

Labels = int | str | Sequence[int | str] | torch.Tensor
# What the digits of one number have in common, unless the prompt says it, and how often each level from -2 to 2 is
# drawn: as often as it comes among real digits.
COMMON_STYLE = ("thickness", "slant")
LEVEL_SHARES = (0.1, 0.2, 0.4, 0.2, 0.1)


class ClassConditions:
    """Names of classes and their ids; for a pipeline whose config has `id2label`."""

    config: Any
    denoiser: Any

    @property
    def labels(self) -> dict[str, int]:
        """Id of each name that `id2label` knows."""
        names = self.config.id2label or {}
        return {name.strip(): int(i) for i, joined in names.items() for name in joined.split(",")}

    def get_label_ids(self, label: str | Sequence[str]) -> list[int]:
        """Ids of class names.

        Args:
            label: a name or several.

        Raises:
            ValueError: a name that the model does not know; the message lists those it knows.
        """
        names = [label] if isinstance(label, str) else list(label)
        for name in names:
            if name not in self.labels:
                known = ", ".join(self.labels) or "no names, only ids"
                raise ValueError(f"class_labels: got {name!r}, expected a name that the model knows: {known}.")
        return [self.labels[name] for name in names]

    def _label_ids(self, class_labels: Labels) -> list[int]:
        """Check labels of any accepted kind and turn them into ids."""
        num_classes = self.denoiser.config.num_classes
        if isinstance(class_labels, torch.Tensor):
            class_labels = class_labels.flatten().tolist()
        elif isinstance(class_labels, str) or not isinstance(class_labels, Sequence):
            class_labels = [class_labels]
        ids: list[int] = []
        for label in class_labels:
            if isinstance(label, str):
                ids += self.get_label_ids(label)
            elif isinstance(label, Integral) and not isinstance(label, bool) and 0 <= int(label) < num_classes:
                ids.append(int(label))
            else:
                raise ValueError(
                    f"class_labels: got {label!r}, expected whole numbers from 0 to {num_classes - 1} or class names."
                )
        if not ids:
            raise ValueError("class_labels: got an empty list, expected at least one class.")
        return ids

    def _class_conditions(self, ids: Sequence[int], device: torch.device) -> tuple[dict, dict]:
        """Conditions of the classes, and of no class."""
        labels = torch.tensor(ids, device=device)
        null_labels = torch.full_like(labels, self.denoiser.config.num_classes)
        return {"class_labels": labels}, {"class_labels": null_labels}


class PromptConditions:
    """Prompts and their embeddings; for a pipeline with a text encoder and its tokenizer."""

    config: Any
    denoiser: Any
    text_encoder: Any
    tokenizer: Any
    _execution_device: Any

    @torch.no_grad()
    def encode_prompt(self, prompt: str | Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of prompts as they stand, without the reading that a call does.

        Args:
            prompt: one or B.

        Returns:
            (B, S, D) embeddings and (B, S) mask, nonzero for tokens; on the execution device.
        """
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        tokens = tokenize(self.tokenizer, texts, self.config.max_prompt_tokens)
        tokens = {name: tensor.to(self._execution_device) for name, tensor in tokens.items()}
        return encode(self.text_encoder, tokens).to(self.denoiser.dtype), tokens["attention_mask"]

    def _read(self, prompt: str | Sequence[str], name: str = "prompt") -> list[Reading]:
        """Understand prompts, and warn of what was not understood.

        Raises:
            ValueError: no prompts, something that is none, or one with a number that is none.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        if not isinstance(prompts, Sequence) or not prompts or not all(isinstance(text, str) for text in prompts):
            raise ValueError(f"{name}: got {prompt!r}, expected a text or a list of texts.")
        readings = [read_prompt(text) for text in prompts]
        for text, reading in zip(prompts, readings, strict=True):
            if reading.complaint():
                shown = repr(reading.text) if reading.text else "nothing: an unconditional digit"
                warnings.warn(f"{name} {text!r}: {reading.complaint()}. What is drawn is {shown}.", stacklevel=3)
        return readings

    def _default_negatives(self, texts: Sequence[str]) -> list[str]:
        """What guidance leads away from where a call does not say: "", or for `digit_guidance` each text's style."""
        return [without_digit(text) for text in texts] if self.config.digit_guidance else [""]

    def _prompt_conditions(
        self, texts: Sequence[str] | None, embeds: torch.Tensor | None, mask: torch.Tensor | None, count: int
    ) -> dict[str, torch.Tensor]:
        """Conditions of texts, or of embeddings that are given; one, or one for each of `count` images.

        Raises:
            ValueError: another number, or embeddings of another width.
        """
        if embeds is None:
            embeds, mask = self.encode_prompt(texts or [""])
        width = self.denoiser.config.cross_attention_dim
        if embeds.ndim != 3 or embeds.shape[2] != width or count % len(embeds):
            raise ValueError(
                f"prompt_embeds: got shape {tuple(embeds.shape)}, expected ({count}, S, {width}), as encode_prompt "
                "returns."
            )
        if mask is None:
            mask = torch.ones(embeds.shape[:2], dtype=torch.long)
        repeats = count // len(embeds)
        return {
            "encoder_hidden_states": embeds.to(self._execution_device, self.denoiser.dtype).repeat_interleave(
                repeats, 0
            ),
            "encoder_attention_mask": mask.to(self._execution_device).repeat_interleave(repeats, 0),
        }


def texts_of_row(reading: Reading, generator: torch.Generator | None) -> list[str]:
    """What the encoder is to see for each piece of a prompt: one text, or of a number one for each digit.

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
    """A prompt with its digit left open, such as "a thin digit" for "a thin 4"; "" where no style is said of a digit.

    Guidance from there to the prompt sharpens which digit it is, and leaves the style as likely as it was.
    """
    reading = read_prompt(text)
    if not reading.digits or not reading.properties:
        return ""
    return reading.template.format(ANY_DIGIT[_language_of(reading)])


def _language_of(reading: Reading) -> str:
    return "ko" if any("가" <= character <= "힣" for character in reading.template) else "en"


def names_by_id(id2label: Mapping[Any, str] | None) -> dict[int, str] | None:
    """JSON turns integer keys into strings; turn them back."""
    return None if id2label is None else {int(i): name for i, name in id2label.items()}
