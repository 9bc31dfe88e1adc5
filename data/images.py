"""Images with classes, whole in memory, as the models see them."""

import hashlib
from dataclasses import dataclass, replace

import torch

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class ImageData:
    """Images and their classes.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 in [0, number of classes).
        class_names: a name per class; several names of one class are separated by commas.
        notes: what was done to read them, each in a few words.
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digest(self) -> str:
        """SHA-256 of images, labels and names, in hexadecimal digits."""
        found = hashlib.sha256("\n".join(self.class_names).encode())
        found.update(str(tuple(self.images.shape)).encode())
        found.update(self.images.numpy().tobytes())
        found.update(self.labels.numpy().tobytes())
        return found.hexdigest()

    def take(self, chosen: torch.Tensor) -> "ImageData":
        """The images that `chosen`, indices or a mask, points at."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def x_0(self, indices: torch.Tensor) -> torch.Tensor:
        """Images as the models see them: (B, C, H, W) float32 in [-1, 1]."""
        return to_x_0(self.images[indices])


def to_x_0(images: torch.Tensor) -> torch.Tensor:
    """Pixels, uint8 of any shape, as the models see them: float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def every_nth_of_each_class(labels: torch.Tensor, n: int) -> torch.Tensor:
    """(N,) bool: the n-th, 2n-th, … image of each class; none for n = 0."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique() if n else ():
        chosen[(labels == label).nonzero().flatten()[n - 1 :: n]] = True
    return chosen
