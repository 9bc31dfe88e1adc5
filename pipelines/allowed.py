"""What a folder may name and hold, whoever made it: a list of classes, and weights that lie beside their index.

A `model_index.json` chooses which classes are made. Those of this package are found by their names, whatever module the
index says that they live in, so a repository that carries code files for others gives our own classes here, and none of
its code runs.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import schedulers
from ..models import DigitDiT2DModel, DigitUNet2DModel

# diffusers loads a component only from a module that is imported already, which this does.
OWN_CLASSES: dict[str, type] = {
    c.__name__: c
    for c in (DigitUNet2DModel, DigitDiT2DModel, *(getattr(schedulers, name) for name in schedulers.__all__))
}
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
    checked = dict(index)
    for name, value in index.items():
        if name == "_class_name":
            checked[name] = value if isinstance(value, str) else str(value[-1])
        elif is_component(value):
            if not name.isidentifier():
                raise ValueError(f"model_index.json: got a component named {name!r}, expected a plain name.")
            checked[name] = [None, None] if value[1] is None else _allowed_class(name, *value)
    return checked


def _allowed_class(name: str, module: str | None, class_name: str) -> list[str]:
    if module == "diffusers" and (class_name.endswith("Scheduler") or class_name == "AutoencoderKL"):
        return [module, class_name]
    if module == "transformers" and class_name in TRANSFORMERS_CLASSES:
        return [module, class_name]
    if module not in ("diffusers", "transformers") and class_name in OWN_CLASSES:
        return [OWN_CLASSES[class_name].__module__, class_name]
    raise ValueError(
        f"model_index.json: {name} is a {module}.{class_name}, expected {', '.join(OWN_CLASSES)}, a scheduler or "
        f"AutoencoderKL of diffusers, or of transformers one of {', '.join(TRANSFORMERS_CLASSES)}; a folder may name "
        "no other class."
    )


def check_shards(folder: Path) -> None:
    """Refuse an index of weights that points out of its own folder, or to anything but safetensors.

    Args:
        folder: of a pipeline.

    Raises:
        ValueError: names the index and what it points to.
    """
    for path in sorted(folder.glob("*/*.index*.json")):
        shards = json.loads(path.read_text(encoding="utf-8")).get("weight_map", {})
        for shard in sorted(set(shards.values())):
            if Path(shard).name != shard or "\\" in shard or not shard.endswith(".safetensors"):
                raise ValueError(
                    f"{path}: points to {shard!r}, expected a safetensors file beside it, where all weights lie."
                )
