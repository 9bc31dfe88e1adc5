"""How a conditional and an unconditional prediction become one. Pure functions."""

import torch


def classifier_free_guidance(cond: torch.Tensor, uncond: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """uncond + guidance_scale * (cond - uncond).

    1 is exactly `cond` and 0 exactly `uncond`, which is why this is a lerp: it never subtracts at its two ends. The
    paper's w is `guidance_scale - 1`.

    Source: 2207.12598, equation 6.
    """
    return torch.lerp(uncond, cond, guidance_scale)
