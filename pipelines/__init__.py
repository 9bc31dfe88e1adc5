"""From conditions to images: one denoising loop, exchangeable schedulers, classifier-free guidance.

Names are imported when first asked for: who only finds or reads a folder needs no diffusers.
"""

from typing import TYPE_CHECKING

from ..lazy import attach

if TYPE_CHECKING:
    from .interpolation import interpolate, slerp
    from .pipeline_class_conditioned import ClassConditionedDigitPipeline
    from .pipeline_digit import DigitPipeline
    from .pipeline_img2img import DigitImg2ImgPipeline
    from .pipeline_inpaint import DigitInpaintPipeline
    from .pipeline_text_conditioned import TextConditionedDigitPipeline

__getattr__, __all__ = attach(
    __name__,
    {
        ".interpolation": ["interpolate", "slerp"],
        ".pipeline_class_conditioned": ["ClassConditionedDigitPipeline"],
        ".pipeline_digit": ["DigitPipeline"],
        ".pipeline_img2img": ["DigitImg2ImgPipeline"],
        ".pipeline_inpaint": ["DigitInpaintPipeline"],
        ".pipeline_text_conditioned": ["TextConditionedDigitPipeline"],
    },
)
