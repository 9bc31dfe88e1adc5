"""AdamW or Muon, weight decay where it belongs, and the learning rate of a step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from ..config import OptimConfig
from .muon import Muon


def parameter_roles(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Every parameter by what it does, each in exactly one list.

    Returns:
        "matrix": of linear layers and convolutions inside the blocks; "table": rows that are looked up, such as the
        classes'; "outer": layers between the blocks and the outside; "vector": biases and norms.
    """
    blocks = [block for block in model.modules() if isinstance(block, nn.ModuleList)]
    kinds = (nn.Linear, nn.Conv2d)
    inside = {id(layer.weight) for block in blocks for layer in block.modules() if isinstance(layer, kinds)}
    tables = {id(p) for layer in model.modules() if isinstance(layer, nn.Embedding) for p in layer.parameters()}
    roles: dict[str, list[nn.Parameter]] = {"matrix": [], "table": [], "outer": [], "vector": []}
    for p in model.parameters():
        role = "vector" if p.dim() <= 1 else "table" if id(p) in tables else "matrix" if id(p) in inside else "outer"
        roles[role].append(p)
    return roles


def make_optimizers(model: nn.Module, config: OptimConfig) -> list[torch.optim.Optimizer]:
    """AdamW (1711.05101) for all weights; or Muon for the matrices of the blocks and AdamW for the others.

    Muon takes steps as large as AdamW's, so that one learning rate serves both. Matrices, those to the outside too,
    decay; tables and vectors do not.

    Raises:
        ValueError: Muon, where the blocks of the model have no matrices.
    """
    roles = parameter_roles(model)
    muon = config.optimizer == "muon"
    decaying = roles["outer"] if muon else [*roles["matrix"], *roles["outer"]]
    groups = [
        {"params": decaying, "weight_decay": config.weight_decay},
        {"params": [*roles["table"], *roles["vector"]], "weight_decay": 0.0},
    ]
    # Fused is one kernel for all weights; where a device has none, foreach is the next best.
    adamw = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, **_kernels(model))
    if not muon:
        return [adamw]
    if not roles["matrix"]:
        raise ValueError("optim.optimizer: got 'muon' for a model whose blocks have no matrices; use adamw.")
    return [adamw, Muon(roles["matrix"], lr=config.lr, weight_decay=config.weight_decay)]


def _kernels(model: nn.Module) -> dict[str, bool]:
    device = next(model.parameters()).device.type
    return {"fused": True} if device in ("cpu", "cuda", "mps") else {"foreach": True}


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Give all groups of all optimizers one learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def learning_rate(step: int, total_steps: int, config: OptimConfig) -> float:
    """Learning rate of step `step`, from 0: linear rise, then decay to zero after the last step.

    A function of the step alone, so a resumed run needs nothing else.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(total_steps - config.warmup_steps, 1)
    factor = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
    return config.lr * factor[config.decay]
