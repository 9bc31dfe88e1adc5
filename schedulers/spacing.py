"""Which of the training's T levels a sampler visits.

A grid is a list of places among the levels, 0 the cleanest and T - 1 the noisiest, in the order of sampling. Every
count from 1 to T gives as many distinct places.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch

DIFFUSERS_SPACINGS = ("leading", "trailing", "linspace")
OUR_SPACINGS = ("beta", "quadratic", "exponential", "log_snr")  # of which diffusers' schedulers know nothing
TIMESTEP_SPACINGS = (*DIFFUSERS_SPACINGS, *OUR_SPACINGS)

# Of "beta": the best of those tried with `dit-mnist` (CHANGELOG). 2407.12173 has 0.6 and 0.6.
BETA_PARAMETERS = (0.7, 0.6)


def make_timesteps(
    spacing: str,
    num_inference_steps: int,
    num_train_timesteps: int,
    steps_offset: int = 0,
    snr: torch.Tensor | None = None,
) -> torch.Tensor:
    """A descending grid of distinct places.

    Args:
        spacing: "leading" starts at the bottom of each interval (and so below pure noise), "trailing" at the top,
            "linspace" has both ends (2305.08891, table 2). "beta" is "trailing" that is denser at both ends: even
            quantiles of a Beta distribution (2407.12173) in place of a uniform one. The others have both ends, and are
            even in the root of the place ("quadratic", 2010.02502, appendix D.2), in its logarithm ("exponential"), or
            in the log-SNR ("log_snr", 2206.00927, section 3.4).
        num_inference_steps: n, from 1 to T. One step starts from the noisiest level, save with "leading".
        num_train_timesteps: T.
        steps_offset: added to a "leading" grid, as far as it stays below T.
        snr: (T,) log-SNR of the levels, descending; for "log_snr".

    Returns:
        (n,) int64 in [0, T).

    Raises:
        ValueError: an unknown spacing, or a count outside [1, T].
    """
    n, last = num_inference_steps, num_train_timesteps - 1
    if not 1 <= n <= num_train_timesteps:
        raise ValueError(f"num_inference_steps: got {n}, expected 1 to num_train_timesteps = {num_train_timesteps}.")
    ascending = torch.arange(n, dtype=torch.float64)
    if spacing == "leading":
        grid = ascending.flip(0) * (num_train_timesteps // n)
        return (grid + min(steps_offset, last - int(grid[0]))).long()
    if spacing == "trailing":
        return (num_train_timesteps - ascending * num_train_timesteps / n).round().long() - 1
    if spacing == "linspace":
        # A single step starts from pure noise: linspace(last, 0, 1) is [last].
        return torch.linspace(last, 0, n, dtype=torch.float64).round().long()
    if spacing == "beta":
        return _distinct(num_train_timesteps * _beta_quantiles(1 - ascending / n, *BETA_PARAMETERS) - 1, last)
    if spacing == "quadratic":
        return _distinct(torch.linspace(math.sqrt(last), 0, n, dtype=torch.float64) ** 2, last)
    if spacing == "exponential":
        return _distinct(torch.linspace(math.log(num_train_timesteps), 0, n, dtype=torch.float64).exp() - 1, last)
    if spacing == "log_snr":
        assert snr is not None, "log_snr spacing needs the log-SNR of the levels"
        return _distinct(_even_in_log_snr(snr.double(), n), last)
    raise ValueError(f"timestep_spacing: got {spacing!r}, expected one of {', '.join(TIMESTEP_SPACINGS)}.")


def _even_in_log_snr(snr: torch.Tensor, n: int) -> torch.Tensor:
    """Places, between levels where need be, of n log-SNRs at even distances; the first is always the noisiest level.

    A last level of pure noise has no finite log-SNR; the distances then start from the one before it.
    """
    if n == 1:
        return torch.tensor([len(snr) - 1.0])
    noisiest = len(snr) - 1 if snr[-1].isfinite() else len(snr) - 2
    wanted = torch.linspace(float(snr[noisiest]), float(snr[0]), n, dtype=torch.float64)
    places = _places_in(-snr[: noisiest + 1], -wanted)
    places[0] = len(snr) - 1
    return places


def _beta_quantiles(shares: torch.Tensor, a: float, b: float) -> torch.Tensor:
    """x below which Beta(a, b) has these shares, to 1e-4, for a and b of 1/2 and more.

    With x = sin^2(angle) the density has no poles at the ends: sin(angle)^(2a - 1) cos(angle)^(2b - 1).
    """
    below, width = _beta_table(a, b)
    return (_places_in(below, shares) * width).sin() ** 2


@lru_cache
def _beta_table(a: float, b: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The share of Beta(a, b) below each of 10,001 even angles, and their distance."""
    angles = torch.linspace(0, math.pi / 2, 10_001, dtype=torch.float64)
    density = angles.sin() ** (2 * a - 1) * angles.cos().clamp(min=0) ** (2 * b - 1)
    below = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumulative_trapezoid(density)])
    return below / below[-1], angles[1]


def _places_in(table: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Where values stand in an ascending table, between its places where need be, and at its ends outside of it."""
    above = torch.searchsorted(table.contiguous(), wanted).clamp(1, len(table) - 1)
    left, right = table[above - 1], table[above]
    return above - 1 + ((wanted - left) / (right - left)).clamp(0, 1)


def _distinct(places: torch.Tensor, last: int) -> torch.Tensor:
    """Round a descending grid; places that fall together are moved up, and those that reach the top, down."""
    grid = places.round().long().clamp(min=0).flip(0).tolist()
    for i in range(1, len(grid)):
        grid[i] = max(grid[i], grid[i - 1] + 1)
    for i, highest in zip(reversed(range(len(grid))), range(last, -1, -1), strict=False):
        grid[i] = min(grid[i], highest)
    return torch.tensor(grid[::-1])


def check_timesteps(timesteps: Sequence[float], clean_timestep: int, num_train_timesteps: int) -> torch.Tensor:
    """A user's own grid of timesteps, refused unless it descends within the path's range.

    Args:
        timesteps: whole numbers in [0, T) for a table of levels; real numbers in (0, T] for a flow.
        clean_timestep: the path's.
        num_train_timesteps: T.

    Returns:
        (n,) int64, or float32 for a flow.

    Raises:
        ValueError: anything else.
    """
    is_table = clean_timestep < 0
    grid, shown = torch.as_tensor(timesteps), list(timesteps)
    kind = "integers" if is_table else "numbers"
    fractional = is_table and grid.is_floating_point()
    if grid.dim() != 1 or len(grid) == 0 or fractional or bool((grid[1:] >= grid[:-1]).any()):
        raise ValueError(f"timesteps: got {shown}, expected {kind} in descending order, each once.")
    noisiest = clean_timestep + num_train_timesteps
    if grid[0] > noisiest or grid[-1] <= clean_timestep:
        bound = f"down to {clean_timestep + 1}" if is_table else "to above 0"
        raise ValueError(f"timesteps: got {shown}, expected values from {noisiest} {bound}.")
    return grid.long() if is_table else grid.float()
