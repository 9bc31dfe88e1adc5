"""Build a denoiser from the words of a recipe."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from .dit import DigitDiT2DModel
from .unet import DigitUNet2DModel

MODEL_TYPES: dict[str, type[DigitUNet2DModel] | type[DigitDiT2DModel]] = {
    "UNet": DigitUNet2DModel,
    "DiT": DigitDiT2DModel,
}


def build_model(model_type: str, options: Mapping[str, Any]) -> DigitUNet2DModel | DigitDiT2DModel:
    """Build a denoiser with fresh weights.

    Args:
        model_type: a key of `MODEL_TYPES`.
        options: constructor arguments of that class.

    Raises:
        ValueError: an unknown type or option, or sizes that do not fit together.
    """
    if model_type not in MODEL_TYPES:
        raise ValueError(f"model.type: got {model_type!r}, expected one of {', '.join(MODEL_TYPES)}.")
    model_class = MODEL_TYPES[model_type]
    known = [name for name in inspect.signature(model_class.__init__).parameters if name != "self"]
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"model.{name}: {model_type} has no such option.{hint} It has: {', '.join(known)}.")
    return model_class(**{name: tuple(v) if isinstance(v, list) else v for name, v in options.items()})
