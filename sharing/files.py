"""Which files of a pipeline's folder go to others: those that loading, the card and the report need, and no more."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from ..config import RunConfig, config_from_dict, config_to_dict, load_config, save_config
from ..models.saved import read_json
from ..pipelines.allowed import allowed_index, is_component
from ..pipelines.component_files import component_files
from ..pipelines.loading import INDEX_NAME
from ..pipelines.stored import check_folder
from .facts import CONFIG_NAME, HISTORY_NAME, REPORT_NAME, SESSIONS_NAME, read_report
from .text import printable

# Of a run and of its evaluation, where they exist. Grids of samples are `samples/step-*.png`.
RUN_FILES = (CONFIG_NAME, HISTORY_NAME, SESSIONS_NAME, "loss.png", "samples.png")
REPORT_FOLDER = Path(REPORT_NAME).parent.name
REPORT_FILES = (
    *("report.json", "report.md", "samples.png", "confusion.png", "worst.png", "nearest.png"),
    *("sweeps.png", "quality-steps.png", "quality-guidance_scale.png"),
)
GRID_FOLDER = "samples"
LOCAL_PATH = re.compile(r"[/~\\]|\.\.?[/\\]|[A-Za-z]:[/\\]")
# Paths that diffusers and transformers keep in what they save.
WHERE_IT_WAS = ("_name_or_path", "name_or_path", "special_tokens_map_file")


MOST_NAMED = 20


@dataclass(frozen=True)
class PipelineFiles:
    """Names in a pipeline's folder, relative and with slashes; those of folders end in one.

    Attributes:
        shared: what others get.
        left: what stays at home.
    """

    shared: list[str]
    left: list[str]

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
    _check_own(source, source / INDEX_NAME, is_folder=False, is_wanted=True)
    index = allowed_index(read_json(source / INDEX_NAME))
    for name in (*components_of(index), REPORT_FOLDER, GRID_FOLDER):
        for path in (source / name, *(source / name).glob("*")):
            if path.is_symlink() or path.exists():
                _check_own(source, path, is_folder=path.name == name, is_wanted=False)
    check_folder(source)
    paths = [source / INDEX_NAME, *(source / name for name in RUN_FILES)]
    for name, (_, class_name) in components_of(index).items():
        paths += component_files(source / name, class_name)
    paths += (path for path in (source / GRID_FOLDER).glob("*") if re.fullmatch(r"step-[0-9]+\.png", path.name))
    if read_report(source) is not None:  # a report of other weights would be a false one
        paths += (source / REPORT_FOLDER / name for name in REPORT_FILES)
    wanted = {path.relative_to(source).as_posix() for path in paths}
    shared: list[str] = []
    left: list[str] = []
    folders = {name.rpartition("/")[0] for name in wanted}
    for folder in sorted(folders):  # the first is "", where the other folders are checked before they are entered
        for path in sorted((source / folder).glob("*")):
            name = path.relative_to(source).as_posix()
            if name in wanted or name in folders or folder:
                _check_own(source, path, is_folder=name in folders, is_wanted=name in wanted)
            if name not in folders:
                (shared if name in wanted else left).append(name + "/" * path.is_dir())
    return PipelineFiles(shared, left)


def _check_own(source: Path, path: Path, is_folder: bool, is_wanted: bool) -> None:
    """Refuse links, because what they point to may be private, and what is no regular file."""
    blobs = source.resolve().parent.parent / "blobs"  # a download from the Hub is links into its own cache
    in_cache = source.resolve().parent.name == "snapshots" and path.resolve().parent == blobs
    if path.is_symlink() and not in_cache:
        raise ValueError(f"{path}: is a link, and links are not shared; put a copy in its place, or remove it.")
    if (is_folder and not path.is_dir()) or (is_wanted and not path.is_file()):
        raise ValueError(f"{path}: expected a {'folder' if is_folder else 'regular file'}.")


def copy_pipeline(source: Path, folder: Path) -> PipelineFiles:
    """Copy what `pipeline_files` shares, without paths of the machine that it was made on.

    Args:
        source: as `pipeline_files` takes it.
        folder: empty, or not there.

    Raises:
        ValueError: as `pipeline_files`, or the folder holds files already.
    """
    check_empty(folder)
    files = pipeline_files(source)
    for name in files.shared:
        path, to = source / name, folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if name == CONFIG_NAME:
            save_config(_without_paths(load_config(path)), to)
        elif name.endswith("config.json") or name == INDEX_NAME:
            config = json.loads(path.read_text(encoding="utf-8"))
            cleaned = {key: value for key, value in config.items() if key not in WHERE_IT_WAS}
            write_text(
                to, path.read_text(encoding="utf-8") if cleaned == config else json.dumps(cleaned, indent=2) + "\n"
            )
        elif name in (REPORT_NAME, f"{REPORT_FOLDER}/report.md"):  # a model is named by its path there
            model = json.loads((source / REPORT_NAME).read_text(encoding="utf-8"))["settings"]["model"]
            old, new = (json.dumps(each)[1:-1] for each in (model, _name_of(model)))
            write_text(to, path.read_text(encoding="utf-8").replace(old, new).replace(model, _name_of(model)))
        else:
            shutil.copyfile(path, to)
    return files


def check_empty(folder: Path) -> None:
    """Raise a ValueError if a folder that is to be filled holds anything, or is none."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a folder that is empty or does not exist yet.")


def _without_paths(config: RunConfig) -> RunConfig:
    """Return a run's config without the places of the machine that it ran on; of what it began from, the name."""
    tree = config_to_dict(config)
    for values in tree.values():
        values.update({key: _name_of(value) for key, value in values.items() if isinstance(value, str)})
    tree["data"]["data_dir"] = tree["training"]["output_dir"] = None
    tree["training"]["resume"] = "auto"
    return config_from_dict(tree)


def _name_of(text: str) -> str:
    return (PureWindowsPath(text).name if LOCAL_PATH.match(text) else "") or text


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with the same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")
