"""text2digit: handwritten digits by small diffusion models, in the style of Hugging Face diffusers.

    from text2digit import DigitPipeline

    pipe = DigitPipeline.from_pretrained("unet-mnist")
    pipe([3, 1, 4], generator=0).images[0].save("three.png")

Names are imported when first asked for, so that `import text2digit` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import schedulers

if TYPE_CHECKING:
    from .models import DigitDiT2DModel, DigitUNet2DModel
    from .pipelines import (
        ClassConditionedDigitPipeline,
        DigitImg2ImgPipeline,
        DigitInpaintPipeline,
        DigitPipeline,
        TextConditionedDigitPipeline,
    )
    from .schedulers import *  # noqa: F403

__version__ = "0.1.0"

_HOMES = {
    "ClassConditionedDigitPipeline": ".pipelines",
    "DigitDiT2DModel": ".models",
    "DigitImg2ImgPipeline": ".pipelines",
    "DigitInpaintPipeline": ".pipelines",
    "DigitPipeline": ".pipelines",
    "DigitUNet2DModel": ".models",
    "TextConditionedDigitPipeline": ".pipelines",
    **dict.fromkeys(schedulers.__all__, ".schedulers"),
}

__all__ = [
    "ClassConditionedDigitPipeline",
    "DigitDiT2DModel",
    "DigitImg2ImgPipeline",
    "DigitInpaintPipeline",
    "DigitPipeline",
    "DigitUNet2DModel",
    "TextConditionedDigitPipeline",
]
__all__ += schedulers.__all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
