"""Which of the training's timesteps a sampler visits (2305.08891, table 2)."""

import torch

TIMESTEP_SPACINGS = ("leading", "trailing", "linspace")


def make_timesteps(spacing: str, num_inference_steps: int, num_train_timesteps: int, steps_offset: int) -> torch.Tensor:
    """A descending grid of distinct timesteps.

    Args:
        spacing: "leading" starts at the bottom of each interval (and so below pure noise), "trailing" at the top,
            "linspace" has both ends.
        num_inference_steps: n, from 1 to T.
        num_train_timesteps: T.
        steps_offset: added to a "leading" grid, as far as it stays below T.

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
    raise ValueError(f"timestep_spacing: got {spacing!r}, expected one of {', '.join(TIMESTEP_SPACINGS)}.")


def check_timesteps(timesteps: list[int], num_train_timesteps: int) -> torch.Tensor:
    """A user's own grid as (n,) int64, refused unless it descends within [0, T)."""
    grid = torch.as_tensor(timesteps)
    if grid.dim() != 1 or len(grid) == 0 or grid.is_floating_point() or bool((grid[1:] >= grid[:-1]).any()):
        raise ValueError(f"timesteps: got {timesteps}, expected integers in descending order, each once.")
    if grid[0] >= num_train_timesteps or grid[-1] < 0:
        raise ValueError(f"timesteps: got {timesteps}, expected values from {num_train_timesteps - 1} down to 0.")
    return grid.long()
