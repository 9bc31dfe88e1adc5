"""Denoisers. A model predicts; it never guides, schedules, optimizes, downloads or draws random numbers to predict."""

from .dit import DigitDiT2DModel
from .factory import MODEL_TYPES, build_model
from .unet import DigitUNet2DModel

__all__ = ["MODEL_TYPES", "DigitDiT2DModel", "DigitUNet2DModel", "build_model"]
