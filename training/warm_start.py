"""Weights to start a run from: those of a saved pipeline, in place of fresh ones."""

from typing import cast

import torch

from ..models import DigitDiT2DModel, DigitUNet2DModel
from ..models.text import TextDenoiser
from ..pipelines.allowed import check_shards
from ..pipelines.loading import find_pipeline_folder

# Where a class reaches a denoiser: a row of the table is added to the embedded noise level, as its bias is.
_TABLE, _BIAS = "condition_embedding.class_table.weight", "condition_embedding.time_out.bias"
_IMAGES = ("class_images.", "class_in.")  # of classes; the null class has none


def start_from(model: DigitUNet2DModel | DigitDiT2DModel | TextDenoiser, name_or_path: str) -> None:
    """Give a fresh model the denoiser's weights of a saved pipeline.

    A denoiser of words starts from one of classes as what that is without a class: the null class's row moves into the
    bias that it is added to, and the table goes; so do the images of classes, for the null class has none. Layers that
    the pipeline's denoiser has not, such as those for words, stay fresh, and so does a text encoder; fresh residual
    branches add nothing.

    Args:
        model: with fresh weights; those of its denoiser are replaced in place.
        name_or_path: as `DigitPipeline.from_pretrained` takes it.

    Raises:
        ValueError: no such pipeline, weights outside of its folder, or some that have no place in this model.
        FileNotFoundError: the Hub does not give it.
    """
    denoiser = model.denoiser if isinstance(model, TextDenoiser) else model
    pipeline = find_pipeline_folder(name_or_path, {})
    check_shards(pipeline)
    folder = str(pipeline / "denoiser")
    try:
        recorded = denoiser.load_config(folder)["_class_name"]
        if recorded != type(denoiser).__name__:  # diffusers would fill one class with what fits of the other
            raise ValueError(f"it is a {recorded}.")
        source = type(denoiser).from_pretrained(folder, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"training.pretrained_model_name_or_path: got {name_or_path!r}, expected a pipeline whose denoiser is a "
            f"{type(denoiser).__name__}: {error}"
        ) from error
    weights = cast(dict[str, torch.Tensor], source.state_dict())
    own = denoiser.state_dict()
    if _TABLE in weights and _TABLE not in own:
        weights[_BIAS] = weights[_BIAS] + weights.pop(_TABLE)[-1]
        weights = {name: weight for name, weight in weights.items() if not name.startswith(_IMAGES)}
    strangers = [
        f"{name} {tuple(weight.shape)}"
        for name, weight in weights.items()
        if name not in own or own[name].shape != weight.shape
    ]
    if strangers:
        raise ValueError(
            f"training.pretrained_model_name_or_path: {len(strangers)} weights of {name_or_path!r} have no place in "
            f"this model, such as {strangers[0]}; give the run the sizes of that model's config."
        )
    denoiser.load_state_dict(weights, strict=False)
