"""Which noise levels a training step sees: times in [0, 1), 0 the cleanest, which the noise path turns into timesteps.

A draw that is not uniform is a loss weight by another means; what it buys is variance, not another optimum.
"""

import math

import torch

from ..config import ObjectiveConfig


def sample_times(objective: ObjectiveConfig, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """Times of a batch.

    Args:
        objective: how times are drawn: "uniform" (2006.11239, algorithm 1), "stratified" (uniform too, but one in each
            of `batch_size` equal parts, shifted together: 2107.00630, appendix I.1), "logit_normal" (2403.03206,
            equation 19), "cosine" (2403.03206, equation 21: on a flow, the levels of the cosine schedule). A share of
            uniform times keeps levels that the last two hardly draw from being forgotten.
        batch_size: B, of the global batch, so that "stratified" covers it however many processes share it.
        generator: on the CPU.

    Returns:
        (B,) float64 in [0, 1).
    """
    o = objective
    if o.timesteps == "stratified":
        shift = torch.rand(1, generator=generator, dtype=torch.float64)
        # In random order: the place in the batch must not tell the level.
        places = torch.randperm(batch_size, generator=generator).double() / batch_size
        return _below_one((places + shift) % 1)
    if o.timesteps == "logit_normal":
        normal = torch.randn(batch_size, generator=generator, dtype=torch.float64)
        return _mix_uniform(torch.sigmoid(o.logit_mean + o.logit_std * normal), o.uniform_share, generator)
    uniform = torch.rand(batch_size, generator=generator, dtype=torch.float64)
    if o.timesteps == "uniform":
        return uniform
    return _mix_uniform(1 - 1 / (torch.tan(math.pi / 2 * uniform) + 1), o.uniform_share, generator)


def _mix_uniform(times: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    if share > 0:  # without one nothing is drawn, so runs that have none stay what they were
        # One number for both: whoever is below the share is chosen, and is then uniform below it.
        uniform = torch.rand(len(times), generator=generator, dtype=torch.float64)
        times = torch.where(uniform < share, uniform / share, times)
    return _below_one(times)


def _below_one(time: torch.Tensor) -> torch.Tensor:
    return time.clamp(max=1 - 2.0**-53)
