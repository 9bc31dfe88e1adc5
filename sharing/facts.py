"""What a pipeline's folder tells about itself, without a weight being read: only the headers of safetensors are."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RunConfig, load_config
from ..evaluation.classifier import pipeline_identity
from ..models.saved import as_value_error, check_file, read_json, safetensors_header, weight_files
from ..pipelines.allowed import is_component
from ..pipelines.component_files import component_files
from ..pipelines.loading import INDEX_NAME
from ..pipelines.stored import check_folder
from ..training.history import read_history
from . import shapes
from .shapes import shaped

CONFIG_NAME, HISTORY_NAME, SESSIONS_NAME = "config.yaml", "history.jsonl", "run.json"
REPORT_NAME = "evaluation/report.json"


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
    shaped(settings, shapes.SETTINGS, str(folder / INDEX_NAME))
    sessions = _read(folder, SESSIONS_NAME, read_json, {"sessions": []})
    components = {name: _component(folder / name, *value) for name, value in parts.items() if value[1] is not None}
    shaped(components["denoiser"].config, shapes.DENOISER, str(folder / "denoiser"))
    return Facts(
        class_name=index["_class_name"],
        components=components,
        settings=settings,
        run=_read(folder, CONFIG_NAME, load_config),
        history=shaped(_read(folder, HISTORY_NAME, read_history, []), [shapes.LINE], str(folder / HISTORY_NAME)),
        sessions=shaped(sessions, shapes.SESSIONS, str(folder / SESSIONS_NAME))["sessions"],
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
    report, where = _read(folder, REPORT_NAME, read_json, {}), str(folder / REPORT_NAME)
    shaped(report, {}, where)
    settings = report.get("settings")
    if not isinstance(settings, dict) or "model_sha256" not in settings:  # real images, or samples in a file
        return None
    settings.setdefault("guidance_interval", [0.0, 1.0])
    report = shaped(report, shapes.REPORT, where)
    is_whole = report["sets"] and len(settings["guidance_interval"]) == 2
    is_same = all(settings.get(name) == value for name, value in pipeline_identity(folder).items())
    return report if is_whole and is_same else None


def _component(folder: Path, module: str, class_name: str) -> Component:
    first = component_files(folder, class_name)[0]
    config = read_json(first) if first.name.endswith("config.json") else {}  # a tokenizer has no such
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
