"""What a pipeline's folder tells about itself, without a weight being read: only the headers of safetensors are."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RunConfig, load_config
from ..evaluation.classifier import pipeline_identity
from ..models.saved import as_value_error, check_file, read_json, safetensors_header
from ..pipelines.allowed import is_component
from ..pipelines.component_files import weight_files
from ..pipelines.stored import check_folder
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
        ValueError: the folder would not load, has no denoiser, or holds a file that cannot be read; names the file.
    """
    with as_value_error(folder):
        _, index, _ = check_folder(folder)
    parts = {name: value for name, value in index.items() if not name.startswith("_") and is_component(value)}
    settings = {name: value for name, value in index.items() if not name.startswith("_") and name not in parts}
    sessions = _read(folder, SESSIONS_NAME, read_json, {"sessions": []})
    check_shape(sessions, SESSIONS_SHAPE, str(folder / SESSIONS_NAME))
    check_shape(settings, SETTINGS_SHAPE, str(folder / "model_index.json"))
    components = {name: _component(folder / name, *value) for name, value in parts.items() if value[1] is not None}
    check_shape(components["denoiser"].config, DENOISER_SHAPE, str(folder / "denoiser"))
    return Facts(
        class_name=index["_class_name"],
        components=components,
        settings=settings,
        run=_read(folder, CONFIG_NAME, load_config),
        history=_read(folder, HISTORY_NAME, read_history, []),
        sessions=sessions["sessions"],
        report=read_report(folder),
    )


def _read(folder: Path, name: str, read: Callable[[Path], Any], missing: Any = None) -> Any:
    """What a file of a run holds, or `missing` if there is no such file. An error of the reading names the file."""
    path = folder / name
    if not path.exists():
        return missing
    with as_value_error(path):
        check_file(path, folder)
        return read(path)


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return the evaluation of a folder's pipeline; None if there is none, or of other weights or another scheduler."""
    report = _read(folder, REPORT_NAME, read_json, {})
    check_shape(report, {}, str(folder / REPORT_NAME))
    settings = report.get("settings")
    if not isinstance(settings, dict) or "model_sha256" not in settings:  # real images, or samples in a file
        return None
    settings.setdefault("guidance_interval", [0.0, 1.0])
    check_shape(report, REPORT_SHAPE, str(folder / REPORT_NAME))
    is_whole = report["sets"] and len(settings["guidance_interval"]) == 2
    is_same = all(settings.get(name) == value for name, value in pipeline_identity(folder).items())
    return report if is_whole and is_same else None


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
    config = read_json(configs[0]) if configs else {}
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
