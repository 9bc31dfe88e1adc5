"""Named datasets, read from small files of exactly the published format; only Fashion-MNIST may be real here."""

import bz2
import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import SVHN, USPS

from text2digit.config import DataConfig
from text2digit.data import load_dataset, load_splits, load_training_data
from text2digit.data.idx import IDX_SOURCES

FASHION = Path("/usr/share/datasets/fashion-mnist")
SOURCE = {source.name: source for source in IDX_SOURCES}


def idx(array):
    code = {1: 0x08, 4: 0x0C}[array.itemsize]
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, name, labels_of, packed=True, dtype=">u1", columns=None):
    """The files of a source with a mark in the first row, second column, and the labels that are asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    source = SOURCE[name]
    for split, (images_name, labels_name) in source.files.items():
        count = source.counts[split]
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        images[:, 0, 1] = 255
        labels = labels_of(np.arange(count)).astype(dtype)
        if columns:
            labels = np.stack([labels, *[np.full_like(labels, 77)] * (columns - 1)], axis=1).astype(dtype)
        for file, array in ((images_name, images), (labels_name, labels)):
            content = idx(array)
            path = folder / (file + (".gz" if packed else ""))
            path.write_bytes(gzip.compress(content, 1) if packed else content)


@pytest.mark.parametrize("layout", ["", "raw", "EMNIST/raw"])
def test_letters_are_put_upright_and_numbered_from_zero(tmp_path, layout):
    """Would catch both traps of EMNIST: transposed images, and labels from 1 that shift every name."""
    write_idx(tmp_path / layout, "emnist-letters", lambda i: i % 26 + 1, packed=layout != "raw")
    data = load_dataset(DataConfig(dataset="emnist-letters", data_dir=str(tmp_path)))
    assert len(data) == 124_800 and data.class_names[0] == "A, a" and data.labels[:3].tolist() == [0, 1, 2]
    assert data.images[0, 0, 1, 0] == 255 and data.images[0, 0, 0, 1] == 0


def test_balanced_letters_have_their_names(tmp_path):
    write_idx(tmp_path, "emnist-balanced", lambda i: i % 47)
    data = load_dataset(DataConfig(dataset="emnist-balanced", data_dir=str(tmp_path)), "test")
    assert len(data.class_names) == 47 and [data.class_names[i] for i in (9, 10, 36, 46)] == ["9", "A", "a", "t"]


def test_labels_that_no_class_has_are_refused(tmp_path):
    write_idx(tmp_path, "emnist-letters", lambda i: i % 27)
    with pytest.raises(ValueError, match="got labels from -1 to 25 after 1 is taken away, expected 0 to 25"):
        load_dataset(DataConfig(dataset="emnist-letters", data_dir=str(tmp_path)))


def test_the_first_column_of_qmnist_is_the_class(tmp_path):
    write_idx(tmp_path, "qmnist", lambda i: i % 10, dtype=">i4", columns=8)
    splits = load_splits(DataConfig(dataset="qmnist", data_dir=str(tmp_path)))
    assert len(splits["test"]) == 60_000 and splits["train"].labels[:12].tolist() == [*range(10), 0, 1]


def test_a_packed_file_that_is_cut_is_refused_by_name(tmp_path):
    write_idx(tmp_path, "kmnist", lambda i: i % 10)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte.gz of kmnist: cannot be unpacked"):
        load_dataset(DataConfig(dataset="kmnist", data_dir=str(tmp_path)))


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Fashion-MNIST, such as Debian's dataset-fashion-mnist")
def test_fashion_is_read_where_it_lies():
    """Would catch a download of what is there, and a write into a folder of data."""
    before = sorted(FASHION.rglob("*"))
    splits = load_splits(DataConfig(dataset="fashion-mnist", data_dir=str(FASHION)))
    assert {split: len(data) for split, data in splits.items()} == {"train": 60_000, "test": 10_000}
    assert splits["train"].labels[:5].tolist() == [9, 0, 0, 3, 0] and splits["train"].class_names[9] == "Ankle boot"
    assert sorted(FASHION.rglob("*")) == before


def test_a_failed_download_and_a_plan_leave_nothing(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name in ("fashion-mnist", "emnist-letters", "usps", "svhn", "cifar10"):
        asked = DataConfig(dataset=name, data_dir=str(tmp_path))
        with pytest.raises(FileNotFoundError, match=f"{name}: .*nothing is downloaded for a plan"):
            load_training_data(asked, read_only=True)
        with pytest.raises(FileNotFoundError, match=f"{name}: .*the download failed"):
            load_dataset(asked)
    assert not list(tmp_path.iterdir())


def test_size_and_channels_are_followed():
    """Would catch data.image_size and data.channels that named datasets ignore."""
    data = load_dataset(DataConfig(dataset="digits", image_size=16, channels=3))
    assert data.images.shape[1:] == (3, 16, 16)
    assert data.notes == ("resized from 8x8", "grey as three channels")
    small = load_dataset(DataConfig(dataset="digits")).images.float()
    large = torch.nn.functional.avg_pool2d(data.images[:, :1].float(), 2)
    assert (large - small).abs().mean() < 20


def test_usps(tmp_path, monkeypatch):
    for name, count in (("usps.bz2", 12), ("usps.t.bz2", 4)):
        lines = [" ".join([str(i % 10 + 1), *(f"{j + 1}:{-1 if j else 1}" for j in range(256))]) for i in range(count)]
        (tmp_path / name).write_bytes(bz2.compress("\n".join(lines).encode() + b"\n"))
    monkeypatch.setattr(USPS, "split_list", {k: [*v[:2], None] for k, v in USPS.split_list.items()})
    splits = load_splits(DataConfig(dataset="usps", data_dir=str(tmp_path)))
    assert splits["train"].images.shape == (12, 1, 16, 16) and splits["test"].labels.tolist() == [0, 1, 2, 3]
    assert splits["train"].images[0, 0, 0, :2].tolist() == [255, 0]


def test_svhn(tmp_path, monkeypatch):
    from scipy.io import savemat

    for name in ("train_32x32.mat", "test_32x32.mat"):
        images = np.zeros((32, 32, 3, 5), dtype=np.uint8)
        images[0, 1, 2] = 200
        savemat(tmp_path / name, {"X": images, "y": np.array([[10], [1], [2], [3], [9]])})
    monkeypatch.setattr(SVHN, "split_list", {k: [*v[:2], None] for k, v in SVHN.split_list.items()})
    data = load_dataset(DataConfig(dataset="svhn", data_dir=str(tmp_path)))
    assert data.images.shape == (5, 3, 32, 32) and data.labels.tolist() == [0, 1, 2, 3, 9]
    assert data.images[0, 2, 0, 1] == 200


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_is_read_from_its_binary_files(tmp_path, packed):
    record = bytes([3]) + bytes([10]) * 1024 + bytes([20]) * 1024 + bytes([30]) * 1024
    files = {**{f"data_batch_{i}.bin": record * 2 for i in range(1, 6)}, "test_batch.bin": record}
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    if not packed:
        with tarfile.open(tmp_path / "cifar-10-binary.tar.gz") as archive:
            archive.extractall(tmp_path, filter="data")
    splits = load_splits(DataConfig(dataset="cifar10", data_dir=str(tmp_path)))
    assert len(splits["train"]) == 10 and len(splits["test"]) == 1 and splits["train"].class_names[3] == "cat"
    assert splits["train"].images[0, :, 0, 0].tolist() == [10, 20, 30] and splits["train"].labels.unique().tolist() == [
        3
    ]


@pytest.mark.parametrize("labels", [["cat", "dog"] * 6, [4, 2] * 6])
def test_a_parquet_file(tmp_path, labels):
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    images = [Image.fromarray(np.full((8, 8), i, dtype=np.uint8)) for i in range(12)]
    kinds = {"image": datasets.Image(), "label": datasets.Value("string" if isinstance(labels[0], str) else "int64")}
    made = datasets.Dataset.from_dict({"image": images, "label": labels}, features=datasets.Features(kinds))
    made.to_parquet(tmp_path / "x.parquet")
    data = load_dataset(DataConfig(dataset=str(tmp_path / "x.parquet"), test_every=0))
    names = sorted(set(labels))
    assert data.class_names == tuple(map(str, names)) and data.images[:, 0, 0, 0].tolist() == list(range(12))
    assert data.labels.tolist() == [names.index(label) for label in labels]


def test_a_parquet_file_that_names_a_path_opens_nothing(tmp_path):
    """Would catch a dataset of a stranger that shows a file of this machine."""
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8)).save(secret)
    kinds = {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a"])}
    rows = {"image": [{"bytes": None, "path": str(secret)}], "label": [0]}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="x.parquet, train, row 0: got no bytes of an image"):
        load_dataset(DataConfig(dataset=str(tmp_path / "x.parquet")))


def test_a_dataset_that_is_neither_known_nor_of_the_hub():
    with pytest.raises(ValueError, match="data.dataset: got 'minst', expected one of mnist, .*or a Hub id such as"):
        DataConfig(dataset="minst")
