"""From images to what a denoiser works on, and back: pixels as they are, or the latents of an autoencoder.

C channels, H W height and width.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor, is_valid_image

from .images import to_unit


class PixelCodec:
    """For a denoiser of pixels: its latents are the images, in [-1, 1]."""

    scale_factor = 1

    def __init__(self, channels: int):
        self.channels = channels

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images."""
        return images

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the latents."""
        return latents


class LatentCodec:
    """For a denoiser of an autoencoder's latents, brought to zero mean and unit variance.

    `latents = (z - mean) * scale / std`, with the autoencoder's `scaling_factor` as scale, its `shift_factor` (one
    number) or `latents_mean` (one a channel) as mean, and `latents_std` as std.

    Args:
        vae: `AutoencoderKL` or `AutoencoderTiny` of diffusers.

    Source: 2112.10752, appendix G, for the scale.
    """

    def __init__(self, vae: Any):
        c = vae.config
        self._vae, self.channels = vae, c.in_channels
        self.scale_factor = 2 ** (len(c.get("block_out_channels") or c.encoder_block_out_channels) - 1)
        mean, std = c.get("latents_mean"), c.get("latents_std")
        self._mean = self._per_channel(mean if mean is not None else c.get("shift_factor") or 0.0)
        self._spread = self._per_channel(std if std is not None else 1.0) / (c.get("scaling_factor") or 1.0)

    def _per_channel(self, numbers: Any) -> torch.Tensor:
        return torch.as_tensor(numbers, dtype=torch.float32, device=self._vae.device).reshape(1, -1, 1, 1)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return latents (B, C', H', W') float32 of images (B, C, H, W) in [-1, 1]: the mode of the posterior."""
        said = self._vae.encode(images.to(self._vae.dtype))
        # AutoencoderTiny is no distribution, and names its latents otherwise.
        z = said.latent_dist.mode() if hasattr(said, "latent_dist") else said.latents
        return (z.float() - self._mean) / self._spread

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return images (B, C, H, W) float32 of latents."""
        z = latents.float() * self._spread + self._mean
        return self._vae.decode(z.to(self._vae.dtype)).sample.float()


@lru_cache
def image_processor(channels: int) -> VaeImageProcessor:
    """Return diffusers' reader and writer of images, for images of so many channels."""
    return VaeImageProcessor(vae_scale_factor=1, do_convert_grayscale=channels == 1, do_convert_rgb=channels == 3)


def unit_images(images: Any, name: str = "image") -> Any:
    """Return images with values in [0, 1], as diffusers' `VaeImageProcessor` expects them.

    Args:
        images: PIL, array or tensor, one or a list. Arrays are (H, W), (B, H, W), (H, W, C) or (B, H, W, C), tensors
            (H, W), (B, H, W), (C, H, W) or (B, C, H, W); bytes are 0 to 255, booleans 0 or 1, floats in [0, 1].
        name: of the argument, for messages.

    Raises:
        ValueError: floats outside [0, 1], numbers of another kind, images of several sizes, or none.
    """
    if isinstance(images, list | tuple) and images:
        read = [unit_images(image, name) for image in images]
        shapes = {image.shape if isinstance(image, torch.Tensor) else None for image in read}
        if len(shapes) > 1:
            raise ValueError(
                f"{name}: got images of several sizes or kinds, expected arrays of one size, or PIL images."
            )
        return torch.cat(read) if None not in shapes else read
    if isinstance(images, np.ndarray):
        if images.dtype.kind not in "bufi":
            raise ValueError(f"{name}: got {images.dtype}, expected uint8 (0 to 255), booleans, or floats in [0, 1].")
        channels_last = images.ndim == 4 or (images.ndim == 3 and images.shape[2] in (1, 2, 3, 4))
        images = torch.from_numpy(np.ascontiguousarray(images))
        images = images.movedim(-1, -3) if channels_last else images
        images = images[None] if channels_last and images.ndim == 3 else images
    if not isinstance(images, torch.Tensor) and is_valid_image(images):  # one of PIL
        if 0 in images.size or images.mode == "F":  # Pillow cuts floats to whole numbers
            raise ValueError(f"{name}: got mode {images.mode} and size {images.size}, expected bytes; pass an array.")
        return images
    if not isinstance(images, torch.Tensor) or images.ndim not in (2, 3, 4) or not images.numel():
        got = tuple(images.shape) if isinstance(images, torch.Tensor) else repr(images)[:60]
        raise ValueError(f"{name}: got {got}, expected a PIL image, array or tensor of 2 to 4 dimensions, or a list.")
    if images.layout is not torch.strided or images.is_meta:
        raise ValueError(f"{name}: got a tensor without all its values, expected a dense one.")
    if images.dtype == torch.uint8:
        images = to_unit(images)
    elif images.dtype == torch.bool:
        images = images.float()
    elif not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise ValueError(f"{name}: got {kind}, expected uint8 (0 to 255), booleans, or floats in [0, 1].")
    elif not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):  # a little beyond is rounding
        raise ValueError(
            f"{name}: got values from {float(images.min()):g} to {float(images.max()):g}, expected floats in [0, 1]; "
            "pass images / 2 + 0.5 for those in [-1, 1], and uint8 for bytes."
        )
    if images.ndim == 3:
        return images[None] if images.shape[0] in (1, 3) else images[:, None]
    return images[None, None] if images.ndim == 2 else images
