"""Which files of a pipeline's folder go to others: those that loading, the card and the report need, and no more."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.saved import read_json
from ..pipelines.allowed import allowed_index, is_component
from ..pipelines.component_files import component_files
from ..pipelines.loading import INDEX_NAME
from .contents import write_shared
from .facts import CONFIG_NAME, HISTORY_NAME, REPORT_NAME, SESSIONS_NAME, Facts, read_facts
from .text import printable

# Of a run and of its evaluation, where they exist. Grids of samples are `samples/step-*.png`.
RUN_FILES = (CONFIG_NAME, HISTORY_NAME, SESSIONS_NAME, "loss.png", "samples.png")
REPORT_FOLDER = Path(REPORT_NAME).parent.name
REPORT_FILES = (
    *("report.json", "samples.png", "confusion.png", "worst.png", "nearest.png"),
    *("sweeps.png", "quality-steps.png", "quality-guidance_scale.png"),
)
GRID_FOLDER = "samples"
MOST_NAMED = 20


@dataclass(frozen=True)
class PipelineFiles:
    """Names in a pipeline's folder, relative and with slashes; those of folders end in one.

    Attributes:
        shared: what others get.
        left: what stays at home.
        facts: what was read of the folder.
    """

    shared: list[str]
    left: list[str]
    facts: Facts

    def left_at_home(self) -> str:
        """Say what stays at home, in one line; long lists are cut."""
        told = [printable(name) for name in self.left[:MOST_NAMED]]
        more = len(self.left) - len(told)
        return f"left at home: {', '.join(told) or 'nothing'}" + (f" and {more:,} more" if more else "")


def components_of(index: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the components of an index; those that a pipeline has none of are left out."""
    return {name: value for name, value in index.items() if is_component(value) and value[1] is not None}


def pipeline_files(source: Path) -> PipelineFiles:
    """Return what a push and a Space take of a pipeline's folder, and what they leave.

    Args:
        source: shipped weights, a run's folder, what `save_pretrained` wrote, or a download from the Hub.

    Raises:
        ValueError: a class that may not be shared, or one of the files is a link or no regular file.
    """
    _check_own(source, source / INDEX_NAME)
    components = components_of(allowed_index(read_json(source / INDEX_NAME)))
    folders = [source / name for name in (*components, REPORT_FOLDER, GRID_FOLDER)]
    inside = [path for folder in folders for path in sorted(folder.glob("*"))]
    for path in (*(source / name for name in RUN_FILES), *folders, *inside):
        if path.is_symlink() or path.exists():
            _check_own(source, path)
    facts = read_facts(source)
    wanted = {source / INDEX_NAME, *(source / name for name in RUN_FILES)}
    wanted |= {path for name, (_, cls) in components.items() for path in component_files(source / name, cls)}
    wanted |= {path for path in (source / GRID_FOLDER).glob("*") if re.fullmatch(r"step-[0-9]+\.png", path.name)}
    if facts.report is not None:  # a report of other weights would be a false one
        wanted |= {source / REPORT_FOLDER / name for name in REPORT_FILES}
    shared: list[str] = []
    left: list[str] = []
    for path in (*sorted(source.glob("*")), *inside):
        name = path.relative_to(source).as_posix()
        if path in wanted and not path.is_file():
            raise ValueError(f"{path}: expected a regular file.")
        if path not in folders:
            (shared if path in wanted else left).append(name + "/" * path.is_dir())
    return PipelineFiles(shared, left, facts)


def _check_own(source: Path, path: Path) -> None:
    """Refuse links, because what they point to may be private."""
    blobs = source.resolve().parent.parent / "blobs"  # a download from the Hub is links into its own cache
    in_cache = source.resolve().parent.name == "snapshots" and path.resolve().parent == blobs
    if path.is_symlink() and not in_cache:
        raise ValueError(f"{path}: is a link, and links are not shared; put a copy in its place, or remove it.")


def copy_pipeline(source: Path, folder: Path) -> PipelineFiles:
    """Write what `pipeline_files` shares, as `contents.write_shared` does.

    Args:
        source: as `pipeline_files` takes it.
        folder: empty, or not there.

    Raises:
        ValueError: as `pipeline_files`, or the folder holds files already.
    """
    check_empty(folder)
    files = pipeline_files(source)
    for name in sorted(files.shared, key=lambda name: name == REPORT_NAME):  # it has hashes of the others
        write_shared(source, folder, name, files.facts)
    return files


def check_empty(folder: Path) -> None:
    """Raise a ValueError if a folder that is to be filled holds anything, or is none."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a folder that is empty or does not exist yet.")
