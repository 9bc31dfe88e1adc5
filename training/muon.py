"""Muon: momentum whose every step is made orthogonal, for the matrices and the filters of a network's blocks."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

# Quintic of Jordan's Muon (kellerjordan.github.io/posts/muon): steep at zero, so five turns bring every singular value
# into about [0.7, 1.2]; that they do not end at exactly 1 costs nothing in training.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: torch.Tensor, turns: int = 5) -> torch.Tensor:
    """Bring all singular values of a matrix near 1 and keep its singular vectors, by Newton and Schulz's iteration.

    Args:
        matrix: (M, N), real.
        turns: iterations.

    Returns:
        (M, N) float32. A matrix of zeros stays one.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()  # the smaller Gram matrix
    x = x / x.norm().clamp(min=1e-7)
    x = turn_gram(x, turns) if matrix.device.type == "cpu" else turn_matrix(x, turns)
    return x.T if tall else x


def turn_matrix(x: torch.Tensor, turns: int) -> torch.Tensor:
    """`turns` times (a + b G + c G^2) X with G = X X^T, in bfloat16, which is enough and which GPUs are fast at.

    Args:
        x: (M, N) float32, of norm 1 at most.

    Returns:
        (M, N) float32.
    """
    a, b, c = COEFFICIENTS
    x = x.bfloat16()
    for _ in range(turns):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.float()


def turn_gram(x: torch.Tensor, turns: int) -> torch.Tensor:
    """The same in the space of G: every turn multiplies X by a polynomial of G, and G by its square, for they commute.

    So only the first G and the last product touch all N columns: a step of the default UNet takes a third less, of the
    DiT half. It wants float32, as G has the squares of the singular values; CPUs only emulate bfloat16 anyway.
    """
    a, b, c = COEFFICIENTS
    gram, product = x @ x.T, None
    for turn in range(turns):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial if product is None else polynomial @ product
        if turn < turns - 1:
            gram = polynomial @ gram @ polynomial
    return x if product is None else product @ x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with steps as large as AdamW's, so that one learning rate serves both.

    torch.optim.Muon differs in two ways that matter here: it takes no convolution, whose filter is a matrix from
    (inputs x window) to outputs, and it iterates in bfloat16 on every device, eight times slower on a CPU without it.

    Args:
        params: of two dimensions or more.
        lr: learning rate, in AdamW's units: a step's root mean square is about 0.2 of it (2502.16982, section 2.2).
        weight_decay: decoupled, as AdamW's.
        momentum: of the gradient's average, in [0, 1).

    Raises:
        ValueError: a parameter of fewer than two dimensions.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() < 2:
                    raise ValueError(
                        f"Muon: got a parameter of shape {tuple(p.shape)}, expected two dimensions or more."
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all weights that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                average = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                direction = orthogonalize(p.grad.lerp(average, group["momentum"]).flatten(1))
                rows, columns = direction.shape
                p.mul_(1 - group["lr"] * group["weight_decay"])
                # The entries of an orthogonal (M, N) matrix have root mean square 1 / sqrt(max(M, N)).
                p.add_(direction.view_as(p), alpha=-group["lr"] * 0.2 * math.sqrt(max(rows, columns)))
        return loss
