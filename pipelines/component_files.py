"""Which files a component of a pipeline is loaded from. Anything else in its folder is not part of the pipeline."""

import json
from pathlib import Path

from ..models.saved import VARIANTS

# Names of weights by diffusers and by transformers.
WEIGHTS_STEMS = ("diffusion_pytorch_model", "model")
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
)


def component_files(folder: Path, class_name: str) -> list[Path]:
    """Return all files that a component can be loaded from, whether they exist or not; weights only if they do.

    Args:
        folder: of the component.
        class_name: as `model_index.json` names it.
    """
    if class_name.endswith("Scheduler"):
        return [folder / "scheduler_config.json"]
    if "Token" in class_name:
        return [folder / name for name in TOKENIZER_FILES]
    weights = [path for variant in VARIANTS for path in weight_files(folder, variant)]
    indices = [folder / f"{stem}.safetensors.index{variant}.json" for stem in WEIGHTS_STEMS for variant in VARIANTS]
    return [folder / "config.json", *indices, *weights]


def weight_files(folder: Path, variant: str = "") -> list[Path]:
    """Return the safetensors that a component is loaded from, sorted; none if it has no weights.

    Args:
        folder: of the component. `check_folder` has accepted its index, if it has one.
        variant: one of `VARIANTS`.
    """
    for stem in WEIGHTS_STEMS:
        index, single = folder / f"{stem}.safetensors.index{variant}.json", folder / f"{stem}{variant}.safetensors"
        if index.is_file():
            return sorted({folder / shard for shard in json.loads(index.read_bytes())["weight_map"].values()})
        if single.is_file():
            return [single]
    return []
