"""Sources of images with classes, each read whole into memory, and the splits that a run and its evaluation use."""

import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import datasets as torchvision_datasets
from torchvision.datasets.utils import download_url

from ..config import DataConfig
from ..runtime import say
from .cache import cache_folder
from .decoding import resized
from .folder import read_folder
from .hub import read_hub
from .idx import DIGITS, IDX_SOURCES, SIDE
from .images import ImageData, every_nth_of_each_class

SPLITS = ("train", "validation", "test")
CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR10_BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Place:
    """Where a named dataset lies, and whether it may be downloaded.

    Attributes:
        name: of the dataset.
        root: folder of the data.
        read_only: nothing is downloaded.
    """

    name: str
    root: Path
    read_only: bool

    def download(self, missing: list[Path], megabytes: int, *downloads: Callable[[], Any]) -> None:
        """Fetch what is missing.

        Raises:
            FileNotFoundError: it cannot be had; the message says what to do.
        """
        if self.read_only:
            raise FileNotFoundError(f"{self.name}: {missing[0]} is missing, and nothing is downloaded for a plan.")
        say(f"{self.name}: downloading into {self.root} (about {megabytes} MB, once)")
        try:
            for download in downloads:
                download()
        except Exception as error:  # torchvision raises URLError, RuntimeError, OSError, … as the network pleases
            _remove_if_empty(missing[0].parent, self.root)
            raise FileNotFoundError(
                f"{self.name}: {', '.join(path.name for path in missing)} not found in {missing[0].parent}, and the "
                f"download failed ({error}). Run again with a network; or copy the files there; or point --data-dir or "
                "TEXT2DIGIT_DATA at a folder that has them; or take --dataset digits, which needs no download."
            ) from error


def _remove_if_empty(folder: Path, root: Path) -> None:
    """Remove the folders that a failed download left empty."""
    while folder != root and root in folder.parents:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        folder = folder.parent


def default_data_dir() -> Path:
    """TEXT2DIGIT_DATA, or else a folder in the user's cache."""
    if chosen := os.environ.get("TEXT2DIGIT_DATA"):
        return Path(chosen)
    return cache_folder()


def load_splits(config: DataConfig, read_only: bool = False) -> dict[str, ImageData]:
    """Read all splits of a dataset, downloading it on first use.

    A dataset without a test split gives every `config.test_every`-th image of each class to one.

    Args:
        config: which dataset, where it lies, and what its images are brought to.
        read_only: nothing is downloaded.

    Returns:
        Images by split: "train"; "validation" where the source has one; and "test".

    Raises:
        ValueError: a damaged file, or images that cannot be brought together.
        FileNotFoundError: not there and not to be had; the message says what to do.
    """
    if config.dataset == "folder":
        splits = read_folder(config)
    elif config.dataset in SOURCES:
        root = Path(config.data_dir) if config.data_dir else default_data_dir()
        splits = SOURCES[config.dataset](Place(config.dataset, root, read_only))
        for split, data in splits.items():
            images, notes = resized(data.images, config)
            splits[split] = replace(data, images=images, notes=notes)
    else:
        splits = read_hub(config, read_only)
    if "test" not in splits and config.test_every:
        is_test = every_nth_of_each_class(splits["train"].labels, config.test_every)
        splits |= {"train": splits["train"].take(~is_test), "test": splits["train"].take(is_test)}
    return splits


def without_images(config: DataConfig) -> ImageData | None:
    """Return shape and classes of a dataset that has a name, known before a download; None where it has to be read."""
    if config.dataset not in SHAPES:
        return None
    channels, side, names = SHAPES[config.dataset]
    side = config.image_size or side
    return ImageData(
        torch.empty(0, config.channels or channels, side, side, dtype=torch.uint8), torch.empty(0).long(), names
    )


def load_dataset(config: DataConfig, split: str = "train") -> ImageData:
    """Read one split of a dataset; raises as `load_splits`, and ValueError for a split that it does not have."""
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(SPLITS)}.")
    splits = load_splits(config)
    if split not in splits:
        raise ValueError(f"split: got {split!r}, but {config.dataset} has {', '.join(splits)}; see data.test_every.")
    return splits[split]


def load_training_data(config: DataConfig, read_only: bool = False) -> tuple[ImageData, ImageData]:
    """The training split in two parts: images to train on, and those held out, whose loss is measured.

    The second are the dataset's own validation split, or else every `config.validation_every`-th image of each class.
    The test split stays untouched for the final measurement. The notes account for every image.

    Raises:
        As `load_splits`; with `read_only` also FileNotFoundError where it would download.
    """
    splits = load_splits(config, read_only)
    data, test, held_out = splits["train"], splits.get("test", ()), splits.get("validation")
    of_validation = "its own split"
    if held_out is None:
        is_held_out = every_nth_of_each_class(data.labels, config.validation_every)
        data, held_out = data.take(~is_held_out), data.take(is_held_out)
        of_validation = f"data.validation_every {config.validation_every}"
    parts = f"{len(data):,} to train on, {len(held_out):,} held out ({of_validation}), {len(test):,} for test"
    return replace(data, notes=(parts, *data.notes)), held_out


