"""Noise levels, prediction types and samplers of the papers.

Classes are imported when first asked for. A new sampler is named here, three times, and nowhere else.
"""

from typing import TYPE_CHECKING

from ..lazy import attach

if TYPE_CHECKING:
    from .scheduling_ddim import DDIMScheduler
    from .scheduling_ddpm import DDPMScheduler
    from .scheduling_unipc import UniPCMultistepScheduler

# Classes by the short names of the command lines; each of ours lives in the module `scheduling_` and its short name.
OUR_SCHEDULERS = {"ddim": "DDIMScheduler", "ddpm": "DDPMScheduler", "unipc": "UniPCMultistepScheduler"}
# After them those of diffusers.
SCHEDULERS = {
    **OUR_SCHEDULERS,
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "lms": "LMSDiscreteScheduler",
    "flow-euler": "FlowMatchEulerDiscreteScheduler",
    "flow-heun": "FlowMatchHeunDiscreteScheduler",
}

__getattr__, __all__ = attach(__name__, {f".scheduling_{short}": [name] for short, name in OUR_SCHEDULERS.items()})
