"""Turns images into weights: objective, optimizer, averaging, checkpoints and the loop."""

from .loop import Run, plan, prepare_run, train

__all__ = ["Run", "plan", "prepare_run", "train"]
