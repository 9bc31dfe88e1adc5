"""The folder that is uploaded: a saved pipeline, code for those without the package, what is known of it, a card."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..config import RunConfig, config_to_dict, load_config, save_config
from ..pipelines.allowed import allowed_index, is_component
from ..pipelines.loading import INDEX_NAME
from .card import make_card
from .component_code import COMPONENT_FILES, PIPELINE_FILE, component_code
from .facts import CONFIG_NAME, REPORT_NAME, read_report

# Of a component: configurations, vocabularies and weights. Never code that happens to lie there, and never pickles.
COMPONENT_PATTERNS = ("*.json", "*.txt", "*.safetensors")
# Of a run, where they are there.
RUN_FILES = ("history.jsonl", "run.json", "loss.png", "samples.png")
REPORT_FOLDER = Path(REPORT_NAME).parent.name
REPORT_PATTERNS = ("*.json", "*.md", "*.png")
RECIPE_NAME = "recipe.yaml"
WHERE_IT_WAS = "_name_or_path"  # diffusers keeps it in what it saves


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file of a tree."""

    name: str  # relative, with slashes
    size: int  # bytes
    sha256: str


class NotTheSameError(ValueError):
    """A tree that does not load back as it should."""


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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a folder that is empty or does not exist yet.")
    folder.mkdir(parents=True, exist_ok=True)
    index = json.loads((source / INDEX_NAME).read_text(encoding="utf-8"))
    checked = allowed_index(index)
    for name, (_, class_name) in _components(checked).items():
        (folder / name).mkdir()
        for pattern in COMPONENT_PATTERNS:
            for path in sorted((source / name).glob(pattern)):
                _copy(path, folder / name / path.name)
        if class_name in COMPONENT_FILES and checked[name][0] != "diffusers":
            checked[name] = [COMPONENT_FILES[class_name], class_name]
            _write(folder / name / f"{COMPONENT_FILES[class_name]}.py", component_code(class_name))
    pipeline_name = checked["_class_name"]
    _write(folder / f"{PIPELINE_FILE}.py", component_code(pipeline_name))
    checked = {**checked, "_class_name": [PIPELINE_FILE, pipeline_name]}
    checked.pop(WHERE_IT_WAS, None)
    _write(folder / INDEX_NAME, json.dumps(dict(sorted(checked.items())), indent=2) + "\n")
    _copy_run(source, folder)
    make_card(folder, repo_id).save(folder / "README.md")
    return list_tree(folder)


def _components(index: Mapping[str, Any]) -> dict[str, list[str]]:
    """The components that an index names, without those that a pipeline has none of."""
    return {name: value for name, value in index.items() if is_component(value) and value[1] is not None}


def _copy(path: Path, to: Path) -> None:
    """Copy a file; a configuration without the folder that it was loaded from, which is nobody's business."""
    config = json.loads(path.read_text(encoding="utf-8")) if path.name.endswith("config.json") else {}
    if WHERE_IT_WAS in config:
        config.pop(WHERE_IT_WAS)
        _write(to, json.dumps(config, indent=2) + "\n")
    else:
        shutil.copyfile(path, to)


def _copy_run(source: Path, folder: Path) -> None:
    """What is known of the training and of the result."""
    previews = sorted((source / "samples").glob("step-*.png"))
    if previews:
        shutil.copyfile(previews[-1], folder / "samples.png")
    for name in RUN_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    has_report = read_report(source) is not None  # one of other weights would be a false one
    for path in sorted(p for pattern in REPORT_PATTERNS for p in (source / REPORT_FOLDER).glob(pattern) if has_report):
        (folder / REPORT_FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(path, folder / REPORT_FOLDER / path.name)
    if (source / CONFIG_NAME).is_file():
        config = load_config(source / CONFIG_NAME)
        # Where things lay on the machine of the training is of no use elsewhere, and nobody's business.
        start = config.training.pretrained_model_name_or_path
        if start is not None and start.startswith(("/", ".", "~")):
            start = Path(start).name
        config = dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, data_dir=None),
            training=dataclasses.replace(config.training, output_dir=None, pretrained_model_name_or_path=start),
        )
        save_config(config, folder / CONFIG_NAME)
        _write(folder / RECIPE_NAME, recipe_of(config))


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
    entries = []
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            entries.append(Entry(name, path.stat().st_size, sha256_of(path)))
    return sorted(entries, key=lambda entry: entry.name)


def sha256_of(path: Path) -> str:
    """Hash of a file, read in parts."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
