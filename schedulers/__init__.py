"""Noise levels, prediction types and samplers of the papers; imports nothing of the package.

Classes are imported when first asked for. A new sampler is named here, three times, and nowhere else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .scheduling_ddim import DDIMScheduler
    from .scheduling_ddpm import DDPMScheduler
    from .scheduling_unipc import UniPCMultistepScheduler

# Classes by the short names of the command lines; each lives in the module `scheduling_` and its short name.
OUR_SCHEDULERS = {"ddim": "DDIMScheduler", "ddpm": "DDPMScheduler", "unipc": "UniPCMultistepScheduler"}

__all__ = ["DDIMScheduler", "DDPMScheduler", "UniPCMultistepScheduler"]


def __getattr__(name: str) -> Any:
    for short_name, class_name in OUR_SCHEDULERS.items():
        if name == class_name:
            return getattr(import_module(f".scheduling_{short_name}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