def describe_data(name: str, data: ImageData, shown: int = 12) -> str:
    """Return what a run is trained on, in one line."""
    names = [each.split(",")[0] for each in data.class_names]
    shape = "x".join(map(str, data.images.shape[1:]))
    listed = ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
    return f"{name}, images of {shape}, {len(names)} classes ({listed}); {'; '.join(data.notes)}"


def _read_idx(source: Any, place: Place) -> dict[str, ImageData]:
    def fetch() -> None:
        downloads = [partial(source.kind, place.root, **chosen, download=True) for chosen in source.download]
        place.download(source.missing(place.root), source.megabytes, *downloads)

    found: dict[str, ImageData] = source.read(place.root, fetch)
    return found


def _read_sklearn_digits(place: Place) -> dict[str, ImageData]:
    """1,797 real 8x8 digits of the UCI collection, inside scikit-learn's wheel; grey levels 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))[:, None]
    return {"train": ImageData(images, torch.from_numpy(digits.target).long(), DIGITS)}


def _read_usps(place: Place) -> dict[str, ImageData]:
    """7,291 and 2,007 digits of 16x16 from envelopes, in text files packed by bzip2."""
    kind = torchvision_datasets.USPS
    return _read_torchvision(place, kind, 7, {"train": {"train": True}, "test": {"train": False}})


def _read_svhn(place: Place) -> dict[str, ImageData]:
    """73,257 and 26,032 house numbers of 32x32 in colour, in MATLAB's files."""
    kind = torchvision_datasets.SVHN
    return _read_torchvision(place, kind, 246, {split: {"split": split} for split in ("train", "test")})


def _read_torchvision(
    place: Place, kind: Any, megabytes: int, splits: dict[str, dict[str, Any]]
) -> dict[str, ImageData]:
    """Digits that torchvision reads into arrays, from files that lie in the folder itself."""
    paths = [place.root / kind.split_list[split][1] for split in splits]
    if missing := [path for path in paths if not path.is_file()]:
        downloads = [partial(kind, place.root, **chosen, download=True) for chosen in splits.values()]
        place.download(missing, megabytes, *downloads)
    found = {}
    for split, chosen in splits.items():
        try:
            dataset = kind(place.root, **chosen)
        except Exception as error:  # torchvision's checksum, or the reader of the format
            raise ValueError(f"{place.name}: the {split} file in {place.root} cannot be read: {error}") from error
        images = torch.from_numpy(np.asarray(dataset.data).copy())
        labels = torch.as_tensor(np.asarray(getattr(dataset, "targets", None) or dataset.labels)).long()
        found[split] = ImageData(images[:, None] if images.ndim == 3 else images, labels, DIGITS)
    return found


def _read_cifar10(place: Place) -> dict[str, ImageData]:
    """50,000 and 10,000 photographs of 32x32, from the binary version: a byte of class and 3,072 of pixels each.

    The version for Python is a pickle, which nothing here opens.
    """
    url, md5 = CIFAR10
    archive, folder = place.root / Path(url).name, place.root / "cifar-10-batches-bin"
    if not folder.is_dir() and not archive.is_file():
        place.download([archive], 170, partial(download_url, url, str(place.root), md5=md5))
    found = {}
    for split, names in CIFAR10_BATCHES.items():
        content = b"".join(_read_member(archive, folder, name) for name in names)
        if not content or len(content) % 3073:
            raise ValueError(f"{place.name}: got {len(content)} bytes of {split}, expected a multiple of 3,073.")
        records = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(-1, 3073)
        if int(records[:, 0].max()) >= len(CIFAR10_NAMES):
            raise ValueError(f"{place.name}: got the class {int(records[:, 0].max())} in {split}, expected 0 to 9.")
        found[split] = ImageData(
            records[:, 1:].reshape(-1, 3, 32, 32).contiguous(), records[:, 0].long(), CIFAR10_NAMES
        )
    return found


def _read_member(archive: Path, folder: Path, name: str) -> bytes:
    """A file of a folder, or else of the archive that it came in; nothing is unpacked."""
    if folder.is_dir():
        return (folder / name).read_bytes()
    with tarfile.open(archive) as opened:
        member = opened.extractfile(f"{folder.name}/{name}")
        assert member is not None, name
        return member.read()


SOURCES: dict[str, Callable[[Place], dict[str, ImageData]]] = {
    **{source.name: partial(_read_idx, source) for source in IDX_SOURCES},
    "digits": _read_sklearn_digits,
    "usps": _read_usps,
    "svhn": _read_svhn,
    "cifar10": _read_cifar10,
}
# Channels, side and classes.
SHAPES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    **{source.name: (1, SIDE, source.class_names) for source in IDX_SOURCES},
    "digits": (1, 8, DIGITS),
    "usps": (1, 16, DIGITS),
    "svhn": (3, 32, DIGITS),
    "cifar10": (3, 32, CIFAR10_NAMES),
}
