"""Noise levels, prediction types and three samplers of the papers; imports nothing of the package."""

from .scheduling_ddim import DDIMScheduler
from .scheduling_ddpm import DDPMScheduler
from .scheduling_unipc import UniPCMultistepScheduler

__all__ = ["DDIMScheduler", "DDPMScheduler", "UniPCMultistepScheduler"]
