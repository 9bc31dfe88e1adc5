"""Which noise levels a training step sees: times in [0, 1), 0 the cleanest, which the noise path turns into timesteps.

A draw that is not uniform is a loss weight by another means; what it buys is variance, not another optimum.
"""

import math

import torch

TIME_DRAWS = ("uniform", "stratified", "logit_normal", "cosine")


def draw_times(
    draw: str,
    batch_size: int,
    generator: torch.Generator,
    logit_mean: float = 0.0,
    logit_std: float = 1.0,
    uniform_share: float = 0.0,
) -> torch.Tensor:
    """Times of a batch.

    Args:
        draw: one of `TIME_DRAWS`: "uniform" (2006.11239, algorithm 1), "stratified" (uniform too, but one in each of
            `batch_size` equal parts, shifted together: 2107.00630, appendix I.1), "logit_normal" (2403.03206, equation
            19), "cosine" (2403.03206, equation 21: on a flow, the levels of the cosine schedule).
        batch_size: B, of the global batch, so that "stratified" covers it however many processes share it.
        generator: on the CPU.
        logit_mean, logit_std: of "logit_normal"; a larger mean is noisier.
        uniform_share: probability that a time of "logit_normal" or "cosine" is a uniform one after all, which keeps
            levels that those hardly draw from being forgotten.

    Returns:
        (B,) float64 in [0, 1).

    Raises:
        ValueError: an unknown draw.
    """
    if draw == "stratified":
        shift = torch.rand(1, generator=generator, dtype=torch.float64)
        # In random order: the place in the batch must not tell the level.
        places = torch.randperm(batch_size, generator=generator).double() / batch_size
        return _below_one((places + shift) % 1)
    if draw == "logit_normal":
        normal = torch.randn(batch_size, generator=generator, dtype=torch.float64)
        return _mix_uniform(torch.sigmoid(logit_mean + logit_std * normal), uniform_share, generator)
    uniform = torch.rand(batch_size, generator=generator, dtype=torch.float64)
    if draw == "uniform":
        return uniform
    if draw == "cosine":
        return _mix_uniform(1 - 1 / (torch.tan(math.pi / 2 * uniform) + 1), uniform_share, generator)
    raise ValueError(f"objective.timesteps: got {draw!r}, expected one of {', '.join(TIME_DRAWS)}.")


def _mix_uniform(times: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    if share > 0:  # without one nothing is drawn, so runs that have none stay what they were
        # One number for both: whoever is below the share is chosen, and is then uniform below it.
        uniform = torch.rand(len(times), generator=generator, dtype=torch.float64)
        times = torch.where(uniform < share, uniform / share, times)
    return _below_one(times)


def _below_one(time: torch.Tensor) -> torch.Tensor:
    return time.clamp(max=1 - 2.0**-53)
