"""Images, files and the order of batches."""

import gzip
import hashlib
import struct
import threading
import urllib.error
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from text2digit.config import DataConfig
from text2digit.data import batch_indices, cache_folder, counter_generator, load_dataset, without_images
from text2digit.data.datasets import default_data_dir
from text2digit.data.idx import IDX_SOURCES

from ..conftest import needs_mnist

TORCHVISION = {source.name: source.kind for source in IDX_SOURCES}

# --- order -----------------------------------------------------------------------------------------------------------


def test_each_image_comes_once_an_epoch_across_batch_borders():
    """10 images in batches of 4: catches a dropped or repeated last batch."""
    stream = torch.cat([batch_indices(step, 4, 10, seed=0) for step in range(5)])
    assert stream[:10].sort().values.tolist() == list(range(10))
    assert stream[10:].sort().values.tolist() == list(range(10))
    assert not torch.equal(stream[:10], stream[10:])


def test_order_follows_from_seed_and_step_alone():
    """What a resumed run relies on: step 7 needs no steps before it."""
    expected = [batch_indices(step, 16, 100, seed=3) for step in range(8)]
    assert torch.equal(batch_indices(7, 16, 100, seed=3), expected[7])
    assert not torch.equal(batch_indices(7, 16, 100, seed=4), expected[7])
    assert len(batch_indices(0, 250, 100, seed=0)) == 250  # a batch larger than the data


def test_counters_give_independent_streams():
    draws = [torch.randn(1000, generator=counter_generator(*c)) for c in ((0, "a", 1), (0, "a", 2), (1, "a", 1))]
    correlation = torch.corrcoef(torch.stack(draws)).fill_diagonal_(0)
    assert correlation.abs().max() < 0.15
    assert torch.equal(torch.randn(1000, generator=counter_generator(0, "a", 1)), draws[0])


# --- scikit-learn's digits -------------------------------------------------------------------------------------------


def test_digits_need_no_download():
    train, test = (load_dataset(DataConfig(dataset="digits"), split) for split in ("train", "test"))
    assert len(train) + len(test) == 1797 and len(test) == pytest.approx(1797 / 6, abs=10)
    assert train.images.shape[1:] == (1, 8, 8) and train.images.dtype == torch.uint8
    assert train.images.max() == 255 and train.labels.dtype == torch.int64
    assert test.labels.bincount(minlength=10).min() >= 28  # every class is in the test split
    x_0 = train.x_0(torch.arange(5))
    assert x_0.dtype == torch.float32 and x_0.min() == -1 and x_0.max() <= 1
    together = {image.numpy().tobytes() for image in train.images} & {image.numpy().tobytes() for image in test.images}
    assert not together  # no image is in both


# --- a folder --------------------------------------------------------------------------------------------------------


def write_images(root, size=(12, 12), names=("ant", "bee"), count=7):
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(count):
            array = np.full((size[1], size[0], 3), 40 * label + i, dtype=np.uint8)
            Image.fromarray(array).save(root / name / f"{i}.png")


def folder_config(root, **options):
    return DataConfig(dataset="folder", data_dir=str(root), **options)


def test_folder_with_a_subfolder_a_class(tmp_path):
    write_images(tmp_path)
    train, test = (load_dataset(folder_config(tmp_path), split) for split in ("train", "test"))
    assert train.class_names == ("ant", "bee") and train.images.shape == (12, 1, 12, 12) and len(test) == 2
    assert train.images[train.labels == 1, 0, 0, 0].tolist() == [40, 41, 42, 43, 44, 46]
    color = load_dataset(folder_config(tmp_path, channels=3, image_size=6))
    assert color.images.shape == (12, 3, 6, 6)


def test_folder_with_splits_of_its_own(tmp_path):
    write_images(tmp_path / "train")
    write_images(tmp_path / "test", count=2)
    assert len(load_dataset(folder_config(tmp_path))) == 14
    assert len(load_dataset(folder_config(tmp_path), "test")) == 4


