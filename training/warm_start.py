"""Weights to start a run from: those of a saved pipeline, in place of fresh ones."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import torch

from ..models.saved import check_files, read_json
from ..models.text import TextDenoiser
from ..pipelines.loading import find_pipeline_folder
from .run import TrainedModel

# Where a class reaches a denoiser: a row of the table is added to the embedded noise level, as its bias is.
_TABLE, _BIAS = "condition_embedding.class_table.weight", "condition_embedding.time_out.bias"
_IMAGES = ("class_images.", "class_in.")  # of classes; the null class has none
# Layers that a denoiser without words has not.
_WORDS = re.compile(r"\b(text_in|cross_attention|cross_norm)\.")
NAME = "training.pretrained_model_name_or_path"
# Options of a denoiser that no recipe gives, because they follow from something else.
FOLLOWING = ("sample_size", "in_channels", "out_channels", "num_classes", "cross_attention_dim")


def start_from(model: TrainedModel, name_or_path: str, read_only: bool = False) -> list[str]:
    """Give a fresh model the denoiser's weights of a saved pipeline; returns the names of the weights that stay fresh.

    A denoiser of words starts from one of classes as what that is without a class: the null class's row moves into the
    bias that it is added to, and the table goes; so do the images of classes, for the null class has none. Layers for
    words that the pipeline's denoiser has not stay fresh, and so does a text encoder; fresh residual branches add
    nothing. Any other weight without a counterpart is an error.

    Args:
        model: with fresh weights; those of its denoiser are replaced in place.
        name_or_path: as `DigitPipeline.from_pretrained` takes it.
        read_only: download nothing.

    Raises:
        ValueError: no such pipeline, weights outside of its folder, those of a model with other options, or weights
            that are missing or have no place; the model is left as it was.
        FileNotFoundError: the Hub does not give it.
    """
    denoiser = model.denoiser if isinstance(model, TextDenoiser) else model
    pipeline = find_pipeline_folder(name_or_path, {"local_files_only": read_only})
    folder = pipeline / "denoiser"
    try:
        check_files(folder, pipeline)
        config = read_json(folder / "config.json")
        recorded = config.get("_class_name") if isinstance(config, dict) else None
        if not isinstance(recorded, str):
            raise ValueError(f"{folder / 'config.json'}: names no class; save the model again.")
        if recorded != type(denoiser).__name__:  # diffusers would fill one class with what fits of the other
            raise ValueError(f"it is a {recorded}. Take other weights, or a config whose model.type makes one.")
        source = type(denoiser).from_pretrained(folder, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{NAME}: got {name_or_path!r}, expected a pipeline whose denoiser is a {type(denoiser).__name__}: {error}"
        ) from error
    _check_options(name_or_path, source.config, denoiser.config)
    weights = cast(dict[str, torch.Tensor], source.state_dict())
    if denoiser.config["num_classes"] is None and _TABLE in weights:
        weights[_BIAS] = weights[_BIAS] + weights.pop(_TABLE)[-1]
        weights = {name: weight for name, weight in weights.items() if not name.startswith(_IMAGES)}
    place = set(denoiser.state_dict())
    fresh = sorted(place - set(weights))
    wordless = source.config["cross_attention_dim"] is None
    odd = [name for name in fresh if not (wordless and _WORDS.search(name))] + sorted(set(weights) - place)
    if odd:
        raise ValueError(f"{NAME}: {name_or_path!r} and this run's denoiser do not share the weights {', '.join(odd)}.")
    denoiser.load_state_dict(weights, strict=not fresh)
    return fresh


def _check_options(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse weights of a model with other options, by which the same weights would compute something else, too."""
    free = {"dropout", "pipeline_defaults"}
    if theirs["cross_attention_dim"] is None:  # the layers for words stay fresh
        free.add("cross_attention_dim")
    if ours["num_classes"] is None:  # what was of classes goes
        free |= {"num_classes", "class_channels"}
    if ours["class_channels"] is None:  # otherwise images of classes are as large
        free.add("sample_size")
    there, here = ({k: list(v) if isinstance(v, tuple) else v for k, v in c.items()} for c in (theirs, ours))
    others = [key for key in here if key[0] != "_" and key not in free and there[key] != here[key]]
    if not others:
        return
    theirs, ours = ({key: json.dumps(c[key], separators=(",", ":")) for key in others} for c in (there, here))
    way = f"Pass {' '.join(f'model.{key}={theirs[key]}' for key in others)}."
    if fixed := [key for key in FOLLOWING if key in others]:
        way = (
            f"{', '.join(fixed)} follow from the data and the text encoder: change those, or start from fresh weights "
            f"by {NAME}=null."
        )
    raise ValueError(
        f"{NAME}: {name!r} is a model of "
        f"{', '.join(f'{key}={theirs[key]} (here {ours[key]})' for key in others)}, expected that of this run. {way}"
    )
