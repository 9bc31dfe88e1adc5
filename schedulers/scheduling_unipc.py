"""Sampling of "UniPC: A Unified Predictor-Corrector Framework" (2302.04867), for x_0, on any grid of timesteps.

A step of DDIM takes the predicted x_0 for constant on the way. UniPC puts a polynomial in the log-SNR through the last
predictions of x_0, its predictor, and once the next prediction is there, goes the same way again with it, its
corrector: one order more, and no further call of the model.

Names: t current and s next, cleaner timestep; lambda_t = log(alpha_t / sigma_t), half the log-SNR; h = lambda_s -
lambda_t > 0; B(h) of the paper is `growth` or -h.
"""

import math
from collections.abc import Sequence

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput  # noqa: F401  as in scheduling_ddim

from .scheduling_utils import DiscreteScheduler

SOLVER_TYPES = ("bh1", "bh2")

# Pure noise lies infinitely far away in log-SNR, and what was predicted there would say nothing about a slope. Where
# slopes are taken, and there alone, alpha_t^2 = 2^-24 stands for it, as it does everywhere in diffusers.
LEAST_ALPHA = 2.0**-12


class UniPCMultistepScheduler(DiscreteScheduler):
    """UniPC's sampler. The arguments are those of `diffusers.UniPCMultistepScheduler`; see there for each.

    Where that one has options for grids (Karras' and others), this one takes all our spacings, and `timesteps`; it
    reads every path and every prediction type. It goes on from the last call of `step`, and begins anew where a
    timestep does not follow the last one.

    Raises:
        ValueError: an unknown schedule, spacing, prediction type or solver type, an order below 1, or
            `predict_x0=False`.
    """

    _clips = False

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        solver_order: int = 2,
        prediction_type: str = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
        predict_x0: bool = True,
        solver_type: str = "bh2",
        lower_order_final: bool = True,
        disable_corrector: Sequence[int] = (),
        timestep_spacing: str = "linspace",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
    ):
        if solver_type not in SOLVER_TYPES:
            raise ValueError(f"solver_type: got {solver_type!r}, expected one of {', '.join(SOLVER_TYPES)}.")
        if solver_order < 1:
            raise ValueError(f"solver_order: got {solver_order}, expected 1 or more; 2 is usual under guidance.")
        if not predict_x0:
            raise ValueError("predict_x0: got False, expected True; diffusers' class solves for the noise.")
        self._build_levels()
        self._begin()

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """As `DiscreteScheduler.set_timesteps`; the next step begins anew."""
        super().set_timesteps(num_inference_steps, device, timesteps)
        self._begin()

    def _begin(self) -> None:
        # (lambda, predicted x_0) of the last steps, newest last; the way of the last step: from where, to where, how.
        self._history: list[tuple[float, torch.Tensor]] = []
        self._last: tuple[torch.Tensor, float, float, int] | None = None

    def _lambda(self, timestep: float) -> float:
        alpha, sigma = self._level(timestep)
        return math.log((alpha or LEAST_ALPHA) / sigma) if sigma > 0 else math.inf

    def step(
        self,
        model_output: torch.Tensor,
        timestep: float | torch.Tensor,
        sample: torch.Tensor,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[torch.Tensor]:
        """From x_t to x_s: first x_t is corrected by what the model says of it, then x_s is predicted.

        Args:
            model_output: (B, C, H, W).
            timestep: t, on the grid; the one after that of the last call, or else the history is dropped.
            sample: (B, C, H, W) x_t, as the last call left it.
            return_dict: return a `SchedulerOutput`, else a tuple.

        Returns:
            `prev_sample` x_s.

        Raises:
            ValueError: a timestep off the grid.
        """
        t, s = float(timestep), self.previous_timestep(timestep)
        index = self.timesteps.tolist().index(t)
        x_0, _ = self._split_prediction(model_output, sample, *self._level(t))
        if self._last is None or self._last[2] != t:
            self._begin()
        elif index - 1 not in self.config.disable_corrector:
            sample = self._advance(*self._last, x_0)
        self._history = [*self._history, (self._lambda(t), x_0)][-self.config.solver_order :]
        order = len(self._history)
        if self.config.lower_order_final:
            order = min(order, len(self.timesteps) - index)
        self._last = (sample, t, s, order)
        prev_sample = self._advance(*self._last)
        if s <= self.path.clean_timestep:
            self._begin()  # done: nothing of it is kept in memory
        return SchedulerOutput(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def _advance(
        self, sample: torch.Tensor, t: float, s: float, order: int, x_0_at_s: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x_s from x_t, by the last `order` predictions of x_0 and, to correct it, by that at s.

        Source: 2302.04867, sections 3.1 (corrector) and 3.2 (predictor), in the form for x_0.
        """
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self._level(t), self._level(s)
        lambda_t, x_0 = self._history[-1]
        h = self._lambda(s) - lambda_t
        growth = (alpha_t / sigma_t) * (sigma_s / alpha_s) - 1  # exp(-h) - 1, and -1 from pure noise
        x_s = (sigma_s / sigma_t) * sample - (alpha_s * growth) * x_0  # with these alone, DDIM's step
        # To clean data h is infinite, and every other prediction infinitely near to this one.
        earlier = self._history[-order:-1][::-1] if h < math.inf else []
        nodes = [((lambda_i - lambda_t) / h, x_0_i) for lambda_i, x_0_i in earlier]
        if x_0_at_s is not None:
            nodes.append((1.0, x_0_at_s))
        base = growth if self.config.solver_type == "bh2" else -h
        weights = solver_weights(h, [ratio for ratio, _ in nodes], base)
        for weight, (ratio, x_0_i) in zip(weights, nodes, strict=True):
            x_s = x_s - (alpha_s * base * weight / ratio) * (x_0_i - x_0)
        return x_s


def solver_weights(h: float, ratios: Sequence[float], base: float) -> list[float]:
    """How much the difference to each prediction counts: rho, of sum_m rho_m * r_m^(k-1) = b_k for k = 1, 2, ….

    Args:
        h: step in lambda.
        ratios: r_m, where predictions lie, in units of h from the current one.
        base: B(h).

    Returns:
        As many weights. One alone is 1/2 at any h, which its order allows for.

    Source: 2302.04867, theorem 3.1.
    """
    if len(ratios) < 2:
        return [0.5] * len(ratios)
    phi, wanted = math.expm1(-h) / -h - 1, []  # -h * phi_(k+1)(-h), with phi_k as in exponential integrators
    for k in range(1, len(ratios) + 1):
        wanted.append(phi * math.factorial(k) / base)
        phi = phi / -h - 1 / math.factorial(k + 1)
    powers = torch.tensor([[ratio**k for ratio in ratios] for k in range(len(ratios))], dtype=torch.float64)
    return torch.linalg.solve(powers, torch.tensor(wanted, dtype=torch.float64)).tolist()
