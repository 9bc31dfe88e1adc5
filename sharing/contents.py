"""What is sent of a file is made from what was read of it, so nothing else that lies in the file goes along.

Texts and EXIF of pictures, metadata of weights, keys that nobody reads, lines that are damaged and paths of the machine
stay at home.
"""

import inspect
import json
import re
import shutil
from pathlib import Path, PureWindowsPath
from typing import Any

import diffusers
from PIL import Image
from tokenizers import Tokenizer

from .. import schedulers
from ..config import RunConfig, config_from_dict, config_to_dict, save_config
from ..evaluation.classifier import pipeline_identity
from ..evaluation.measure import to_markdown
from ..models.saved import as_value_error, read_json
from ..pipelines.foreign import ON_A_FLOW, ON_A_PATH
from . import shapes
from .facts import CONFIG_NAME, HISTORY_NAME, REPORT_NAME, SESSIONS_NAME, Facts
from .shapes import shaped
from .text import markdown

PAGE_NAME = REPORT_NAME.replace(".json", ".md")
LOCAL_PATH = re.compile(r"[/~\\]|\.\.?[/\\]|[A-Za-z]:[/\\]")
# Paths that diffusers and transformers keep in what they save.
WHERE_IT_WAS = ("_name_or_path", "name_or_path", "special_tokens_map_file")


def write_shared(source: Path, folder: Path, name: str, facts: Facts) -> None:
    """Write one file of a pipeline for others.

    Args:
        source, facts: of the pipeline that is shared.
        folder: to write to; a report is written after all other files.
        name: relative to both.

    Raises:
        ValueError: the file cannot be read; names it.
    """
    path, to = source / name, folder / name
    to.parent.mkdir(parents=True, exist_ok=True)
    with as_value_error(path):
        if name == CONFIG_NAME and facts.run is not None:
            save_config(_without_paths(facts.run), to)
        elif name == HISTORY_NAME:
            write_text(to, "".join(json.dumps(line) + "\n" for line in facts.history))
        elif name == SESSIONS_NAME:
            write_text(to, json.dumps({"sessions": facts.sessions}, indent=1))
        elif name == REPORT_NAME:
            _write_report(folder, facts)
        elif name.endswith("/tokenizer.json"):
            Tokenizer.from_file(str(path)).save(str(to))
        elif path.suffix == ".safetensors":
            _write_weights(path, to)
        elif path.suffix == ".png":
            _write_picture(path, to)
        elif path.suffix == ".json":
            write_text(to, json.dumps(_config(path), indent=2, ensure_ascii=False) + "\n")
        else:
            write_text(to, path.read_text(encoding="utf-8"))


def _config(path: Path) -> Any:
    """Return a configuration without paths, and without keys that no loader uses."""
    config = read_json(path)
    if ".safetensors.index" in path.name:
        return shaped(config, shapes.SHARDS, str(path))
    if path.name in ("added_tokens.json", "vocab.json"):
        return shaped(config, shapes.IDS, str(path))
    known = _scheduler_keys(config.get("_class_name", "")) if path.name == "scheduler_config.json" else config
    return {key: value for key, value in config.items() if key in known and key not in WHERE_IT_WAS}


def _scheduler_keys(class_name: str) -> set[str]:
    """Return what a scheduler's configuration may say, for it and for those that may take its place."""
    names = {class_name, *(f"{name}Scheduler" for name in (*ON_A_PATH, *ON_A_FLOW))}
    classes = [getattr(diffusers, name, None) for name in names] + [getattr(schedulers, n) for n in schedulers.__all__]
    keys = {key for cls in classes if cls for key in inspect.signature(cls.__init__).parameters}
    return {*keys, "_class_name", "_diffusers_version"}


def _write_weights(path: Path, to: Path) -> None:
    """Copy tensors behind a header as the safetensors library writes it: the same bytes, if it wrote the file."""
    with path.open("rb") as file, to.open("wb") as copy:
        header = {"__metadata__": {}, **json.loads(file.read(int.from_bytes(file.read(8), "little")))}
        kept = ("dtype", "shape", "data_offsets")
        header = {name: {key: entry[key] for key in kept if key in entry} for name, entry in header.items()}
        header["__metadata__"] = {"format": "pt"}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        copy.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(file, copy)


def _write_picture(path: Path, to: Path) -> None:
    with Image.open(path, formats=("PNG",)) as opened:
        picture = opened if opened.mode in ("L", "RGB", "RGBA") else opened.convert("RGBA")
        picture.load()
        picture.info.clear()
        picture.save(to)


def _write_report(folder: Path, facts: Facts) -> None:
    """Write the report and its page; a model is named by its path there, and the files that are sent may be others."""
    assert facts.report is not None
    model = facts.report["settings"]["model"]
    report = _with_texts(facts.report, lambda text: text.replace(model, name_of(model)))
    report["settings"] |= pipeline_identity(folder)
    write_text(folder / REPORT_NAME, json.dumps(report, indent=1) + "\n")
    write_text(folder / PAGE_NAME, to_markdown(_with_texts(report, markdown)))


def _with_texts(value: Any, change: Any) -> Any:
    """Return a value of JSON with each of its texts changed, and each key that is no plain name."""
    if isinstance(value, dict):
        return {n if n.isidentifier() else change(n): _with_texts(item, change) for n, item in value.items()}
    if isinstance(value, list):
        return [_with_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _without_paths(config: RunConfig) -> RunConfig:
    """Return a run's config without the places of the machine that it ran on; of what it began from, the name."""
    tree = config_to_dict(config)
    for values in tree.values():
        values.update({key: name_of(value) for key, value in values.items() if isinstance(value, str)})
    tree["data"]["data_dir"] = tree["training"]["output_dir"] = None
    tree["training"]["resume"] = "auto"
    return config_from_dict(tree)


def name_of(text: str) -> str:
    """Return the last name of a path of a machine; any other text as it is."""
    return (PureWindowsPath(text).name if LOCAL_PATH.match(text) else "") or text


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with the same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")
