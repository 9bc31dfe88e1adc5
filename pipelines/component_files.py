"""Which files a component of a pipeline is loaded from. Anything else in its folder is not part of the pipeline."""

from pathlib import Path

from ..models.saved import VARIANTS, WEIGHTS_STEMS, weight_files

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
