"""Images as people and files want them."""

import numpy as np
import torch
from PIL import Image
from torchvision.utils import make_grid

# Small images are enlarged to about this side: by a whole number and without smoothing, because a reader of a 28x28
# digit wants to see its pixels.
GRID_CELL = 56


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] as uint8 of the same shape on the CPU; rounded, not truncated."""
    return images.detach().float().cpu().clamp(0, 1).mul(255).round().to(torch.uint8)


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """Images of uint8 as float32 in [0, 1] of the same shape: what `to_bytes` undoes."""
    return images.float() / 255


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """(N, C, H, W) in [0, 1] to uint8 (N, H, W) for one channel, (N, H, W, C) for more."""
    array = to_bytes(images).permute(0, 2, 3, 1).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def image_grid(images: torch.Tensor, columns: int, scale: int | None = None) -> Image.Image:
    """One picture of all images, row by row.

    Args:
        images: (N, C, H, W) in [0, 1].
        columns: images per row.
        scale: side of the square that each pixel becomes; None makes each image about `GRID_CELL` wide.
    """
    scale = scale or max(1, round(GRID_CELL / images.shape[-1]))
    grid = make_grid(images.detach().float().cpu(), nrow=columns, padding=1, pad_value=0.25)  # (3, H', W')
    picture = Image.fromarray(to_uint8(grid[None])[0])
    if images.shape[1] == 1:
        picture = picture.convert("L")
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
