"""Folders of files that are whole or not there.

A folder is filled under another name; then a manifest with checksums is added, everything is forced to the disk, and
only then the folder gets its name. A process that is killed at any moment, or a disk that is full, leaves the old state
or the new one, and perhaps a hidden folder that `remove_leftovers` takes away.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MANIFEST = "manifest.json"
_LEFTOVER = ".unfinished-"


class DamagedError(ValueError):
    """Files on disk are not what was written."""


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder, which appears under its name when the block ends well, and not at all otherwise.

    Args:
        folder: must not exist.

    Yields:
        The place to write files into; subfolders are welcome.

    Raises:
        OSError: no room, no right, or the folder exists by now; nothing is left behind.
        DamagedError: the disk gives back something else than was written.
    """
    hidden = _hidden_name(folder)
    try:
        hidden.mkdir(parents=True)
        yield hidden
        files = {path.relative_to(hidden).as_posix(): _facts(path) for path in _files(hidden)}
        (hidden / MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
        for path in (*sorted(hidden.rglob("*")), hidden):
            _sync(path)
        if folder.exists():  # a rename would replace an empty one without a word
            raise FileExistsError(f"{folder}: another process wrote it in the meantime.")
        os.rename(hidden, folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Compare a folder with its manifest.

    Raises:
        DamagedError: names the first file that is missing, cut short or changed.
    """
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
    except FileNotFoundError:
        raise DamagedError(f"{folder}: {MANIFEST} is missing.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{folder}: {MANIFEST} is unreadable ({error}).") from error
    for name, written in files.items():
        if not (folder / name).is_file():
            raise DamagedError(f"{folder}: {name} is missing.")
        found = _facts(folder / name)
        if found["bytes"] != written["bytes"]:
            raise DamagedError(f"{folder}: {name} has {found['bytes']} bytes, {written['bytes']} were written.")
        if found["sha256"] != written["sha256"]:
            raise DamagedError(f"{folder}: {name} has changed since it was written (its checksum differs).")


def is_whole(folder: Path) -> bool:
    """Whether `check_folder` finds nothing."""
    try:
        check_folder(folder)
    except DamagedError:
        return False
    return True


def remove_folder(folder: Path) -> None:
    """Delete a folder so that no half of it is ever seen under its name.

    Raises:
        OSError: it may not be deleted.
    """
    if not os.access(folder, os.W_OK):  # a rename would hide it, and the deletion fail after that
        raise PermissionError(f"{folder} is read-only")
    hidden = _hidden_name(folder)
    os.rename(folder, hidden)
    shutil.rmtree(hidden)


def remove_leftovers(parent: Path) -> None:
    """Delete what killed processes left hidden in `parent`; for its one owner alone, since others may be writing."""
    for path in parent.glob(f"{_LEFTOVER}*"):
        shutil.rmtree(path, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file; a reader, or a process killed in the middle, sees the old one or the new one."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    _sync(aside)
    os.replace(aside, path)


def _hidden_name(folder: Path) -> Path:
    """A name beside `folder` that nobody else has."""
    return folder.with_name(f"{_LEFTOVER}{folder.name}-{uuid.uuid4().hex[:12]}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _facts(path: Path) -> dict[str, int | str]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _sync(path: Path) -> None:
    """Force a file's content, or a folder's names, to the disk; only POSIX can open a folder for that."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