def test_folders_that_do_not_fit_say_why(tmp_path):
    with pytest.raises(FileNotFoundError, match="no subfolders; expected one per class"):
        load_dataset(folder_config(tmp_path))
    write_images(tmp_path)
    write_images(tmp_path / "wide", size=(12, 8))
    (tmp_path / "wide" / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no images"):
        load_dataset(folder_config(tmp_path / "wide"))
    with pytest.raises(ValueError, match="data.data_dir: got nothing"):
        load_dataset(DataConfig(dataset="folder"))


# --- torchvision's datasets ------------------------------------------------------------------------------------------


@needs_mnist
def test_mnist():
    train, test = (load_dataset(DataConfig(), split) for split in ("train", "test"))
    assert train.images.shape == (60000, 1, 28, 28) and test.images.shape == (10000, 1, 28, 28)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert train.class_names[7] == "seven, 7"


@pytest.mark.parametrize("name", ["digits", pytest.param("mnist", marks=needs_mnist)])
@pytest.mark.parametrize("wanted", [{}, {"image_size": 16, "channels": 3}])
def test_what_is_declared_of_a_dataset_is_so(name, wanted):
    """Would catch a size or classes by which a recipe is refused that fits, or let pass until after the download."""
    config = DataConfig(dataset=name, **wanted)
    declared, loaded = without_images(config), load_dataset(config)
    assert declared.images.shape[1:] == loaded.images.shape[1:] and declared.images.dtype == loaded.images.dtype
    assert len(declared) == 0 and declared.class_names == loaded.class_names
    assert loaded.labels.unique().tolist() == list(range(len(declared.class_names)))


def fake_idx(count):
    """Files of the right length and header with zeros inside: whole to a check of lengths, wrong to a checksum."""
    return struct.pack(">4i", 0x803, count, 28, 28) + bytes(count * 784), struct.pack(">2i", 0x801, count) + bytes(
        count
    )


@pytest.fixture
def fake_folder(tmp_path):
    def make(dataset):
        raw = tmp_path / TORCHVISION[dataset].__name__ / "raw"
        raw.mkdir(parents=True)
        for prefix, count in (("train", 60000), ("t10k", 10000)):
            images, labels = fake_idx(count)
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(images)
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
        return raw

    return make


def load_from(tmp_path, dataset):
    return load_dataset(DataConfig(dataset=dataset, data_dir=str(tmp_path)))


def test_another_file_under_mnist_s_name_is_refused(fake_folder, tmp_path):
    fake_folder("mnist")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte of mnist: the checksum is wrong.*Delete"):
        load_from(tmp_path, "mnist")


@pytest.mark.parametrize("dataset", ["fashion-mnist", "kmnist"])
def test_cut_and_swapped_files_are_refused_by_name(fake_folder, tmp_path, dataset):
    raw = fake_folder(dataset)
    assert len(load_from(tmp_path, dataset)) == 60000
    images = raw / "t10k-images-idx3-ubyte"
    content = images.read_bytes()
    images.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte of .*: got 7840015 bytes, expected 7840016"):
        load_from(tmp_path, dataset)
    images.write_bytes(b"\1" + content[1:])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte.*: got the header"):
        load_from(tmp_path, dataset)
    images.write_bytes(content)
    labels = raw / "train-labels-idx1-ubyte"
    labels.write_bytes((raw / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(
        ValueError, match=r"train-labels-idx1-ubyte.*got the header .*10000.*expected lengths \(60000,\)"
    ):
        load_from(tmp_path, dataset)


def test_the_packed_file_beside_it_tells_a_changed_one(fake_folder, tmp_path, monkeypatch):
    """torchvision keeps the .gz: an unpacked file that is not what is in it is refused."""
    raw = fake_folder("kmnist")
    path = raw / "t10k-labels-idx1-ubyte"
    packed = gzip.compress(path.read_bytes(), mtime=0)
    path.with_name(path.name + ".gz").write_bytes(packed)
    md5 = hashlib.md5(packed).hexdigest()
    resources = [(n, md5 if n.startswith("t10k-labels") else m) for n, m in TORCHVISION["kmnist"].resources]
    monkeypatch.setattr(TORCHVISION["kmnist"], "resources", resources)
    assert len(load_from(tmp_path, "kmnist")) == 60000
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(
        ValueError, match="t10k-labels-idx1-ubyte of kmnist: differs from t10k-labels-idx1-ubyte.gz beside it"
    ):
        load_from(tmp_path, "kmnist")


class Mirror(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A real server on loopback with the four packed files; torchvision asks it in place of the real mirrors."""
    folder, kmnist = tmp_path / "mirror", TORCHVISION["kmnist"]
    folder.mkdir()
    resources = []
    for prefix, count in (("train", 60000), ("t10k", 10000)):
        for kind, content in zip(("images-idx3", "labels-idx1"), fake_idx(count), strict=True):
            name, packed = f"{prefix}-{kind}-ubyte.gz", gzip.compress(content, mtime=0)
            (folder / name).write_bytes(packed)
            resources.append((name, hashlib.md5(packed).hexdigest()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(kmnist, "resources", resources)
    monkeypatch.setattr(kmnist, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    yield folder
    server.shutdown()


def test_first_use_downloads_and_the_second_does_not(mirror, tmp_path, capsys):
    assert len(load_from(tmp_path / "cache", "kmnist")) == 60000
    assert "downloading" in capsys.readouterr().err
    for path in mirror.iterdir():
        path.unlink()
    assert len(load_from(tmp_path / "cache", "kmnist")) == 60000
    assert "downloading" not in capsys.readouterr().err


def test_a_damaged_download_is_refused(mirror, tmp_path):
    """Catches a mirror that serves something else: torchvision compares checksums, and the error stays clear."""
    path = mirror / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileNotFoundError, match="the download failed"):
        load_from(tmp_path / "cache", "kmnist")


def test_offline_and_missing_the_error_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(FileNotFoundError) as error:
        load_from(tmp_path, "mnist")
    for part in ("train-images-idx3-ubyte", str(tmp_path), "--data-dir", "TEXT2DIGIT_DATA", "--dataset digits"):
        assert part in str(error.value)


def test_where_data_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("TEXT2DIGIT_DATA", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.delenv("TEXT2DIGIT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_data_dir() == cache_folder() == tmp_path / "cache" / "text2digit"
    assert cache_folder("strokes") == tmp_path / "cache" / "text2digit" / "strokes"


def test_unknown_choices_list_the_choices():
    with pytest.raises(ValueError, match="got 'minst', expected one of mnist, fashion-mnist, kmnist"):
        load_dataset(DataConfig(dataset="minst"))
    with pytest.raises(ValueError, match="split: got 'val', expected one of train, validation, test"):
        load_dataset(DataConfig(dataset="digits"), "val")
