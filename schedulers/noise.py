"""How much noise there is at each timestep.

One forward process for everything here: x_t = alpha_t * x_0 + sigma_t * noise, with alpha_t^2 + sigma_t^2 = 1 (variance
preserving). A schedule is the list of betas, beta_t = 1 - alpha_t^2 / alpha_{t-1}^2; `alphas_cumprod` is alpha_t^2.
Timestep 0 is the cleanest, T - 1 the noisiest. Everything is computed in float64 on the CPU.
"""

import math

import torch

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")

# Keeps the last steps of the cosine schedule from destroying everything at once (2102.09672, section 3.2).
MAX_BETA = 0.999


def make_betas(schedule: str, num_train_timesteps: int, beta_start: float, beta_end: float) -> torch.Tensor:
    """The betas of a named schedule.

    Args:
        schedule: one of `BETA_SCHEDULES`: "linear" (DDPM, 2006.11239, section 4), "scaled_linear" (latent diffusion,
            2112.10752: linear in the root), "squaredcos_cap_v2" (cosine, 2102.09672, equation 17; takes no notice of
            the two ends), "sigmoid" (GeoDiff, 2203.02923).
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
    raise ValueError(f"beta_schedule: got {schedule!r}, expected one of {', '.join(BETA_SCHEDULES)}.")


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
