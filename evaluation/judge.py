"""Real digits as the measure: which of them are the reference, which the floor, and all figures of a set of images."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..config import DataConfig
from ..data import ImageData, computed_once, every_nth_of_each_class, load_dataset
from . import metrics
from .classifier import CLASSIFIER_FOLDER, classify, load_classifier, weights_sha256

# Every n-th training image of each class is held out of the reference, and of the classifier's training.
HELD_OUT_EVERY = 6


def split_training(data: ImageData) -> tuple[ImageData, ImageData]:
    """Training images as reference and held-out: fixed, without a random number, and in the shares of the classes.

    Of MNIST's 60,000 these are 50,004 and 9,996. The classifier is trained on the first alone, so the second are to it
    what a perfect model would draw: fresh digits of the same writers.
    """
    held_out = every_nth_of_each_class(data.labels, HELD_OUT_EVERY)
    return data.take(~held_out), data.take(held_out)


def evenly(data: ImageData, count: int) -> ImageData:
    """At most `count` images, at most count / K of each of K classes, class by class in turn: 0, 1, …, 9, 0, 1, …

    Drawn digits come evenly over the classes, so real ones must too, or a distance would measure MNIST's uneven shares.
    """
    num_classes = len(data.class_names)
    per_class = -(-count // num_classes)
    ranks = torch.zeros(len(data), dtype=torch.int64)
    for label in range(num_classes):
        chosen = data.labels == label
        ranks[chosen] = torch.arange(int(chosen.sum()))
    order = (ranks * num_classes + data.labels).argsort()
    return data.take(order[ranks[order] < per_class][:count])


def even_labels(count: int, num_classes: int) -> torch.Tensor:
    """(count,) int64: 0, 1, …, 9, 0, 1, …"""
    return torch.arange(count) % num_classes


@dataclass(frozen=True)
class Scores:
    """What was found of N images.

    Attributes:
        figures: name to value, as in `report.FIGURES`.
        confusion: (K, K) int64, row asked, column seen.
        seen: (N,) int64, the classifier's answer.
        confidence: (N,) its probability of the asked class.
        nearest: (N,) index of the nearest training image and (N,) distance to it; None if they were not looked for.
    """

    figures: dict[str, float]
    confusion: torch.Tensor
    seen: torch.Tensor
    confidence: torch.Tensor
    nearest: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass
class Judge:
    """Real digits and a classifier, ready to score images.

    For a quick look, as in training: `Judge(cache=cache_folder("evaluation")).score(images, labels, pixels=False)`.
    Once the features of the reference are kept, a few thousand images take seconds.

    Args:
        config: the dataset, whose classes are those of the classifier.
        classifier_folder: of the classifier.
        cache: folder that keeps the reference's features between processes; None keeps none.

    Raises:
        ValueError, FileNotFoundError: as `load_dataset` and `load_classifier`; or a classifier of other images.
    """

    config: DataConfig = field(default_factory=DataConfig)
    classifier_folder: Path = CLASSIFIER_FOLDER
    cache: Path | None = None

    def __post_init__(self) -> None:
        self.classifier = load_classifier(self.classifier_folder)
        self.classifier_sha256 = weights_sha256(self.classifier_folder)
        self.training, self.test = load_dataset(self.config, "train"), load_dataset(self.config, "test")
        found = (self.training.images.shape[1], self.num_classes)
        expected = (self.classifier.config.in_channels, self.classifier.config.num_classes)
        if found != expected:
            raise ValueError(
                f"{self.config.dataset}: got images of {found[0]} channels in {found[1]} classes, expected {expected} "
                "as the classifier knows them; train one for it by python -m text2digit.evaluation.train_classifier."
            )
        reference, self.held_out = split_training(self.training)
        smallest = int(torch.bincount(reference.labels, minlength=self.num_classes).min())
        self.reference = evenly(reference, smallest * self.num_classes)
        self.features = self._reference_features()
        self._moments = metrics.moments(self.features)
        self._unseen: torch.Tensor | None = None

    @property
    def num_classes(self) -> int:
        """K"""
        return len(self.training.class_names)

    def check_shape(self, images: torch.Tensor) -> None:
        """Refuse images that are not like the real ones, by a ValueError that says what was expected."""
        shape = self.training.images.shape[1:]
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != shape:
            raise ValueError(
                f"images: got {tuple(images.shape)} {images.dtype}, expected (N, {', '.join(map(str, shape))}) uint8."
            )

    def check_images(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Refuse what cannot be scored.

        Raises:
            ValueError: with what was expected.
        """
        self.check_shape(images)
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(f"labels: got {tuple(labels.shape)} {labels.dtype}, expected ({len(images)},) int64.")
        counts = torch.bincount(labels.clamp(min=0), minlength=self.num_classes)
        if len(counts) > self.num_classes or int(labels.min()) < 0 or int(counts.min()) < 2:
            raise ValueError(
                f"labels: got {counts.tolist()} images of the classes, expected two or more of each of the "
                f"{self.num_classes}, evenly."
            )

    def score(self, images: torch.Tensor, labels: torch.Tensor, pixels: bool = True) -> Scores:
        """All figures of a set of images.

        Args:
            images: (N, C, H, W) uint8.
            labels: (N,) int64, the classes that were asked for; about evenly.
            pixels: look for the nearest training images too, which takes longer than all else.
        """
        self.check_images(images, labels)
        output = classify(self.classifier, images)
        near = slice(min(len(images), len(self.reference)))  # sets of points are compared at equal numbers
        real = self.features[near]
        precision, recall = metrics.precision_recall(output.features, real)
        density, coverage = metrics.density_coverage(output.features, real)
        spread = metrics.class_diversity(output.features, labels, self.num_classes)
        real_spread = metrics.class_diversity(real, self.reference.labels[near], self.num_classes)
        seen = output.logits.argmax(dim=1)
        figures = {
            "frechet_distance": metrics.gaussian_distance(*metrics.moments(output.features), *self._moments),
            "kernel_distance": metrics.kernel_distance(output.features, real),
            "accuracy": (seen == labels).double().mean().item(),
            "precision": precision,
            "recall": recall,
            "density": density,
            "coverage": coverage,
            "diversity": (spread / real_spread).mean().item(),
        }
        nearest = None
        if pixels:
            distances, indices = metrics.nearest_distances(images, self.training.images)
            nearest = (indices, distances)
            figures["nearest_ratio"], figures["nearest_share"] = metrics.memorisation(distances, self._unseen_nearest())
        confidence = output.logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        confusion = metrics.confusion_matrix(labels, seen, self.num_classes)
        return Scores(figures, confusion, seen, confidence, nearest)

    def floors(self, count: int) -> dict[str, tuple[int, Scores]]:
        """Number of images and figures of real digits in place of drawn ones, `count` of them as far as there are.

        "train" are the held-out training images, of the same writers as the reference; "test" the test images, of
        others. How near a training image has another is no figure of the first, which are training images themselves.
        """
        held_out, test = evenly(self.held_out, count), evenly(self.test, count)
        return {
            "train": (len(held_out), self.score(held_out.images, held_out.labels, pixels=False)),
            "test": (len(test), self.score(test.images, test.labels)),
        }

    def _unseen_nearest(self) -> torch.Tensor:
        """Distances of all test images to their nearest training image, found once."""
        if self._unseen is None:
            self._unseen, _ = metrics.nearest_distances(self.test.images, self.training.images)
        return self._unseen

    def _reference_features(self) -> torch.Tensor:
        """(M, W) float32; from the cache where it has those of the same weights and images."""
        key = self.classifier_sha256.encode() + self.reference.images.numpy().tobytes()

        def compute() -> dict[str, np.ndarray]:
            return {"features": classify(self.classifier, self.reference.images).features.numpy()}

        return torch.from_numpy(computed_once(self.cache, "features", key, compute)["features"])
