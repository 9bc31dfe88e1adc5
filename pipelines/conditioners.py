"""From what a user asks for to what a denoiser is told: conditioners, and the one for classes.

A pipeline owns a conditioner, and nothing else knows classes from prompts. N pieces: an image is one piece, or one for
each digit of a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch

from .options import Generators

Labels = int | str | Sequence[int | str] | torch.Tensor


@dataclass(frozen=True)
class Conditions:
    """What the denoiser is told of each piece.

    Attributes:
        cond, null: keyword tensors of the denoiser, (N, ...), under the condition and under none.
        sizes: pieces of each image; their sum is N.
    """

    cond: dict[str, torch.Tensor]
    null: dict[str, torch.Tensor]
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def device(self) -> torch.device:
        """Where the denoiser works."""
        return next(iter(self.cond.values())).device

    def per_piece(self, generators: Generators) -> Generators:
        """Return each image's generator once for each of its pieces."""
        if not isinstance(generators, list):
            return generators
        return [g for g, size in zip(generators, self.sizes, strict=True) for _ in range(size)]


class Conditioner(Protocol):
    """Turns inputs of a call into conditions.

    Attributes:
        argument: the call's argument for them.
        reads_words: whether an input is a text of any words, and not one of a list of classes.
        class_names: the first name of each class.
        ids: the class of each name.
    """

    argument: str
    reads_words: bool
    class_names: tuple[str, ...]
    ids: dict[str, int]

    def listed(self, inputs: Any) -> list:
        """Return what the argument may be as a list of one input for each image; refuse everything else."""

    def encode(
        self, inputs: Sequence[Any], negative: Any = None, *, repeats: int = 1, generators: Generators = None
    ) -> Conditions:
        """Return the conditions of listed inputs, `repeats` times each, those of one input next to each other."""

    def inputs_for_classes(self, ids: Sequence[int]) -> list:
        """Return the inputs that stand for classes."""


class ClassConditioner:
    """For a denoiser of classes; see `Conditioner`.

    Args:
        num_classes: of the denoiser; this id is the null class.
        id2label: names of the classes, several names of one class separated by commas.
        device: where the denoiser is.
    """

    argument, reads_words = "class_labels", False

    def __init__(self, num_classes: int, id2label: dict[int, str] | None, device: torch.device):
        self._num_classes, self._device = num_classes, device
        names = {int(i): [name.strip() for name in joined.split(",")] for i, joined in (id2label or {}).items()}
        self.class_names = tuple(names.get(i, [str(i)])[0] for i in range(num_classes))
        self.ids = {name: i for i, own in names.items() for name in own}

    def listed(self, inputs: Labels) -> list[int]:
        """Return labels of any kind as ids."""
        if isinstance(inputs, torch.Tensor | np.ndarray):
            inputs = inputs.flatten().tolist()
        elif isinstance(inputs, str) or not isinstance(inputs, Sequence):
            inputs = [inputs]
        ids: list[int] = []
        for label in inputs:
            if isinstance(label, str):
                ids.append(id_of(label, self.ids))
            elif isinstance(label, Integral) and not isinstance(label, bool) and 0 <= int(label) < self._num_classes:
                ids.append(int(label))
            else:
                raise ValueError(
                    f"class_labels: got {label!r}, expected whole numbers from 0 to {self._num_classes - 1} or class "
                    "names."
                )
        if not ids:
            raise ValueError("class_labels: got an empty list, expected at least one class.")
        return ids

    def encode(
        self, inputs: Sequence[int], negative: None = None, *, repeats: int = 1, generators: Generators = None
    ) -> Conditions:
        """Return the conditions of ids; see `Conditioner.encode`."""
        if negative is not None:
            raise ValueError("negative_prompt: expected it for weights of texts alone; leave it out.")
        labels = torch.tensor(inputs, device=self._device).repeat_interleave(repeats)
        null = torch.full_like(labels, self._num_classes)
        return Conditions({"class_labels": labels}, {"class_labels": null}, (1,) * len(labels))

    def inputs_for_classes(self, ids: Sequence[int]) -> list[int]:
        """Return the ids."""
        return list(ids)


def names_by_id(id2label: Any) -> dict[int, str]:
    """Return the names of classes by whole numbers; JSON turns those into texts.

    Raises:
        ValueError: it is something else.
    """
    try:
        names = {int(i): name for i, name in id2label.items()}
    except (AttributeError, TypeError, ValueError):
        names = {-1: None}
    if not all(i >= 0 and isinstance(name, str) for i, name in names.items()):
        raise ValueError(
            f"id2label: got {id2label!r:.60}, expected names by the ids of classes, such as {{0: 'zero'}}."
        )
    return names


def id_of(name: str, ids: dict[str, int]) -> int:
    """Return the class of a name.

    Raises:
        ValueError: a name that the model does not know; the message lists those it knows.
    """
    if name not in ids:
        known = ", ".join(ids) or "no names, only ids"
        raise ValueError(f"class_labels: got {name!r}, expected a name that the model knows: {known}.")
    return ids[name]
