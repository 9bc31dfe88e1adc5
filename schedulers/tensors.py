"""What a step does to tensors beyond its numbers: fresh noise, and dynamic thresholding."""

import torch
from diffusers.utils.torch_utils import randn_tensor


def fresh_noise(sample: torch.Tensor, generator: torch.Generator | list[torch.Generator] | None) -> torch.Tensor:
    """Return noise of unit variance like a sample, from one generator or one per image."""
    return randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)


def dynamic_threshold(x_0: torch.Tensor, ratio: float, max_value: float) -> torch.Tensor:
    """Clip each image at its own quantile s of absolute values, 1 <= s <= max_value, and divide by s.

    Source: Imagen, 2205.11487, section 2.3.
    """
    s = torch.quantile(x_0.flatten(1).abs().float(), ratio, dim=1).clamp(1, max_value)
    s = s.to(x_0.dtype).reshape((-1,) + (1,) * (x_0.dim() - 1))
    return x_0.clamp(-s, s) / s
