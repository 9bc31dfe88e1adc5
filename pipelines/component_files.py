"""Which files a component of a pipeline is loaded from. Anything else in its folder is not part of the pipeline."""

import json
from pathlib import Path

# Names of weights by diffusers and by transformers, and the variants that `variant=` may name.
WEIGHTS_STEMS = ("diffusion_pytorch_model", "model")
VARIANTS = ("", ".fp16", ".bf16")
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
)


def component_files(folder: Path, class_name: str) -> list[Path]:
    """Return all files that a component can be loaded from, whether they exist or not; weights only if they exist.

    Args:
        folder: of the component.
        class_name: as `model_index.json` names it.
    """
    if class_name.endswith("Scheduler"):
        return [folder / "scheduler_config.json"]
    if "Token" in class_name:
        return [folder / name for name in TOKENIZER_FILES]
    return [folder / "config.json", *(path for variant in VARIANTS for path in weight_files(folder, variant, True))]


def weight_files(folder: Path, variant: str = "", with_index: bool = False) -> list[Path]:
    """Return the safetensors that a component is loaded from, sorted; none if it has no weights.

    Args:
        folder: of the component. `check_shards` has accepted its index, if it has one.
        variant: "" or one of `VARIANTS`.
        with_index: the index of sharded weights comes first.
    """
    for stem in WEIGHTS_STEMS:
        index = folder / f"{stem}.safetensors.index{variant}.json"
        if index.is_file():
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            return [*([index] if with_index else []), *(folder / shard for shard in sorted(shards))]
        if (folder / f"{stem}{variant}.safetensors").is_file():
            return [folder / f"{stem}{variant}.safetensors"]
    return []
