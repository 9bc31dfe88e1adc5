"""How much noise there is at each timestep.

One forward process for everything here, x_t = alpha_t * x_0 + sigma_t * noise, and two kinds of path through it:

- variance preserving, alpha_t^2 + sigma_t^2 = 1: a table of T levels, made of betas, beta_t = 1 - alpha_t^2 /
  alpha_{t-1}^2. Timesteps are the integers 0 (cleanest, never quite clean) to T - 1 (noisiest; pure noise only where
  the schedule has been rescaled to zero terminal SNR), and -1 stands for clean data.
- flow, alpha_t + sigma_t = 1: continuous, sigma_t = t / T for a timestep t in (0, T], so T is exactly pure noise and 0
  exactly clean. These are the timesteps of diffusers' flow schedulers.

Everything is computed in float64 on the CPU.
"""

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch

Timestep = TypeVar("Timestep", float, torch.Tensor)

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exponential")
NOISE_SCHEDULES = (*BETA_SCHEDULES, "flow")

# Keeps the last steps of the cosine schedule from destroying everything at once (2102.09672, section 3.2).
MAX_BETA = 0.999

# A table of more levels is no use, and one of billions fills the memory.
MOST_TIMESTEPS = 100_000


def make_betas(schedule: str, num_train_timesteps: int, beta_start: float, beta_end: float) -> torch.Tensor:
    """The betas of a named schedule.

    Args:
        schedule: one of `BETA_SCHEDULES`: "linear" (DDPM, 2006.11239, section 4), "scaled_linear" (latent diffusion,
            2112.10752: linear in the root), "squaredcos_cap_v2" (cosine, 2102.09672, equation 17; takes no notice of
            the two ends), "sigmoid" (GeoDiff, 2203.02923), "exponential" (linear in the logarithm).
        num_train_timesteps: T.
        beta_start, beta_end: ends of the range.

    Returns:
        (T,) float64 in (0, 1).

    Raises:
        ValueError: an unknown schedule.
    """
    steps, dtype = num_train_timesteps, torch.float64
    if schedule == "linear":
        return torch.linspace(beta_start, beta_end, steps, dtype=dtype)
    if schedule == "scaled_linear":
        return torch.linspace(math.sqrt(beta_start), math.sqrt(beta_end), steps, dtype=dtype) ** 2
    if schedule == "squaredcos_cap_v2":
        s = 0.008  # so that the first beta is about the width of a pixel's rounding
        time = torch.arange(steps + 1, dtype=dtype) / steps
        alpha_bar = torch.cos((time + s) / (1 + s) * math.pi / 2) ** 2
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)
    if schedule == "sigmoid":
        return torch.sigmoid(torch.linspace(-6, 6, steps, dtype=dtype)) * (beta_end - beta_start) + beta_start
    if schedule == "exponential":
        return torch.linspace(math.log(beta_start), math.log(beta_end), steps, dtype=dtype).exp()
    raise ValueError(f"beta_schedule: got {schedule!r}, expected one of {', '.join(NOISE_SCHEDULES)}.")


def rescale_zero_terminal_snr(betas: torch.Tensor) -> torch.Tensor:
    """Shift and scale alpha_t so that the last level is exactly pure noise and the first stays as it was.

    Args:
        betas: (T,).

    Returns:
        (T,) betas, the last of which is 1.

    Source: 2305.08891, algorithm 1.
    """
    alpha = torch.cumprod(1 - betas, dim=0).sqrt()
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    alphas_cumprod = alpha**2
    return 1 - torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])


def log_snr(alpha_t: torch.Tensor, sigma_t: torch.Tensor) -> torch.Tensor:
    """Logarithm of the signal-to-noise ratio alpha_t^2 / sigma_t^2; +inf is clean, -inf is pure noise."""
    return 2 * (alpha_t.log() - sigma_t.log())


