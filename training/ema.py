"""The average of the weights over training, which samples better than the last weights do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class EMA:
    """Exponential moving average of a model's weights, in float32 on the model's device.

    Early on the decay is shortened to (1 + n) / (10 + n) after n updates, so that the random start is soon forgotten.

    Args:
        model: whose weights; read at each `update`.
        decay: in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.num_updates = 0
        self.shadow = {name: p.detach().clone().float() for name, p in model.named_parameters()}

    def decay_at(self, num_updates: int) -> float:
        """Decay of the update that follows `num_updates` earlier ones."""
        return min(self.decay, (1 + num_updates) / (10 + num_updates))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """shadow = decay * shadow + (1 - decay) * weights."""
        weights = [p.detach().float() for _, p in model.named_parameters()]
        torch._foreach_lerp_(list(self.shadow.values()), weights, 1 - self.decay_at(self.num_updates))
        self.num_updates += 1

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the averaged weights; afterwards its own again, whatever happened."""
        parameters = dict(model.named_parameters())
        own = {name: p.detach().clone() for name, p in parameters.items()}
        try:
            with torch.no_grad():
                for name, p in parameters.items():
                    p.copy_(self.shadow[name])
            yield
        finally:
            with torch.no_grad():
                for name, p in parameters.items():
                    p.copy_(own[name])
