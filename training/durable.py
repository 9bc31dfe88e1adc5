"""Folders of files that are whole or not there.

A folder is filled under another name; then a manifest with checksums is added, everything is forced to the disk, and
only then the folder gets its name. A process that is killed at any moment, or a disk that is full, leaves the old state
or the new one, and perhaps a hidden folder that `remove_leftovers` takes away.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..shell import UNFINISHED, hidden_name, remove, whole

MANIFEST = "manifest.json"


class DamagedError(ValueError):
    """Files on disk are not what was written."""


class SaveError(OSError):
    """Something could not be written; `errno` says why, and the text says it in words, with the name."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def saving(path: Path, size: int = 0) -> Iterator[None]:
    """Name the file in errors of the block that writes it, and say how much room it needs where room is missing.

    Python names files that it opens, but not those that it writes to; the libraries in Rust raise errors of their own.

    Args:
        path: the file or folder.
        size: its bytes, as far as they are known.

    Raises:
        SaveError: with the `errno` of what went wrong.
    """
    try:
        yield
    except Exception as error:
        in_rust = re.search(r"os error (\d+)", str(error))
        code = int(in_rust[1]) if in_rust else getattr(error, "errno", None)
        if isinstance(error, SaveError | ConnectionError) or code is None:
            raise
        room = ""
        if code in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(path.parent).free
            room = f": it takes about {size / 2**20:.2f} MiB, and {free / 2**20:.2f} MiB are free"
        named = getattr(error, "filename2", None) or getattr(error, "filename", None) or path
        name = re.sub(rf"{UNFINISHED}[0-9a-f]{{12}}-", "", str(named))
        way = "mend this and repeat the command, and a run goes on from its newest checkpoint"
        text = f"{name}: {os.strerror(code)}{room}. Nothing that was saved before is lost: {way}."
        raise SaveError(code, text) from error


@contextmanager
def whole_folder(folder: Path, size: int = 0) -> Iterator[Path]:
    """Fill a folder, which appears under its name when the block ends well, and not at all otherwise.

    Args:
        folder: must not exist.
        size: bytes that will be written, as far as they are known.

    Yields:
        The place to write files into; subfolders are welcome.

    Raises:
        SaveError: no room, no right, or the folder exists by now; nothing is left behind.
        DamagedError: the disk gives back something else than was written.
    """
    with saving(folder, size):
        with whole(folder) as hidden:
            hidden.mkdir()
            yield hidden
            paths = sorted(hidden.rglob("*"))
            files = {path.relative_to(hidden).as_posix(): _facts(path) for path in paths if path.is_file()}
            (hidden / MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
            for path in (*paths, hidden / MANIFEST, hidden):
                _sync(path)
            if folder.exists():
                raise FileExistsError(f"{folder}: another process wrote it in the meantime.")
        _sync(folder.parent)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Compare a folder with its manifest.

    Raises:
        DamagedError: names the first file that is missing, cut short or changed.
    """
    with reading(folder / MANIFEST):
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        written = [(name, facts["bytes"], facts["sha256"]) for name, facts in files.items()]
    for name, size, digest in written:
        with reading(folder / name):
            found = _facts(folder / name)
        if found["bytes"] != size:
            raise DamagedError(f"{folder}: {name} has {found['bytes']} bytes, {size} were written.")
        if found["sha256"] != digest:
            raise DamagedError(f"{folder}: {name} has changed since it was written (its checksum differs).")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in the block that reads a file of ours into a word on that file.

    Raises:
        DamagedError: it is missing, no file, unreadable, or holds something else than was written.
    """
    if not os.path.isfile(path):  # a FIFO would be waited for without end
        raise DamagedError(f"{path.parent}: {path.name} is {'no file' if os.path.exists(path) else 'missing'}.")
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path.parent}: {path.name} is unreadable ({error}).") from error


def damage_of(folder: Path) -> DamagedError | None:
    """What `check_folder` finds; None for a folder that is whole."""
    try:
        check_folder(folder)
    except DamagedError as damage:
        return damage
    return None


def remove_folder(folder: Path) -> None:
    """Delete a folder so that no half of it is ever seen under its name.

    Raises:
        OSError: it may not be deleted.
    """
    if not os.access(folder, os.W_OK):  # a rename would hide it, and the deletion fail after that
        raise PermissionError(f"{folder} is read-only")
    hidden = hidden_name(folder)
    os.rename(folder, hidden)
    shutil.rmtree(hidden)


def remove_leftovers(parent: Path) -> None:
    """Delete what killed processes left hidden in `parent`; for its one owner alone, since others may be writing."""
    for path in parent.glob(f"{UNFINISHED}*"):
        remove(path)


def replace_text(path: Path, text: str) -> None:
    """Write a text file; a reader, or a process killed in the middle, sees the old one or the new one."""
    with saving(path, len(text)), whole(path) as aside:
        aside.write_text(text, encoding="utf-8")
        _sync(aside)


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
