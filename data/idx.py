"""MNIST and its kin: datasets in MNIST's IDX format, packed by gzip or not."""

import gzip
import hashlib
import string
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import datasets

from .images import DIGIT_NAMES, ImageData

# SHA-256 of the four unpacked files of MNIST.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
DIGITS = tuple(f"{word}, {i}" for i, word in enumerate(DIGIT_NAMES))
# By the third byte of a file.
DTYPES = {0x08: ">u1", 0x0C: ">i4"}
SIDE = 28


@dataclass(frozen=True)
class IdxSource:
    """A dataset in IDX files.

    Attributes:
        name: in `data.dataset`.
        kind: torchvision's class, which downloads; its name is that of the folder.
        class_names: as `ImageData` has them.
        counts: number of images by split.
        files: names of the files of images and of labels by split, without ".gz".
        megabytes: of the download.
        download: arguments of `kind` for each download.
        first_label: number of the first class.
        is_transposed: whether rows and columns are swapped in the files.
    """

    name: str
    kind: Any
    class_names: tuple[str, ...]
    counts: dict[str, int]
    files: dict[str, tuple[str, str]]
    megabytes: int
    download: tuple[dict[str, Any], ...] = ({},)
    first_label: int = 0
    is_transposed: bool = False

    def read(self, root: Path, fetch: Callable[[], None]) -> dict[str, ImageData]:
        """Read both splits.

        Args:
            root: folder of the data; the files lie in it, in its `raw`, or where torchvision puts them.
            fetch: called where a file is missing; makes torchvision download, or raises.

        Raises:
            ValueError: a file that is cut short, damaged, or another one under this name.
        """
        if self.missing(root):
            fetch()
        return {split: self._read_split(root, split) for split in self.files}

    def missing(self, root: Path) -> list[Path]:
        """Files that are not there, as torchvision would name them."""
        names = [name for pair in self.files.values() for name in pair]
        return [root / self.kind.__name__ / "raw" / name for name in names if self._find(root, name) is None]

    def _find(self, root: Path, name: str) -> Path | None:
        folders = (root / self.kind.__name__ / "raw", root / "raw", root)
        paths = (folder / (name + packed) for folder in folders for packed in ("", ".gz"))
        return next((path for path in paths if path.is_file()), None)

    def _read_split(self, root: Path, split: str) -> ImageData:
        count = self.counts[split]
        images, labels = (self._read_file(root, name, count) for name in self.files[split])
        classes = labels.reshape(count, -1)[:, 0]  # QMNIST has more columns: the writer and so on
        labels = classes.astype(np.int64) - self.first_label
        if not 0 <= labels.min() <= labels.max() < len(self.class_names):
            raise ValueError(
                f"{self.files[split][1]} of {self.name}: got labels from {labels.min()} to {labels.max()} after "
                f"{self.first_label} is taken away, expected 0 to {len(self.class_names) - 1}."
            )
        pixels = torch.from_numpy(images.copy())
        pixels = pixels.transpose(1, 2).contiguous() if self.is_transposed else pixels
        return ImageData(pixels[:, None], torch.from_numpy(labels), self.class_names)

    def _read_file(self, root: Path, name: str, count: int) -> np.ndarray:
        path = self._find(root, name)
        assert path is not None, name
        remedy = f"Delete {path} and run again to download it anew, or copy a good one there."
        content = path.read_bytes()
        if path.suffix == ".gz":
            try:
                content = gzip.decompress(content)  # compares a checksum
            except (OSError, EOFError) as error:
                raise ValueError(f"{path.name} of {self.name}: cannot be unpacked ({error}). {remedy}") from error
        checksum = hashlib.sha256(content).hexdigest()
        array = parse_idx(
            content, (count, SIDE, SIDE) if "images" in name else (count,), f"{name} of {self.name}", remedy
        )
        if (checksum != MNIST_SHA256[name]) if self.name == "mnist" else (checksum in MNIST_SHA256.values()):
            raise ValueError(f"{name} of {self.name}: the checksum is wrong (SHA-256 {checksum}). {remedy}")
        self._compare_packed(path, content, remedy)
        return array

    def _compare_packed(self, path: Path, content: bytes, remedy: str) -> None:
        """Refuse an unpacked file that is not what torchvision keeps packed beside it."""
        packed = path.with_name(path.name + ".gz")
        if path.suffix != ".gz" and self.name != "mnist" and packed.is_file():
            try:
                is_same = gzip.decompress(packed.read_bytes()) == content
            except (OSError, EOFError):
                is_same = False
            if not is_same:
                raise ValueError(f"{path.name} of {self.name}: differs from {packed.name} beside it. {remedy}")


