"""A folder of images of any kind, by black boxes: what each file becomes."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from text2digit.config import DataConfig
from text2digit.data import load_dataset, load_splits, load_training_data


def config(root, **options):
    return DataConfig(dataset="folder", data_dir=str(root), **{"test_every": 0, **options})


def save(root, name, image, **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def grey(array):
    return Image.fromarray(np.asarray(array, dtype=np.uint8))


def ramp(size=8):
    return np.linspace(0, 255, size * size).round().reshape(size, size)


def pixels(data, index=0):
    return data.images[index, 0].int().numpy()


def test_sixteen_bits_and_floats_keep_their_range(tmp_path):
    """Would catch 16-bit PNGs of two grey levels, and floats in [0, 1] that become black."""
    save(tmp_path, "a/0.png", Image.fromarray((ramp() * 257).astype(np.uint16)))
    save(tmp_path, "b/0.tif", Image.fromarray((ramp() / 255).astype(np.float32)))
    save(tmp_path, "b/1.tif", Image.fromarray(np.zeros((8, 8), dtype=np.float32)))
    data = load_dataset(config(tmp_path))
    for i in (0, 1):
        assert np.abs(pixels(data, i) - ramp()).max() <= 1
    assert "1 of 16 bits" in data.notes and "2 of floats" in data.notes
    save(tmp_path, "b/2.tif", Image.fromarray(ramp().astype(np.float32)))  # now all floats are of [0, 255]
    data = load_dataset(config(tmp_path))
    assert pixels(data, 1).max() <= 1 and np.array_equal(pixels(data, 3), ramp())
    save(tmp_path, "b/3.tif", Image.fromarray(np.full((8, 8), -1, dtype=np.float32)))
    with pytest.raises(ValueError, match=r"3.tif: cannot be read \(got values from -.*expected floats in \[0, 1\]"):
        load_dataset(config(tmp_path))


@pytest.mark.parametrize("ink, ground", [(0, 255), (255, 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_ink_on_transparency_is_seen(tmp_path, ink, ground, mode):
    """Would catch an image whose ink is laid on a ground of its own colour."""
    alpha = np.zeros((8, 8), dtype=np.uint8)
    alpha[2:6, 3:5] = 255
    image = Image.fromarray(np.dstack([np.full((8, 8), ink, dtype=np.uint8)] * 3 + [alpha]))
    if mode == "P":
        image = grey(np.where(alpha > 0, 1, 0)).convert("P")
        image.putpalette([128, 128, 128, ink, ink, ink])
        image.info["transparency"] = 0
    save(tmp_path, "a/0.png", image if mode == "P" else image.convert(mode))
    data = load_dataset(config(tmp_path))
    assert np.array_equal(pixels(data), np.where(alpha > 0, ink, ground))
    assert {"1 transparent", f"on {'white' if ground else 'black'} ground"} <= set(data.notes)
    other = load_dataset(config(tmp_path, background="black" if ground else "white"))
    assert (pixels(other) == ink).all()


def test_half_transparent_pixels_are_mixed_with_the_ground(tmp_path):
    save(tmp_path, "a/0.png", Image.new("LA", (4, 4), (100, 128)))
    for name, ground in (("white", 255), ("black", 0)):
        found = pixels(load_dataset(config(tmp_path, background=name)))
        assert np.abs(found - (100 * 128 + ground * 127) / 255).max() <= 1


def test_size_and_colour_are_those_of_the_images(tmp_path):
    """Would catch 48x48 colour images that train in grey without a word."""
    color = Image.new("RGB", (48, 48), (200, 10, 10))
    for i in range(3):
        save(tmp_path, f"red/{i}.png", color)
    save(tmp_path, "red/x.png", Image.new("L", (20, 20), 9))
    data = load_dataset(config(tmp_path))
    assert data.images.shape == (4, 3, 48, 48) and "1 brought to 48x48 (pad)" in data.notes
    assert data.images[0, :, 5, 5].tolist() == [200, 10, 10]
    assert load_dataset(config(tmp_path, channels=1, image_size=16)).images.shape == (4, 1, 16, 16)
    noisy = np.full((8, 8, 3), 90, dtype=np.uint8)
    noisy[0, 0] = (90, 95, 88)  # as JPEG leaves grey
    save(tmp_path / "other", "a/0.png", Image.fromarray(noisy))
    assert load_dataset(config(tmp_path / "other")).images.shape == (1, 1, 8, 8)


def test_images_that_are_not_square_are_brought_to_one_as_stated(tmp_path):
    """Would catch 28x56 images that are squashed to half their width."""
    tall = np.zeros((56, 28))
    tall[:, 13:15] = 255
    save(tmp_path, "a/0.png", grey(tall))
    padded = load_dataset(config(tmp_path))
    assert padded.images.shape[-2:] == (56, 56) and (pixels(padded).sum(axis=0) > 0).sum() == 2
    assert (pixels(padded)[:, :14] == 0).all() and (pixels(padded)[:, 27:29] == 255).all()
    assert load_dataset(config(tmp_path, fit="crop")).images.shape[-2:] == (28, 28)
    stretched = load_dataset(config(tmp_path, fit="stretch"))
    assert (pixels(stretched)[0] > 100).sum() == 4
    save(tmp_path, "a/1.png", grey(np.full((56, 28), 255)))
    save(tmp_path, "a/2.png", grey(np.full((56, 28), 255)))
    assert (pixels(load_dataset(config(tmp_path)), 1) == 255).all()  # padded by the ground that most have
    save(tmp_path / "huge", "a/0.png", grey(np.zeros((400, 600))))
    with pytest.raises(ValueError, match="data.image_size: got nothing for images of 600x400 pixels"):
        load_dataset(config(tmp_path / "huge"))
    assert load_dataset(config(tmp_path / "huge", image_size=32)).images.shape[-2:] == (32, 32)


def test_exif_cmyk_and_animations(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    half = np.zeros((8, 8))
    half[:4] = 255
    save(tmp_path, "a/0.jpg", grey(half), exif=exif, quality=95)
    save(tmp_path, "a/1.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 0)))
    frames = [grey(np.full((8, 8), value)) for value in (255, 0)]
    save(tmp_path, "a/2.gif", frames[0], save_all=True, append_images=frames[1:])
    data = load_dataset(config(tmp_path))
    assert (pixels(data)[:, 4:] > 240).all() and (pixels(data)[:, :4] < 15).all()
    assert (pixels(data, 1) > 250).all() and (pixels(data, 2) == 255).all()
    assert {"1 turned by EXIF", "1 of CMYK", "1 animated, first frame"} <= set(data.notes)


def test_hidden_and_system_files_are_left_out_and_counted(tmp_path):
    """Would catch `.ipynb_checkpoints` as class 0, which shifts all others."""
    for name in (".ipynb_checkpoints", "__MACOSX", "ant", "bee"):
        save(tmp_path, f"{name}/0.png", grey(ramp()))
    save(tmp_path, "bee/deeper/1.png", grey(ramp()))
    for name in ("._00.png", "Thumbs.db", "notes.txt"):
        (tmp_path / "ant" / name).write_text("x")
    data = load_dataset(config(tmp_path))
    assert data.class_names == ("ant", "bee") and data.labels.tolist() == [0, 1, 1]
    assert {"4 hidden or system files left out", "1 files that are no images left out"} <= set(data.notes)


def test_numbers_are_in_the_order_of_numbers(tmp_path):
    for name in ("10", "9", "0"):
        save(tmp_path, f"{name}/0.png", grey(ramp()))
    assert load_dataset(config(tmp_path)).class_names == ("0", "9", "10")


def test_damaged_files_are_named(tmp_path):
    """Would catch "image file is truncated" without a name."""
    for i in range(4):
        save(tmp_path, f"a/{i}.png", grey(ramp(32)))
    for i in (1, 2):
        path = tmp_path / "a" / f"{i}.png"
        path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "a" / "3.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.raises(ValueError, match=r"1.png: cannot be read \(.*2 others are damaged too: .*2.png, .*3.png"):
        load_dataset(config(tmp_path))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_splits_of_its_own(tmp_path, name):
    for split, count in (("train", 4), (name, 2), ("test", 3)):
        for i in range(count):
            save(tmp_path, f"{split}/a/{i}.png", grey(ramp()))
            save(tmp_path, f"{split}/b/{i}.png", grey(ramp()))
    splits = load_splits(config(tmp_path))
    assert {split: len(data) for split, data in splits.items()} == {"train": 8, "validation": 4, "test": 6}
    data, held_out = load_training_data(config(tmp_path))
    assert len(held_out) == 4 and "8 to train on, 4 held out (its own split), 6 for test" in data.notes
    save(tmp_path, "test/c/0.png", grey(ramp()))
    with pytest.raises(ValueError, match="got the class 'c', which .*train does not have"):
        load_splits(config(tmp_path))


def test_every_image_is_accounted_for(tmp_path):
    """Would catch a sixth of the images that is set aside without a word."""
    for i in range(60):
        save(tmp_path, f"a/{i:02}.png", grey(ramp()))
    data, _ = load_training_data(config(tmp_path, test_every=6))
    assert "49 to train on, 1 held out (data.validation_every 30), 10 for test" in data.notes
    data, _ = load_training_data(config(tmp_path, validation_every=0))
    assert len(data) == 60 and "60 to train on, 0 held out (data.validation_every 0), 0 for test" in data.notes
    with pytest.raises(ValueError, match="'test', but folder has train; see data.test_every"):
        load_dataset(config(tmp_path), "test")


def test_metadata_as_in_imagefolder(tmp_path):
    rows = [("one.png", "cat"), ("more/two.png", "dog")]
    for name, _ in rows:
        save(tmp_path, name, grey(ramp()))

    def write(rows, head=("file_name", "label")):
        with (tmp_path / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([head, *rows])

    write(rows)
    data = load_dataset(config(tmp_path))
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0, 1]
    write([("../x.png", "cat")])
    with pytest.raises(ValueError, match="got file_name '../x.png', expected a file inside of"):
        load_dataset(config(tmp_path))
    write([("x.png", "cat")])
    with pytest.raises(FileNotFoundError, match="x.png is not there"):
        load_dataset(config(tmp_path))
    write(rows, ("file", "text"))
    with pytest.raises(ValueError, match=r"got the columns \['file', 'text'\], expected file_name and label"):
        load_dataset(config(tmp_path))


def test_a_digest_tells_images_labels_and_names_apart(tmp_path):
    for name in ("a", "b"):
        save(tmp_path, f"{name}/0.png", grey(ramp()))
    first = load_dataset(config(tmp_path))
    assert first.digest == load_dataset(config(tmp_path)).digest
    (tmp_path / "b").rename(tmp_path / "c")
    changed = {load_dataset(config(tmp_path)).digest, first.take(torch.tensor([0])).digest, first.digest}
    assert len(changed) == 3
