"""Small images with classes, whole in memory: MNIST and its kin, scikit-learn's digits, or a folder of one's own."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import datasets as torchvision_datasets

from ..config import DataConfig
from ..runtime import say
from .cache import cache_folder
from .idx import check_idx_file

SPLITS = ("train", "test")
DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# A dataset without a split of its own gives every n-th image of each class to the test split.
TEST_EVERY = 6
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}


@dataclass(frozen=True)
class ImageData:
    """Images and their classes.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64 in [0, number of classes).
        class_names: a name per class; several names of one class are separated by commas.
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: torch.Tensor) -> "ImageData":
        """The images that `chosen`, indices or a mask, points at."""
        return ImageData(self.images[chosen], self.labels[chosen], self.class_names)

    def x_0(self, indices: torch.Tensor) -> torch.Tensor:
        """Images as the models see them: (B, C, H, W) float32 in [-1, 1]."""
        return to_x_0(self.images[indices])


def to_x_0(images: torch.Tensor) -> torch.Tensor:
    """Pixels, uint8 of any shape, as the models see them: float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def default_data_dir() -> Path:
    """TEXT2DIGIT_DATA, or else a folder in the user's cache."""
    if chosen := os.environ.get("TEXT2DIGIT_DATA"):
        return Path(chosen)
    return cache_folder()


def load_dataset(config: DataConfig, split: str = "train") -> ImageData:
    """Read a dataset, downloading it on first use.

    Args:
        config: which one, and where.
        split: "train" or "test".

    Raises:
        ValueError: an unknown split, a damaged file, or images that do not fit together.
        FileNotFoundError: not there and not to be had; the message says what to do.
    """
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(SPLITS)}.")
    return DATASETS[config.dataset](config, split)


def load_training_data(config: DataConfig, read_only: bool = False) -> tuple[ImageData, ImageData]:
    """The training split in two parts: what is trained on, and what `config.validation_every` holds out.

    The test split stays untouched for the final measurement. Raises as `load_dataset`; with `read_only` also
    FileNotFoundError where it would download.
    """
    if read_only and config.dataset in TORCHVISION and (missing := _missing_files(config)):
        raise FileNotFoundError(f"{config.dataset}: {missing[0]} is missing, and nothing is downloaded for a plan.")
    data = load_dataset(config, "train")
    held_out = every_nth_of_each_class(data.labels, config.validation_every)
    return data.take(~held_out), data.take(held_out)


def _load_torchvision(config: DataConfig, split: str) -> ImageData:
    dataset_class = TORCHVISION[config.dataset]
    root = Path(config.data_dir) if config.data_dir else default_data_dir()
    raw = root / dataset_class.__name__ / "raw"
    if missing := _missing_files(config):
        _download(config.dataset, dataset_class, root, missing)
    for name, md5 in dataset_class.resources:
        check_idx_file(raw / name[:-3], config.dataset, md5)
    dataset = dataset_class(root, train=split == "train")
    return ImageData(dataset.data[:, None], dataset.targets.long(), _class_names(config.dataset, dataset.classes))


def _missing_files(config: DataConfig) -> list[Path]:
    """Files of a dataset of torchvision that are not there yet."""
    dataset_class = TORCHVISION[config.dataset]
    root = Path(config.data_dir) if config.data_dir else default_data_dir()
    paths = [root / dataset_class.__name__ / "raw" / name[:-3] for name, _ in dataset_class.resources]
    return [path for path in paths if not path.is_file()]


def _download(name: str, dataset_class: type, root: Path, missing: list[Path]) -> None:
    say(f"{name}: downloading into {root} (about 12 MB, once)")
    try:
        dataset_class(root, download=True)
    except Exception as error:  # torchvision raises URLError, RuntimeError, OSError, … as the network pleases
        raise FileNotFoundError(
            f"{name}: {', '.join(path.name for path in missing)} not found in {missing[0].parent}, and the download "
            f"failed ({error}). Run again with a network; or copy the four unpacked files there; or point --data-dir "
            "or TEXT2DIGIT_DATA at a folder that has them; or take --dataset digits, which needs no download."
        ) from error


def _class_names(dataset: str, names: list[str]) -> tuple[str, ...]:
    return tuple(f"{word}, {i}" for i, word in enumerate(DIGIT_NAMES)) if dataset == "mnist" else tuple(names)


def _load_sklearn_digits(config: DataConfig, split: str) -> ImageData:
    """1,797 real 8x8 digits of the UCI collection, inside scikit-learn's wheel; grey levels 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target).long()
    return _take_split(ImageData(images, labels, _class_names("mnist", [])), split)


def _load_folder(config: DataConfig, split: str) -> ImageData:
    """One subfolder a class; or `train` and `test` folders of such subfolders."""
    if config.data_dir is None:
        raise ValueError("data.data_dir: got nothing, expected the folder of images, one subfolder per class.")
    root = Path(config.data_dir)
    has_splits = all((root / name).is_dir() for name in SPLITS)
    base = root / split if has_splits else root
    class_folders = sorted(path for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
    if not class_folders:
        raise FileNotFoundError(f"{base}: no subfolders; expected one per class, with its images.")
    images, labels = [], []
    for label, folder in enumerate(class_folders):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise FileNotFoundError(f"{folder}: no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
        for path in paths:
            images.append(_read_image(path, config))
            labels.append(label)
            if images[-1].shape != images[0].shape:
                raise ValueError(
                    f"{path}: got {tuple(images[-1].shape[1:])} pixels, but others have {tuple(images[0].shape[1:])}; "
                    "set data.image_size to bring all to one size."
                )
    names = tuple(folder.name for folder in class_folders)
    data = ImageData(torch.stack(images), torch.tensor(labels), names)
    if data.images.shape[-1] != data.images.shape[-2]:
        raise ValueError(f"{root}: images are {tuple(data.images.shape[-2:])}, expected squares; set data.image_size.")
    return data if has_splits else _take_split(data, split)


def _read_image(path: Path, config: DataConfig) -> torch.Tensor:
    with Image.open(path) as opened:
        image = opened.convert("L" if config.channels == 1 else "RGB")
    if config.image_size is not None:
        image = image.resize((config.image_size, config.image_size), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return torch.from_numpy(array.copy()).reshape(image.height, image.width, config.channels).permute(2, 0, 1)


def _take_split(data: ImageData, split: str) -> ImageData:
    """Every `TEST_EVERY`-th image of each class is test, the others train."""
    is_test = every_nth_of_each_class(data.labels, TEST_EVERY)
    return data.take(is_test if split == "test" else ~is_test)


def every_nth_of_each_class(labels: torch.Tensor, n: int) -> torch.Tensor:
    """(N,) bool: the n-th, 2n-th, … image of each class; none for n = 0."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique() if n else ():
        chosen[(labels == label).nonzero().flatten()[n - 1 :: n]] = True
    return chosen


TORCHVISION = {
    "mnist": torchvision_datasets.MNIST,
    "fashion-mnist": torchvision_datasets.FashionMNIST,
    "kmnist": torchvision_datasets.KMNIST,
}
DATASETS: dict[str, Callable[[DataConfig, str], ImageData]] = {
    **dict.fromkeys(TORCHVISION, _load_torchvision),
    "digits": _load_sklearn_digits,
    "folder": _load_folder,
}
