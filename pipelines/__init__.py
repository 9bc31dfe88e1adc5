"""From conditions to images: one denoising loop, exchangeable schedulers, classifier-free guidance."""

from .interpolation import interpolate, slerp
from .pipeline_class_conditioned import ClassConditionedDigitPipeline
from .pipeline_digit import DigitPipeline
from .pipeline_img2img import DigitImg2ImgPipeline
from .pipeline_inpaint import DigitInpaintPipeline
from .pipeline_text_conditioned import TextConditionedDigitPipeline

__all__ = [
    "ClassConditionedDigitPipeline",
    "DigitImg2ImgPipeline",
    "DigitInpaintPipeline",
    "DigitPipeline",
    "TextConditionedDigitPipeline",
    "interpolate",
    "slerp",
]
