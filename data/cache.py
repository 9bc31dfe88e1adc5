"""What is computed once for the same input and kept in the user's cache."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ..shell import whole


def cache_folder(*parts: str) -> Path:
    """A folder in the user's cache: not that of the data, which may be read-only."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").joinpath("text2digit", *parts)


def computed_once(
    folder: Path | None, name: str, key: bytes, compute: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return arrays, read from a folder where they were computed before.

    Args:
        folder: of the cache; None keeps nothing.
        name: begins the file's name.
        key: all that the arrays depend on; its hash ends the file's name.
        compute: makes the arrays.
    """
    if folder is None:
        return compute()
    path = folder / f"{name}-{hashlib.sha256(key).hexdigest()[:16]}.safetensors"
    if not path.is_file():
        with whole(path) as aside:  # two processes may write at once
            save_file(compute(), aside)
    return load_file(path)
