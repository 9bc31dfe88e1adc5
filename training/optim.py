"""AdamW with weight decay where it belongs, and the learning rate of a step."""

import math

import torch
from torch import nn

from ..config import OptimConfig

DECAYS = ("cosine", "linear", "constant")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Matrices and convolutions decay; biases, norms and the class table do not.

    Returns:
        Two groups of AdamW, in the order decaying, not decaying; every parameter is in exactly one.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    decaying = [p for p in model.parameters() if p.dim() > 1 and id(p) not in tables]
    others = [p for p in model.parameters() if p.dim() <= 1 or id(p) in tables]
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW (1711.05101), fused: one kernel for all weights."""
    if config.decay not in DECAYS:
        raise ValueError(f"optim.decay: got {config.decay!r}, expected one of {', '.join(DECAYS)}.")
    return torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.lr, betas=config.betas, fused=True)


def learning_rate(step: int, total_steps: int, config: OptimConfig) -> float:
    """Learning rate of step `step`, from 0: linear rise, then decay to zero after the last step.

    A function of the step alone, so a resumed run needs nothing else.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(total_steps - config.warmup_steps, 1)
    factor = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
    return config.lr * factor[config.decay]
