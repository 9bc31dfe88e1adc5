"""What a pipeline's folder tells about itself, without a weight being read: only the headers of safetensors are."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RunConfig, load_config
from ..evaluation.classifier import pipeline_identity
from ..pipelines.allowed import allowed_index, is_component
from ..pipelines.component_files import weight_files
from ..pipelines.loading import INDEX_NAME
from ..training.history import read_history

CONFIG_NAME, HISTORY_NAME, SESSIONS_NAME, REPORT_NAME = (
    "config.yaml",
    "history.jsonl",
    "run.json",
    "evaluation/report.json",
)
# Of what is told of these files; see `check_shape`.
NUMBER = int | float
SESSION_SHAPE = {"device": str, "num_processes": int, "num_threads": int, "versions": {str: str | None}}
SESSIONS_SHAPE = {"sessions": [SESSION_SHAPE]}
SETTINGS_SHAPE = {"default_num_inference_steps": int | None, "default_guidance_scale": NUMBER | None}
DENOISER_SHAPE = {"sample_size": int, "in_channels": int, "num_classes": int | None}
REPORT_SETTINGS = {"model": str, "scheduler": str, "steps": int, "seeds": [int], "guidance_scale": NUMBER}
REPORT_SHAPE = {
    "dataset": str,
    "settings": {**REPORT_SETTINGS, "guidance_interval": [NUMBER]},
    "sets": {str: {"n": int, "mean": {str: NUMBER}, "spread": {str: NUMBER | None}}},
}
# No header of ours comes near it; a file that claims more is damaged, or made to fill the memory.
LARGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Component:
    """A part of a pipeline.

    Attributes:
        module, class_name: as the index has them, for our own classes where they really live.
        config: what was saved beside it; empty for a tokenizer.
        parameters, size: number of weights, and bytes of all its safetensors; 0 for what has none.
        dtypes: of the weights, as safetensors names them.
    """

    module: str
    class_name: str
    config: dict[str, Any]
    parameters: int
    size: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All that is known of a pipeline.

    Attributes:
        class_name: of the pipeline.
        components: by name; absent ones are left out.
        settings: what the index holds besides: defaults of a call, names of classes.
        run: the config of its training, or None.
        history: lines of the training, oldest first; none is an empty list.
        sessions: of the training: versions, devices, times.
        report: what `text2digit evaluate` wrote, if it measured these very weights; or None.
    """

    class_name: str
    components: dict[str, Component]
    settings: dict[str, Any]
    run: RunConfig | None
    history: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    report: dict[str, Any] | None

    @property
    def denoiser(self) -> Component:
        """The part that was trained."""
        return self.components["denoiser"]

    def last(self, name: str) -> Any:
        """The newest value of a figure in the history; None if there is none."""
        return next((line[name] for line in reversed(self.history) if line.get(name) is not None), None)


def read_facts(folder: Path) -> Facts:
    """Read a pipeline's folder.

    Raises:
        ValueError: the index names a class that is not allowed or no denoiser, or a file cannot be read.
    """
    index = allowed_index(json.loads((folder / INDEX_NAME).read_text(encoding="utf-8")))
    parts = {name: value for name, value in index.items() if not name.startswith("_") and is_component(value)}
    if "denoiser" not in parts:
        raise ValueError(f"{folder / INDEX_NAME}: has no denoiser, so it is no pipeline of this package.")
    settings = {name: value for name, value in index.items() if not name.startswith("_") and name not in parts}
    sessions = {"sessions": [], **_read(folder / SESSIONS_NAME)}
    check_shape(sessions, SESSIONS_SHAPE, str(folder / SESSIONS_NAME))
    check_shape(settings, SETTINGS_SHAPE, str(folder / INDEX_NAME))
    components = {name: _component(folder / name, *value) for name, value in parts.items() if value[1] is not None}
    check_shape(components["denoiser"].config, DENOISER_SHAPE, str(folder / "denoiser"))
    return Facts(
        class_name=index["_class_name"],
        components=components,
        settings=settings,
        run=load_config(folder / CONFIG_NAME) if (folder / CONFIG_NAME).is_file() else None,
        history=read_history(folder / HISTORY_NAME),
        sessions=sessions["sessions"],
        report=read_report(folder),
    )


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return the evaluation of a folder's pipeline; None if there is none, or of other weights or another scheduler."""
    report = _read(folder / REPORT_NAME)
    settings = report.get("settings")
    if not isinstance(settings, dict) or "model_sha256" not in settings:  # real images, or samples in a file
        return None
    settings.setdefault("guidance_interval", [0.0, 1.0])
    check_shape(report, REPORT_SHAPE, str(folder / REPORT_NAME))
    is_whole = report["sets"] and len(settings["guidance_interval"]) == 2
    is_same = all(settings.get(name) == value for name, value in pipeline_identity(folder).items())
    return report if is_whole and is_same else None


def _read(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file; an empty one if there is no file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON ({error}); write it again, or remove it.") from error
    check_shape(content, {}, str(path))
    return content


def check_shape(value: Any, shape: Any, where: str) -> None:
    """Raise a ValueError that names the key, unless a value of JSON has a shape.

    Args:
        value: to check.
        shape: a type; [shape] of any items; {name: shape}, where other names are free; {str: shape} of any names.
        where: names the value.
    """
    is_huge = type(value) is int and abs(value) >= 2**63  # no float
    if isinstance(shape, dict) and isinstance(value, dict):
        for name in value if str in shape else shape:
            check_shape(value.get(name), shape.get(str) or shape[name], f"{where}, {name}")
    elif isinstance(shape, list) and isinstance(value, list):
        for i, item in enumerate(value):
            check_shape(item, shape[0], f"{where}, {i}")
    elif isinstance(shape, dict | list) or not isinstance(value, shape) or type(value) is bool or is_huge:
        raise ValueError(f"{where}: got {value!r:.80}, expected {shape}; write the file again, or remove it.")


def _component(folder: Path, module: str, class_name: str) -> Component:
    configs = [path for path in (folder / "config.json", folder / "scheduler_config.json") if path.is_file()]
    config = json.loads(configs[0].read_text(encoding="utf-8")) if configs else {}
    weights = weight_files(folder)
    tensors = [tensor for path in weights for tensor in safetensors_header(path).values()]
    return Component(
        module=module,
        class_name=class_name,
        config={name: value for name, value in config.items() if not name.startswith("_")},
        parameters=sum(math.prod(tensor["shape"]) for tensor in tensors),
        size=sum(path.stat().st_size for path in weights),
        dtypes=tuple(sorted({tensor["dtype"] for tensor in tensors})),
    )


def safetensors_header(path: Path) -> dict[str, dict[str, Any]]:
    """Dtype and shape of each tensor in a file.

    Raises:
        ValueError: it is no safetensors file.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= LARGEST_HEADER:
            raise ValueError(f"{path}: is no safetensors file; its header would have {length:,} bytes.")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ValueError(f"{path}: is no safetensors file; its header is unreadable ({error}).") from error
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}
