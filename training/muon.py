"""Muon: momentum whose every step is made orthogonal, for the matrices and the filters of a network's blocks."""

import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch

from .ema import placed_like, whole

# Quintic of Jordan's Muon (kellerjordan.github.io/posts/muon): steep at zero, so five turns bring every singular value
# into about [0.7, 1.2]; that they do not end at exactly 1 costs nothing in training.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: torch.Tensor, turns: int = 5) -> torch.Tensor:
    """Bring all singular values of matrices near 1 and keep their singular vectors, by Newton and Schulz's iteration.

    Args:
        matrix: (…, M, N), real.
        turns: iterations.

    Returns:
        (…, M, N) float32. A matrix of zeros stays one.
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = (matrix.mT if tall else matrix).float()  # the smaller Gram matrix
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    x = turn_gram(x, turns) if matrix.device.type == "cpu" else turn_matrix(x, turns)
    return x.mT if tall else x


def turn_matrix(x: torch.Tensor, turns: int) -> torch.Tensor:
    """`turns` times (a + b G + c G^2) X with G = X X^T, in bfloat16, which is enough and which GPUs are fast at.

    Args:
        x: (…, M, N) float32, of norm 1 at most.

    Returns:
        (…, M, N) float32.
    """
    a, b, c = COEFFICIENTS
    x = x.bfloat16()
    for _ in range(turns):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.float()


def turn_gram(x: torch.Tensor, turns: int) -> torch.Tensor:
    """The same in the space of G: every turn multiplies X by a polynomial of G, and G by its square, for they commute.

    So only the first G and the last product touch all N columns: a step of the default UNet takes a third less, of the
    DiT half. It wants float32, as G has the squares of the singular values; CPUs only emulate bfloat16 anyway.
    """
    a, b, c = COEFFICIENTS
    gram, product = x @ x.mT, None
    for turn in range(turns):
        polynomial = (gram @ gram).mul_(c).add_(gram, alpha=b)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
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
        self, params: Iterable[torch.nn.Parameter], lr: float = 1e-3, weight_decay: float = 0.01, momentum: float = 0.95
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
            together: dict[Hashable, list[torch.nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    # A GPU waits for small kernels, so those of one shape share theirs; a CPU wants one in its cache.
                    together.setdefault(id(p) if p.device.type == "cpu" else p.shape, []).append(p)
            for alike in together.values():
                self._update(alike, group["lr"], group["weight_decay"], group["momentum"])
        return loss

    def _update(self, alike: list[Any], lr: float, weight_decay: float, momentum: float) -> None:
        """Move parameters of one shape, all by the same kernels."""
        for p in alike:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        averages = [self.state[p]["momentum_buffer"] for p in alike]
        gradients = [p.grad for p in alike]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        # Singular values are those of the whole matrix, of which FSDP leaves each process a few rows.
        matrices = [whole(update).flatten(1) for update in torch._foreach_lerp(gradients, averages, momentum)]
        directions = orthogonalize(torch.stack(matrices) if len(matrices) > 1 else matrices[0])
        rows, columns = directions.shape[-2:]
        steps = [placed_like(step, p) for step, p in zip(directions.view(-1, *alike[0].shape), alike, strict=True)]
        torch._foreach_mul_(alike, 1 - lr * weight_decay)
        # The entries of an orthogonal (M, N) matrix have root mean square 1 / sqrt(max(M, N)).
        step_size = lr * 0.2 * math.sqrt(max(rows, columns))
        torch._foreach_add_(alike, steps, alpha=-step_size)