def levels_from_log_snr(log_snr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse of `log_snr` under alpha_t^2 + sigma_t^2 = 1: the pair (alpha_t, sigma_t)."""
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


class NoisePath(Protocol):
    """alpha_t and sigma_t of every timestep, and the way back.

    Attributes:
        clean_timestep: the timestep that stands for clean data; the cleanest of the T levels is the next one.
        num_train_timesteps: T.
    """

    clean_timestep: int
    num_train_timesteps: int

    def levels(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (alpha_t, sigma_t), float64, of timesteps of any shape; (1, 0) at `clean_timestep`."""

    def level(self, timestep: float) -> tuple[float, float]:
        """The same of one timestep, as numbers: samplers ask at every step, and small tensors are slow."""

    def timestep_at(self, log_snr: torch.Tensor) -> torch.Tensor:
        """Inverse of `log_snr(*levels(t))`; the nearest level where the path is a table."""

    def timesteps_of(self, time: torch.Tensor) -> torch.Tensor:
        """Timesteps for training of times in [0, 1), 0 the cleanest."""


class TablePath:
    """Variance preserving: (T,) betas."""

    clean_timestep = -1

    def __init__(self, betas: torch.Tensor):
        self.num_train_timesteps = len(betas)
        self.alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        self.alpha, self.sigma = self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()
        # With clean data in the first place, where timestep -1 is looked up.
        self._alpha, self._sigma = torch.cat([torch.ones(1), self.alpha]), torch.cat([torch.zeros(1), self.sigma])
        self._numbers = list(zip(self._alpha.tolist(), self._sigma.tolist(), strict=True))

    def levels(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        places = timesteps.long() - self.clean_timestep
        return self._alpha[places], self._sigma[places]

    def level(self, timestep: float) -> tuple[float, float]:
        return self._numbers[int(timestep) - self.clean_timestep]

    def timestep_at(self, log_snr: torch.Tensor) -> torch.Tensor:
        # Through alpha_t, because the log-SNR of a last level that is pure noise is infinite. alpha descends with t.
        alpha = levels_from_log_snr(log_snr.double())[0]
        middles = (self.alpha[1:] + self.alpha[:-1]) / 2
        return self.num_train_timesteps - 1 - torch.searchsorted(middles.flip(0), alpha)

    def timesteps_of(self, time: torch.Tensor) -> torch.Tensor:
        return (time * self.num_train_timesteps).long().clamp(max=self.num_train_timesteps - 1)


class FlowPath:
    """Rectified flow (2209.03003): alpha_t = 1 - t / T, sigma_t = t / T, for real t."""

    clean_timestep = 0

    def __init__(self, num_train_timesteps: int):
        self.num_train_timesteps = num_train_timesteps

    def levels(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.level(timesteps.double())

    def level(self, timestep: Timestep) -> tuple[Timestep, Timestep]:
        sigma = timestep / self.num_train_timesteps
        return 1 - sigma, sigma

    def timestep_at(self, log_snr: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(-log_snr.double() / 2) * self.num_train_timesteps

    def timesteps_of(self, time: torch.Tensor) -> torch.Tensor:
        return time * self.num_train_timesteps


def make_path(
    schedule: str,
    num_train_timesteps: int,
    beta_start: float,
    beta_end: float,
    trained_betas: Sequence[float] | None,
    rescale_betas_zero_snr: bool,
) -> NoisePath:
    """The path that a scheduler's config describes; arguments as in diffusers' schedulers.

    "flow" has no betas and ends in pure noise, rescaled or not.

    Raises:
        ValueError: an unknown schedule, betas of 0 or less, or as many `trained_betas` as there are no timesteps for.
    """
    if not 1 <= num_train_timesteps <= MOST_TIMESTEPS:
        raise ValueError(f"num_train_timesteps: got {num_train_timesteps:,}, expected 1 to {MOST_TIMESTEPS:,}.")
    if trained_betas is not None:
        given = len(trained_betas)
        if given != num_train_timesteps:
            raise ValueError(
                f"trained_betas: got {given} for num_train_timesteps = {num_train_timesteps}; give one each."
            )
        betas = torch.as_tensor(trained_betas, dtype=torch.float64)
    elif schedule == "flow":
        return FlowPath(num_train_timesteps)
    else:
        betas = make_betas(schedule, num_train_timesteps, beta_start, beta_end)
    if not bool((betas > 0).all()):  # a level without noise has nothing to solve for
        raise ValueError(
            f"betas: got values from {float(betas.min()):g} to {float(betas.max()):g}, expected all above 0; change "
            "beta_start and beta_end, or trained_betas."
        )
    return TablePath(rescale_zero_terminal_snr(betas) if rescale_betas_zero_snr else betas)
