"""Averages of the weights over training, which sample better than the last weights do."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..config import OptimConfig


def exponential_decay(decay: float) -> Callable[[int], float]:
    """Decay of each update of an exponential average, as a function of the number of updates before it.

    Early on it is shortened to (1 + n) / (10 + n), so that the random start is soon forgotten.

    Args:
        decay: in [0, 1).
    """
    return lambda num_updates: min(decay, (1 + num_updates) / (10 + num_updates))


def power_decay(sigma_rel: float) -> Callable[[int], float]:
    """The same of a power-function average, which weighs the weights of step t' up to step t by (t' / t)^gamma.

    Its length is always the same part of the training so far, and the random start is forgotten by itself: the first
    decay is 0.

    Args:
        sigma_rel: its width as a part of the training time, in (0, 0.28).

    Source: EDM2 (2312.02696), equation 127: beta_gamma(t) = (1 - 1 / t)^(gamma + 1).
    """
    gamma = gamma_of(sigma_rel)
    return lambda num_updates: (1 - 1 / (num_updates + 1)) ** (gamma + 1)


def gamma_of(sigma_rel: float) -> float:
    """The exponent of the power-function average of a relative width.

    Source: 2312.02696, section 3.1: sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), a cubic in gamma.
    """
    if not 0 < sigma_rel < 0.28:
        raise ValueError(f"sigma_rel: got {sigma_rel}, expected more than 0 and less than 0.28.")
    a = sigma_rel**-2
    return float(np.roots([1, 7, 16 - a, 12 - a]).real.max())


def make_averages(model: nn.Module, config: OptimConfig) -> dict[str, "EMA"]:
    """The averages that a recipe asks for, by the names of their files; the first is the one to sample from."""
    if config.ema == "exponential":
        return {"ema": EMA(model, exponential_decay(config.ema_decay))}
    return {average_name(width): EMA(model, power_decay(width)) for width in config.ema_sigma_rels}


def average_name(sigma_rel: float) -> str:
    """Name of a power-function average."""
    return f"ema-{sigma_rel:g}"


class EMA:
    """A moving average of a model's weights, in float32, where the model is and divided as it is.

    Args:
        model: whose weights; read at each `update`.
        decay_at: decay in [0, 1) of the update that follows a number of earlier ones.
    """

    def __init__(self, model: nn.Module, decay_at: Callable[[int], float]):
        self.decay_at = decay_at
        self.num_updates = 0
        self.shadow = {name: p.detach().clone().float() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """shadow = decay * shadow + (1 - decay) * weights."""
        weights = [p.detach().float() for p in model.parameters()]
        torch._foreach_lerp_(list(self.shadow.values()), weights, 1 - self.decay_at(self.num_updates))
        self.num_updates += 1

    def state(self) -> dict[str, torch.Tensor]:
        """The whole average on the CPU. All processes of a sharded model must call it."""
        return {name: whole(value).cpu() for name, value in self.shadow.items()}

    def load(self, state: Mapping[str, torch.Tensor], num_updates: int) -> None:
        """Take over what `state` returned.

        Raises:
            ValueError: it is of another model.
        """
        if state.keys() != self.shadow.keys():
            raise ValueError("the saved average is of another model; start over with --resume never.")
        for name, value in self.shadow.items():
            value.copy_(placed_like(state[name], value))
        self.num_updates = num_updates


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that may lie in parts on several processes (FSDP), put together on each."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A whole tensor, divided over the processes as `other` is."""
    if isinstance(other, DTensor):
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor
