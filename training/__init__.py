"""Turns images into weights: objective, optimizer, averaging, checkpoints and the loop.

Names are imported when first asked for: who only reads a run's history needs no accelerate.
"""

from typing import TYPE_CHECKING

from ..lazy import attach

if TYPE_CHECKING:
    from .health import InterruptedRun, NonFiniteError
    from .loop import train
    from .planning import plan
    from .posthoc import reconstruct
    from .prepare import prepare_run
    from .run import Run

__getattr__, __all__ = attach(
    __name__,
    {
        ".health": ["InterruptedRun", "NonFiniteError"],
        ".loop": ["train"],
        ".planning": ["plan"],
        ".posthoc": ["reconstruct"],
        ".prepare": ["prepare_run"],
        ".run": ["Run"],
    },
)
