"""The folder that is uploaded: a saved pipeline, code for those without the package, what is known of it, a card."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config import RunConfig, config_to_dict, load_config
from ..evaluation.classifier import sha256
from ..pipelines.allowed import allowed_index
from ..pipelines.loading import INDEX_NAME
from .card import make_card
from .component_code import COMPONENT_FILES, PIPELINE_FILE, component_code
from .contents import write_text
from .facts import CONFIG_NAME
from .files import GRID_FOLDER, components_of, copy_pipeline

RECIPE_NAME = "recipe.yaml"


@dataclass(frozen=True)
class Entry:
    """A file of a tree."""

    name: str  # relative, with slashes
    size: int  # bytes
    sha256: str


class NotTheSameError(ValueError):
    """A tree that does not load back as it should."""

    exit_status = 1  # of a command: it is no wrong input


def build_tree(source: Path, folder: Path, repo_id: str) -> list[Entry]:
    """Write all that is uploaded.

    Args:
        source: of a pipeline: shipped weights, a run's folder or what `save_pretrained` wrote.
        folder: to fill; empty, or not there.
        repo_id: user/name, which the card's examples name.

    Returns:
        `list_tree(folder)`.

    Raises:
        ValueError: the folder holds files already, or the source names a class that may not be shared.
    """
    copy_pipeline(source, folder)
    if grids := sorted((folder / GRID_FOLDER).glob("*.png")):
        grids[-1].replace(folder / "samples.png")
        shutil.rmtree(folder / GRID_FOLDER)
    index = allowed_index(json.loads((folder / INDEX_NAME).read_text(encoding="utf-8")))
    for name, (module, class_name) in components_of(index).items():
        if class_name in COMPONENT_FILES and module != "diffusers":
            index[name] = [COMPONENT_FILES[class_name], class_name]
            write_text(folder / name / f"{COMPONENT_FILES[class_name]}.py", component_code(class_name))
    pipeline_name = index["_class_name"]
    write_text(folder / f"{PIPELINE_FILE}.py", component_code(pipeline_name))
    index["_class_name"] = [PIPELINE_FILE, pipeline_name]
    write_text(folder / INDEX_NAME, json.dumps(dict(sorted(index.items())), indent=2) + "\n")
    if (folder / CONFIG_NAME).is_file():
        write_text(folder / RECIPE_NAME, recipe_of(load_config(folder / CONFIG_NAME)))
    make_card(folder, repo_id).save(folder / "README.md")
    return list_tree(folder)


def recipe_of(config: RunConfig) -> str:
    """YAML of what a run's config has unlike the defaults; `load_config` makes the same run of it."""
    defaults = config_to_dict(RunConfig())
    changes = {
        section: {key: value for key, value in values.items() if key == "type" or value != defaults[section].get(key)}
        for section, values in config_to_dict(config).items()
    }
    return yaml.safe_dump({section: values for section, values in changes.items() if values}, sort_keys=False)


def list_tree(folder: Path) -> list[Entry]:
    """Names, sizes and hashes, sorted by name."""
    files = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file()]
    return [Entry(name, path.stat().st_size, sha256(path)) for name, path in sorted(files)]


def load_tree_back(folder: Path) -> dict[str, Any]:
    """Load a tree in a fresh process as people with and without this package will, and compare their images.

    Returns:
        What `load_back.py` prints: the classes of both, and the hashes of their images, which are equal.

    Raises:
        NotTheSameError: it does not load in one of the ways, loads without trust, or draws something else.
    """
    text = Path(__file__).with_name("load_back.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as elsewhere:
        # Nothing may come from the network, and nothing of a try may stay in the user's cache.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": elsewhere}
        command = [sys.executable, "-c", text, str(folder.resolve())]
        result = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise NotTheSameError(f"{folder}: does not load back: {result.stderr.strip()[-2000:]}")
    found = json.loads(result.stdout.strip().splitlines()[-1])
    if not found["refuses_without_trust"]:
        raise NotTheSameError(
            f"{folder}: loads by diffusers without trust_remote_code, so its code is not asked about."
        )
    if len(set(found["images"])) != 1:
        raise NotTheSameError(f"{folder}: draws other images without this package than with it.")
    return found
