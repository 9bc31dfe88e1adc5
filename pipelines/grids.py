"""The timesteps of a call, by any scheduler: ours, diffusers', or one that speaks their interface."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from ..schedulers.noise import log_snr, make_path
from ..schedulers.spacing import DIFFUSERS_SPACINGS, OUR_SPACINGS, TIMESTEP_SPACINGS, make_timesteps


def known_spacings(scheduler: Any) -> tuple[str, ...]:
    """Values of `timestep_spacing` that a call follows; none where the scheduler has no choice."""
    if not _has_spacings(scheduler):
        return ()
    return TIMESTEP_SPACINGS if takes_timesteps(scheduler) else DIFFUSERS_SPACINGS


def set_timesteps(
    scheduler: Any, num_inference_steps: int, timesteps: Sequence[float] | None, device: torch.device
) -> torch.Tensor:
    """Fix the grid of a scheduler.

    The config that ours hand over by `from_config` may name a spacing that diffusers' classes do not know. Those that
    take timesteps get its timesteps; the others are spaced as "trailing", with a warning.

    Args:
        scheduler: any.
        num_inference_steps: how many, where `timesteps` is None.
        timesteps: a grid of one's own.
        device: where to keep them.

    Returns:
        (n,) the scheduler's timesteps.

    Raises:
        ValueError: `timesteps` for a scheduler that takes none, or what its own method refuses.
    """
    if timesteps is None and scheduler.config.get("timestep_spacing") in OUR_SPACINGS:
        timesteps = _foreign_grid(scheduler, num_inference_steps)
    if timesteps is None:
        scheduler.set_timesteps(num_inference_steps, device=device)
    elif takes_timesteps(scheduler):
        scheduler.set_timesteps(timesteps=timesteps, device=device)
    else:
        raise ValueError(f"timesteps: {type(scheduler).__name__} takes no custom timesteps; pass None.")
    return scheduler.timesteps


def _foreign_grid(scheduler: Any, num_inference_steps: int) -> list[int] | None:
    """The grid of a spacing of ours for a class of diffusers'; None for one that can space its steps itself."""
    if not type(scheduler).__module__.startswith("diffusers.") or not _has_spacings(scheduler):
        return None
    if not takes_timesteps(scheduler):
        warnings.warn(
            f"timestep_spacing: diffusers' {type(scheduler).__name__} knows no "
            f"{scheduler.config.timestep_spacing!r} and takes no timesteps; it is spaced as 'trailing'.",
            stacklevel=4,
        )
        scheduler.register_to_config(timestep_spacing="trailing")
        return None
    c = scheduler.config
    path = make_path(
        *(c.beta_schedule, c.num_train_timesteps, c.beta_start, c.beta_end, c.trained_betas),
        rescale_betas_zero_snr=c.get("rescale_betas_zero_snr", False),
    )
    snr = log_snr(*path.levels(torch.arange(c.num_train_timesteps)))
    return make_timesteps(c.timestep_spacing, num_inference_steps, len(snr), snr=snr).tolist()


def _has_spacings(scheduler: Any) -> bool:
    # Its config may hold what another class knew.
    return "timestep_spacing" in inspect.signature(type(scheduler).__init__).parameters


def takes_timesteps(scheduler: Any) -> bool:
    """Whether a scheduler, or a class of them, takes a grid of one's own."""
    return "timesteps" in inspect.signature(scheduler.set_timesteps).parameters