def parse_idx(content: bytes, shape: tuple[int, ...], what: str, remedy: str) -> np.ndarray:
    """Return the array of an IDX file: 0x0000, type, number of dimensions, their lengths (big-endian), values.

    Args:
        content: of the file, unpacked.
        shape: that is expected; a file of labels may have more dimensions.
        what: names the file in errors, and `remedy` what to do.

    Raises:
        ValueError: another type or shape, or a file that is cut short.
    """
    size = content[3] if len(content) > 3 else 0
    header = struct.unpack(f">2H{size}I", content[: 4 + 4 * size]) if len(content) >= 4 + 4 * size else ()
    dtype = DTYPES.get(header[1] >> 8) if header and header[0] == 0 else None
    if dtype is None or header[2 : 2 + len(shape)] != shape:
        raise ValueError(f"{what}: got the header {header}, expected lengths {shape}. {remedy}")
    expected = 4 + 4 * size + int(np.prod(header[2:])) * np.dtype(dtype).itemsize
    if len(content) != expected:
        raise ValueError(f"{what}: got {len(content)} bytes, expected {expected}. {remedy}")
    return np.frombuffer(content, dtype, offset=4 + 4 * size).reshape(header[2:])


def _pair(prefix: str, labels: str = "labels-idx1-ubyte") -> tuple[str, str]:
    return f"{prefix}-images-idx3-ubyte", f"{prefix}-{labels}"


def _like_mnist(name: str, kind: Any, class_names: tuple[str, ...], megabytes: int) -> IdxSource:
    files = {"train": _pair("train"), "test": _pair("t10k")}
    return IdxSource(name, kind, class_names, {"train": 60_000, "test": 10_000}, files, megabytes)


def _emnist(part: str, class_names: tuple[str, ...], train: int, test: int, first_label: int) -> IdxSource:
    """EMNIST's files are transposed, and its letters are numbered from 1."""
    files = {split: _pair(f"emnist-{part}-{split}") for split in ("train", "test")}
    counts, download = {"train": train, "test": test}, ({"split": part},)
    return IdxSource(
        f"emnist-{part}", datasets.EMNIST, class_names, counts, files, 560, download, first_label, is_transposed=True
    )


LETTERS = tuple(f"{big}, {small}" for big, small in zip(string.ascii_uppercase, string.ascii_lowercase, strict=True))
IDX_SOURCES = (
    _like_mnist("mnist", datasets.MNIST, DIGITS, 12),
    _like_mnist("fashion-mnist", datasets.FashionMNIST, tuple(datasets.FashionMNIST.classes), 31),
    _like_mnist("kmnist", datasets.KMNIST, tuple(datasets.KMNIST.classes), 21),
    IdxSource(
        "qmnist",
        datasets.QMNIST,
        DIGITS,
        {"train": 60_000, "test": 60_000},
        {split: _pair(f"qmnist-{split}", "labels-idx2-int") for split in ("train", "test")},
        20,
        ({"what": "train"}, {"what": "test"}),
    ),
    _emnist("letters", LETTERS, 124_800, 20_800, first_label=1),
    _emnist("balanced", tuple(string.digits + string.ascii_uppercase + "abdefghnqrt"), 112_800, 18_800, first_label=0),
)
