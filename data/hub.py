"""Datasets of the Hub, and Parquet files, through the library `datasets`."""

from typing import Any

import torch

from ..config import DataConfig
from .decoding import read_images
from .images import ImageData

SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}
LABEL_COLUMNS = ("label", "labels", "class", "fine_label")


def read_hub(config: DataConfig, read_only: bool = False) -> dict[str, ImageData]:
    """Read a dataset by its Hub id, or a Parquet file: the first column of images, and the first of classes.

    Args:
        config: `dataset` is the id or the file, `data_dir` the folder of what is downloaded.
        read_only: nothing is downloaded; what is cached is read.

    Returns:
        Images by split.

    Raises:
        ValueError: the library is missing, or the dataset has no such columns or no split "train".
        FileNotFoundError: no such dataset, or it cannot be had.
    """
    try:
        import datasets
    except ImportError as error:
        raise ValueError(
            f"data.dataset: got {config.dataset!r}, which needs the library datasets; run: pip install "
            "'text2digit[datasets]'"
        ) from error
    parts = {
        SPLIT_NAMES[name]: part for name, part in _load(datasets, config, read_only).items() if name in SPLIT_NAMES
    }
    if "train" not in parts:
        raise ValueError(f"data.dataset: {config.dataset} has no split train.")
    image, label = _columns(datasets, config.dataset, parts["train"].features)
    names = getattr(parts["train"].features[label], "names", None)
    ids = dict(enumerate(range(len(names)))) if names else {}
    for name in () if names else sorted(set(parts["train"][label])):
        ids[name] = len(ids)
    files: dict[str, bytes] = {}
    labels: list[int] = []
    sizes = {}
    for split, part in parts.items():
        rows = part.cast_column(image, datasets.Image(decode=False))
        for i, (content, value) in enumerate(zip(rows[image], rows[label], strict=True)):
            what = f"{config.dataset}, {split}, row {i}"
            if content is None or content["bytes"] is None:  # a path would be one of this machine
                raise ValueError(f"{what}: got no bytes of an image.")
            if value not in ids:
                raise ValueError(f"{what}: got the class {value!r}, which the split train does not have.")
            files[what] = content["bytes"]
            labels.append(ids[value])
        sizes[split] = len(part)
    images, notes = read_images(files, config)
    data = ImageData(images, torch.tensor(labels), tuple(map(str, names or ids)), notes)
    sections = torch.arange(len(data)).split(list(sizes.values()))
    return {split: data.take(section) for split, section in zip(sizes, sections, strict=True)}


def _load(datasets: Any, config: DataConfig, read_only: bool) -> Any:
    """The library's splits by name; of a Hub id only what is there already, where nothing may be downloaded."""
    try:
        if config.dataset.endswith(".parquet"):
            return datasets.load_dataset("parquet", data_files=config.dataset)
        download = datasets.DownloadConfig(local_files_only=read_only)
        return datasets.load_dataset(config.dataset, cache_dir=config.data_dir, download_config=download)
    except Exception as error:  # of the library, of the Hub's client, or of Arrow
        raise FileNotFoundError(f"data.dataset: {config.dataset} cannot be had: {error}") from error


def _columns(datasets: Any, name: str, features: Any) -> tuple[str, str]:
    """The columns of images and of classes.

    Raises:
        ValueError: there are none.
    """
    images = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [key for key, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels += [key for key in LABEL_COLUMNS if key in features]
    if not images or not labels:
        raise ValueError(
            f"data.dataset: {name} has the columns {', '.join(features)}, expected one of images and one of classes "
            f"({' or '.join(LABEL_COLUMNS)})."
        )
    return images[0], labels[0]
