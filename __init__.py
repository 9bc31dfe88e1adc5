"""text2digit: handwritten digits by small diffusion models, in the style of Hugging Face diffusers.

    from text2digit import DigitPipeline

    pipe = DigitPipeline.from_pretrained("unet-mnist")
    pipe([3, 1, 4], generator=0).images[0].save("three.png")

Names are imported when first asked for, so that `import text2digit` costs next to nothing.
"""

from typing import TYPE_CHECKING

from . import schedulers
from .lazy import attach

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

__getattr__, __all__ = attach(
    __name__,
    {
        ".models": ["DigitDiT2DModel", "DigitUNet2DModel"],
        ".pipelines": [
            "ClassConditionedDigitPipeline",
            "DigitImg2ImgPipeline",
            "DigitInpaintPipeline",
            "DigitPipeline",
            "TextConditionedDigitPipeline",
        ],
        ".schedulers": schedulers.__all__,
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
