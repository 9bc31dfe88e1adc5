"""Samplers as tables of numbers, without torch: a page in a browser or an engine on NumPy runs the same tables.

Every sampler here is linear in what it has: the sample, the predictions of x_0 so far, and fresh noise. A step is

    x_0 = read[0] * x + read[1] * output                             read the prediction; then x_0 may be limited
    x   = correct[0] * anchor + sum_i correct[i] * x_0^(i)           UniPC alone: the last step again, now better known
    x_r = advance[0] * x + sum_i advance[i] * x_0^(i) + noise * z    with z fresh noise of unit variance

where x_0^(1) is the newest prediction, x_0^(2) the one before it, and the anchor is x of the step before.

Names: t is the current timestep and r the next, cleaner one (diffusers' `r_timestep`). A level is (alpha_t, sigma_t).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .prediction import x_0_coefficients

Level = tuple[float, float]

# Pure noise lies infinitely far away in log-SNR, and a prediction made there would say nothing about a slope. Where
# slopes are taken, and only there, alpha_t^2 = 2^-24 stands for it, as it does everywhere in diffusers.
LEAST_ALPHA = 2.0**-12


@dataclass(frozen=True)
class StepPlan:
    """The numbers of one step; the module's docstring has the equations.

    Attributes:
        t, r: the timestep of the step and the one that it leads to.
        read: coefficients of x and of the denoiser's output in x_0; None where the output says nothing about x_0.
        advance: coefficient of x, then those of the predictions of x_0, newest first.
        correct: the same for the corrector, whose first entry belongs to the anchor; () where the step has none.
        raw: coefficient of the newest prediction before it was limited, for DDIM without `use_clipped_model_output`.
        noise: standard deviation of the fresh noise.
    """

    t: float
    r: float
    read: tuple[float, float] | None
    advance: tuple[float, ...]
    correct: tuple[float, ...] = ()
    raw: float = 0.0
    noise: Any = 0.0  # a number, but for DDPM's learned variance, which its class puts here as a tensor


class Walk:
    """Runs a plan step by step and keeps what later steps look back at. Tensors and NumPy arrays both work."""

    def __init__(self) -> None:
        self.anchor: Any = None
        self.predictions: tuple[Any, ...] = ()  # of x_0, newest first

    def step(
        self, plan: StepPlan, output: Any, x: Any, limit: Callable[[Any], Any] | None = None, z: Any = None
    ) -> tuple[Any, Any]:
        """Take one step.

        Args:
            plan: the numbers of this step.
            output: the denoiser's prediction, of the shape of `x`.
            x: the sample at t, as the last step returned it.
            limit: clips or thresholds a prediction of x_0; None leaves it.
            z: noise of unit variance; needed where `plan.noise` is not 0.

        Returns:
            The sample at r, and the limited prediction of x_0.

        Raises:
            ValueError: a step at pure noise of a denoiser that predicts the noise.
        """
        if plan.read is None:
            raise ValueError(
                "prediction_type: got 'epsilon' at a timestep of pure noise, where the noise says nothing about x_0; "
                "use v_prediction, or a schedule without zero terminal SNR."
            )
        raw = plan.read[0] * x + plan.read[1] * output
        x_0 = raw if limit is None else limit(raw)
        predictions = (x_0, *self.predictions)
        if plan.correct:
            x = combine(plan.correct, (self.anchor, *predictions))
        x_r = combine(plan.advance, (x, *predictions))
        if plan.raw:
            x_r = x_r + plan.raw * raw
        if z is not None:
            x_r = x_r + plan.noise * z
        # A corrector looks back one prediction further than the predictor whose way it goes again.
        self.anchor, self.predictions = x, predictions[: len(plan.advance) - 1]
        return x_r, x_0


def combine(weights: Sequence[float], arrays: Sequence[Any]) -> Any:
    """Return the weighted sum of the first arrays; there may be more arrays than weights."""
    total = weights[0] * arrays[0]
    for weight, array in zip(weights[1:], arrays[1:], strict=False):
        total = total + weight * array
    return total


def transition(level_t: Level, level_s: Level) -> tuple[float, float]:
    """Return how x_t comes from a cleaner x_s: x_t = alpha_{t|s} * x_s + sqrt(variance_{t|s}) * noise.

    Args:
        level_t, level_s: (alpha, sigma) of the two.

    Returns:
        alpha_{t|s} = alpha_t / alpha_s and variance_{t|s} = sigma_t^2 - alpha_{t|s}^2 * sigma_s^2, which on a variance
        preserving path is 1 - alpha_{t|s}^2, and the paper's beta_t when s = t - 1. It is never negative, not by
        rounding either: alpha_{t|s} <= 1 and sigma_s <= sigma_t, and rounding keeps the order of numbers.

    Source: 2107.00630, appendix A.1.
    """
    alpha_ts = level_t[0] / level_s[0] if level_s[0] else 0.0  # pure noise has nothing to hand on
    return alpha_ts, level_t[1] ** 2 - (alpha_ts * level_s[1]) ** 2


def _steps(
    timesteps: Sequence[float], levels: Sequence[Level], prediction_type: str, begin: int
) -> Iterator[tuple[float, float, tuple[float, float] | None, Level, Level]]:
    """(t, r, read, level of t, level of r) of each step from `begin` on."""
    for i in range(begin, len(levels) - 1):
        unknowable = levels[i][0] == 0 and prediction_type == "epsilon"
        read = None if unknowable else x_0_coefficients(prediction_type, *levels[i])
        yield timesteps[i], timesteps[i + 1], read, levels[i], levels[i + 1]


def ddim_plan(
    timesteps: Sequence[float],
    levels: Sequence[Level],
    prediction_type: str,
    begin: int = 0,
    eta: float = 0.0,
    raw_noise: bool = False,
) -> list[StepPlan]:
    """Return the steps of DDIM.

    Args:
        timesteps: the grid, descending, then the timestep that the last step leads to.
        levels: (alpha, sigma) of each.
        prediction_type: what the denoiser predicts.
        begin: first step of the plan.
        eta: 0 is deterministic, 1 adds as much noise as DDPM.
        raw_noise: read the noise from the prediction before x_0 is limited; the same where nothing is limited.

    Raises:
        ValueError: an unknown prediction type.

    Source: 2010.02502, equations 12 and 16.
    """
    plan = []
    for t, r, read, (alpha_t, sigma_t), (alpha_r, sigma_r) in _steps(timesteps, levels, prediction_type, begin):
        # Equation 16; DDPM's posterior standard deviation, scaled.
        std = eta * (sigma_r / sigma_t) * math.sqrt(transition((alpha_t, sigma_t), (alpha_r, sigma_r))[1])
        # Equation 12: the clean image, and the direction back to x_t along the noise (x_t - alpha_t * x_0) / sigma_t.
        back = math.sqrt(max(sigma_r**2 - std**2, 0.0)) / sigma_t
        of_x_0, of_raw = (alpha_r, -back * alpha_t) if raw_noise else (alpha_r - back * alpha_t, 0.0)
        plan.append(StepPlan(t, r, read, advance=(back, of_x_0), raw=of_raw, noise=std))
    return plan


def ddpm_plan(
    timesteps: Sequence[float],
    levels: Sequence[Level],
    prediction_type: str,
    begin: int = 0,
    large_variance: bool = False,
) -> list[StepPlan]:
    """Return the steps of DDPM: draws from q(x_r | x_t, x_0). The last one adds no noise.

    Args:
        timesteps, levels, prediction_type, begin: as in `ddim_plan`.
        large_variance: the upper bound of the variance (section 3.2) in place of the lower one.

    Raises:
        ValueError: as `ddim_plan`.

    Source: 2006.11239, equations 6 and 7.
    """
    plan = []
    for t, r, read, level_t, level_r in _steps(timesteps, levels, prediction_type, begin):
        alpha_tr, variance_tr = transition(level_t, level_r)
        to_clean = (level_r[1] / level_t[1]) ** 2  # sigma_r^2 / sigma_t^2
        mean = (alpha_tr * to_clean, level_r[0] * variance_tr / level_t[1] ** 2)  # equation 7: of x_t and of x_0
        variance = variance_tr if large_variance else variance_tr * to_clean
        plan.append(StepPlan(t, r, read, advance=mean, noise=math.sqrt(variance) if level_r[1] > 0 else 0.0))
    return plan


def unipc_plan(
    timesteps: Sequence[float],
    levels: Sequence[Level],
    prediction_type: str,
    begin: int = 0,
    order: int = 2,
    solver_type: str = "bh2",
    lower_order_final: bool = True,
    disable_corrector: Sequence[int] = (),
) -> list[StepPlan]:
    """Return the steps of UniPC for x_0: a predictor of the given order, and a corrector of one order more.

    Args:
        timesteps, levels, prediction_type, begin: as in `ddim_plan`; at `begin` there is nothing to look back at.
        order: predictions of x_0 that a step uses.
        solver_type: "bh1" or "bh2", the paper's B(h).
        lower_order_final: use fewer predictions in the last steps.
        disable_corrector: steps after which nothing is corrected.

    Raises:
        ValueError: as `ddim_plan`.

    Source: 2302.04867, sections 3.1 (corrector) and 3.2 (predictor), in the form for x_0.
    """
    # lambda = log(alpha / sigma) is half the log-SNR; clean data lies infinitely far up.
    lambdas = [math.log((alpha or LEAST_ALPHA) / sigma) if sigma > 0 else math.inf for alpha, sigma in levels]
    plan: list[StepPlan] = []
    way: Callable[..., tuple[float, ...]] | None = None
    for i, (t, r, read, level_t, level_r) in enumerate(_steps(timesteps, levels, prediction_type, begin), begin):
        correct = way(corrects=True) if way and i - 1 not in disable_corrector else ()
        used = min(order, i - begin + 1, len(levels) - 1 - i if lower_order_final else order)
        ends = (level_t, level_r, lambdas[i], lambdas[i + 1])
        way = partial(_unipc_step, solver_type, *ends, lambdas[i - used + 1 : i][::-1])
        plan.append(StepPlan(t, r, read, advance=way(), correct=correct))
    return plan


def _unipc_step(
    solver_type: str,
    level_t: Level,
    level_r: Level,
    lambda_t: float,
    lambda_r: float,
    earlier: Sequence[float],
    corrects: bool = False,
) -> tuple[float, ...]:
    """Coefficients of x_t, of the prediction at r where `corrects`, of that at t, and of those at `earlier` lambdas.

    DDIM takes x_0 for constant on the way; this puts a polynomial in lambda through the predictions.
    """
    h = lambda_r - lambda_t
    growth = (level_t[0] / level_t[1]) * (level_r[1] / level_r[0]) - 1  # exp(-h) - 1, and -1 from pure noise
    base = growth if solver_type == "bh2" else -h  # B(h) of the paper, with the sign of its form for x_0
    # On the way to clean data h is infinite, and every earlier prediction infinitely near to the one at t.
    ratios = [(lambda_i - lambda_t) / h for lambda_i in earlier] if h < math.inf else []
    nodes = [1.0, *ratios] if corrects else ratios
    weights = solver_weights(h, nodes, base)
    differences = [-level_r[0] * base * weight / ratio for weight, ratio in zip(weights, nodes, strict=True)]
    of_x_0 = -level_r[0] * growth - sum(differences)  # without the differences, DDIM's step
    place = 1 if corrects else 0  # of the prediction at t, newest first
    return (level_r[1] / level_t[1], *differences[:place], of_x_0, *differences[place:])


def solver_weights(h: float, ratios: Sequence[float], base: float) -> list[float]:
    """Return how much the difference to each prediction counts: rho, of sum_m rho_m * r_m^(k-1) = b_k, k = 1, 2, ….

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
    powers = [[ratio**k for ratio in ratios] for k in range(len(ratios))]
    return np.linalg.solve(np.array(powers), np.array(wanted)).tolist()
