"""Turns images into weights: objective, optimizer, averaging, checkpoints and the loop.

Names are imported when first asked for: who only reads a run's history needs no accelerate.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .health import InterruptedRun, NonFiniteError
    from .loop import train
    from .planning import plan
    from .posthoc import reconstruct
    from .prepare import prepare_run
    from .run import Run

_HOMES = {
    "InterruptedRun": ".health",
    "NonFiniteError": ".health",
    "Run": ".run",
    "plan": ".planning",
    "prepare_run": ".prepare",
    "reconstruct": ".posthoc",
    "train": ".loop",
}

__all__ = ["InterruptedRun", "NonFiniteError", "Run", "plan", "prepare_run", "reconstruct", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name], __name__), name)
