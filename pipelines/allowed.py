"""What a folder may name, whoever made it: a list of classes. What each may hold is checked before it is loaded.

A `model_index.json` chooses which classes are made. Those of this package are found by their names, whatever module the
index says that they live in, so a repository that carries code files for others gives our own classes here, and none of
its code runs.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import SchedulerMixin
from transformers import PreTrainedTokenizerBase

from .. import schedulers
from ..models import DigitDiT2DModel, DigitUNet2DModel
from ..models.saved import (
    RECORDED,
    StoredModelMixin,
    as_value_error,
    check_config,
    check_files,
    check_model,
    constructor_hints,
    read_json,
)
from .tokenizer_files import load_tokenizer

# diffusers loads a component only from a module that is imported already, which this does.
OWN_CLASSES: dict[str, type] = {
    c.__name__: c
    for c in (DigitUNet2DModel, DigitDiT2DModel, *(getattr(schedulers, name) for name in schedulers.__all__))
}
DIFFUSERS_MODELS = ("AutoencoderKL", "AutoencoderTiny")
# What reads text. None of these runs code that comes with the weights.
TRANSFORMERS_CLASSES = (
    *("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel", "BertModel"),
    *("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast", "BertTokenizer", "BertTokenizerFast"),
    *("PreTrainedTokenizerFast", "TokenizersBackend"),  # the same class before and since transformers 5
)


def is_component(value: Any) -> bool:
    """Whether a value of an index is a component, [module, class] or [None, None], and not two numbers, say."""
    of_two = isinstance(value, list | tuple) and len(value) == 2
    return of_two and all(part is None or isinstance(part, str) for part in value)


def allowed_index(index: Mapping[str, Any]) -> dict[str, Any]:
    """An index as diffusers reads it, with our own classes by the modules that they really live in.

    Args:
        index: content of a model_index.json. A component is [module, class], or [None, None] for none.

    Raises:
        ValueError: a class that is not on the list, or a component whose name is no name.
    """
    if not isinstance(index, Mapping):
        raise ValueError(f"model_index.json: holds {index!r:.60}, expected an object with a class and its components.")
    checked = dict(index)
    for name, value in index.items():
        if name == "_class_name":
            checked[name] = value[-1] if isinstance(value, list) and value else value
        elif is_component(value):
            if not name.isidentifier():
                raise ValueError(f"model_index.json: got a component named {name!r}, expected a plain name.")
            checked[name] = [None, None] if value[1] is None else _allowed_class(name, *value)
    return checked


def _allowed_class(name: str, module: str | None, class_name: str) -> list[str]:
    if module == "diffusers" and (class_name.endswith("Scheduler") or class_name in DIFFUSERS_MODELS):
        return [module, class_name]
    if module == "transformers" and class_name in TRANSFORMERS_CLASSES:
        return [module, class_name]
    if module not in ("diffusers", "transformers") and class_name in OWN_CLASSES:
        return [OWN_CLASSES[class_name].__module__, class_name]
    raise ValueError(
        f"model_index.json: {name} is a {module}.{class_name}, expected {', '.join(OWN_CLASSES)}, a scheduler or "
        f"{' or '.join(DIFFUSERS_MODELS)} of diffusers, or of transformers one of {', '.join(TRANSFORMERS_CLASSES)}; a "
        "folder may name no other class."
    )


def check_component(folder: Path, module: str, class_name: str, is_loaded: bool, variant: str | None = None) -> Any:
    """Check the folder of a component before it is loaded.

    Args:
        folder: of the component, in that of its pipeline.
        module, class_name: as `allowed_index` returns them.
        is_loaded: whether it is loaded next, so that a model of ours checks itself.
        variant: of the weights that are loaded.

    Returns:
        The component; a model is on the meta device, where it has no weights, and None if it will check itself.

    Raises:
        ValueError: names the file, and what in it is wrong.
    """
    check_files(folder, folder.parent)
    cls: Any = getattr(import_module(module), class_name, None)
    kinds = (torch.nn.Module, SchedulerMixin, PreTrainedTokenizerBase)
    if not (isinstance(cls, type) and issubclass(cls, kinds)):  # a stand-in for what another library is needed for
        raise ValueError(f"model_index.json: {folder.name} is a {module}.{class_name}, which is not installed.")
    if issubclass(cls, torch.nn.Module):
        return None if is_loaded and issubclass(cls, StoredModelMixin) else check_model(folder, cls, variant)
    if issubclass(cls, PreTrainedTokenizerBase):
        return load_tokenizer(folder, cls)
    path = folder / "scheduler_config.json"
    config = read_json(path)
    # diffusers keeps what another scheduler left in the configuration, and uses nothing of it.
    left = {key: (object,) for key in config if not key.startswith("_")} if isinstance(config, dict) else {}
    check_config(path, config, left | constructor_hints(cls) | RECORDED)
    with as_value_error(path):
        return cls.from_config(config)  # type: ignore[union-attr]
