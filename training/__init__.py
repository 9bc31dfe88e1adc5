"""Turns images into weights: objective, optimizer, averaging, checkpoints and the loop."""

from .health import InterruptedRun, NonFiniteError
from .loop import train
from .planning import plan
from .posthoc import reconstruct
from .prepare import prepare_run
from .run import Run

__all__ = ["InterruptedRun", "NonFiniteError", "Run", "plan", "prepare_run", "reconstruct", "train"]
