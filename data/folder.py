"""A folder of one's own images.

Layouts, by what is there:

- `CLASS/…/x.png`: a folder for each class, its images at any depth.
- `train/CLASS/…` and, where there are, `val`, `valid` or `validation`, and `test`.
- `metadata.csv` with the columns `file_name` and `label`, in the folder or in those of the splits, as in `imagefolder`.

Classes are in the order of their names, or of their numbers where all are numbers. Hidden files and those of operating
systems are left out; so is what is no image. `ImageData.notes` counts them.
"""

import csv
import os
from collections import Counter
from pathlib import Path

import torch

from ..config import DataConfig
from .decoding import IMAGE_SUFFIXES, read_images
from .images import ImageData

METADATA = "metadata.csv"
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
SYSTEM_NAMES = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"}


def read_folder(config: DataConfig, read_only: bool = False) -> dict[str, ImageData]:
    """Read a folder's images.

    Returns:
        Images by split: "train", and "validation" and "test" where the folder has them.

    Raises:
        ValueError: no folder is named, files that cannot be read, or a class of a split that "train" has not.
        FileNotFoundError: no images.
    """
    if config.data_dir is None:
        raise ValueError("data.data_dir: got nothing, expected the folder of images, one subfolder per class.")
    root = Path(config.data_dir)
    places = {
        split: root / name
        for split, names in SPLIT_FOLDERS.items()
        for name in names
        if (root / "train").is_dir() and (root / name).is_dir()
    }
    skipped: Counter[str] = Counter()
    labelled = {split: _labelled_files(place, skipped) for split, place in (places or {"train": root}).items()}
    names = sorted(set(labelled["train"].values()))
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    for split, found in labelled.items():
        if unknown := sorted(set(found.values()) - set(names)):
            raise ValueError(f"{places[split]}: got the class {unknown[0]!r}, which {places['train']} does not have.")
    files = {str(path): path for found in labelled.values() for path in found}
    images, notes = read_images(files, config)
    ids = {name: i for i, name in enumerate(names)}
    labels = torch.tensor([ids[name] for found in labelled.values() for name in found.values()])
    notes += tuple(f"{count:,} {what} left out" for what, count in sorted(skipped.items()))
    data = ImageData(images, labels, tuple(names), notes)
    parts = torch.arange(len(data)).split([len(found) for found in labelled.values()])
    return {split: data.take(part) for split, part in zip(labelled, parts, strict=True)}


def _labelled_files(place: Path, skipped: Counter[str]) -> dict[Path, str]:
    """The name of the class of each image file, in order; what is left out is counted."""
    if (place / METADATA).is_file():
        return _read_metadata(place / METADATA)
    found = {}
    folders = [path for path in _visible(place, skipped) if path.is_dir()] if place.is_dir() else []
    if not folders:
        raise FileNotFoundError(f"{place}: no subfolders; expected one per class, with its images, or {METADATA}.")
    for folder in folders:
        paths = [path for path in _walk(folder, skipped) if _is_image(path, skipped)]
        if not paths:
            raise FileNotFoundError(
                f"{folder}: no images; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        found.update(dict.fromkeys(paths, folder.name))
    return found


def _is_image(path: Path, skipped: Counter[str]) -> bool:
    is_image = path.suffix.lower() in IMAGE_SUFFIXES
    skipped.update([] if is_image else ["files that are no images"])
    return is_image


def _visible(place: Path, skipped: Counter[str]) -> list[Path]:
    """What a folder holds, in order, without hidden files and those of operating systems."""
    found = sorted(place.iterdir())
    hidden = [path for path in found if path.name.startswith(".") or path.name.lower() in SYSTEM_NAMES]
    skipped.update(["hidden or system files"] * len(hidden))
    return [path for path in found if path not in hidden]


def _walk(folder: Path, skipped: Counter[str]) -> list[Path]:
    paths = []
    for path in _visible(folder, skipped):
        paths += _walk(path, skipped) if path.is_dir() and not path.is_symlink() else [path]
    return paths


def _read_metadata(path: Path) -> dict[Path, str]:
    """The class of each file that a `metadata.csv` lists.

    Raises:
        ValueError: other columns, or a file outside of the folder.
        FileNotFoundError: a file that is not there.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"file_name", "label"} <= rows[0].keys():
        raise ValueError(f"{path}: got the columns {list(rows[0]) if rows else []}, expected file_name and label.")
    found = {}
    for row in rows:
        place = Path(os.path.normpath(path.parent / (row["file_name"] or "")))
        if path.parent not in place.parents:
            raise ValueError(f"{path}: got file_name {row['file_name']!r}, expected a file inside of {path.parent}.")
        if not place.is_file():
            raise FileNotFoundError(f"{path}: {row['file_name']} is not there.")
        found[place] = row["label"] or ""
    return found
