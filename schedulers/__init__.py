"""Noise levels, prediction types and the two samplers of the papers; imports nothing of the package."""

from .scheduling_ddim import DDIMScheduler
from .scheduling_ddpm import DDPMScheduler

__all__ = ["DDIMScheduler", "DDPMScheduler"]
