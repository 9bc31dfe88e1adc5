"""What a denoiser is conditioned on: the noise level, class, gist of a text, and for the DiT the place of each patch.

Dimension letters: B batch, D width, L tokens, H W height and width in patches.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

# Longest wavelength of the sinusoids, in timesteps (Attention Is All You Need, section 3.5; DDPM's code uses the same).
MAX_PERIOD = 10_000


def check_sizes(**sizes: int | None) -> None:
    """Refuse a constructor argument that counts something and is not a whole number from 1 up; None is left alone."""
    for name, size in sizes.items():
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ValueError(f"{name}: got {size!r}, expected a whole number from 1 up.")


def timestep_embedding(timestep: torch.Tensor, dim: int) -> torch.Tensor:
    """Sinusoidal embedding of a noise level.

    Args:
        timestep: (B,) integer or real timesteps in [0, num_train_timesteps).
        dim: even width of the embedding.

    Returns:
        (B, dim) float32: `dim / 2` cosines followed by as many sines, the fastest first. It is always computed in
        float32, because float16 cannot tell 998 from 999 after the multiplication.
    """
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timestep.device) / half
    angles = timestep.float()[:, None] * torch.exp(-math.log(MAX_PERIOD) * exponents)  # (B, D/2)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)  # (B, D)


def sincos_position_embedding(height: int, width: int, dim: int) -> torch.Tensor:
    """Fixed 2-D position of each patch: half of the channels encode the row, half the column.

    Args:
        height, width: size of the grid in patches.
        dim: width of the embedding, a multiple of 4.

    Returns:
        (height * width, dim) float32, rows first.

    Source: DiT (2212.09748), appendix A, after MAE (2111.06377).
    """
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    halves = [timestep_embedding(axis.flatten(), dim // 2) for axis in (rows, columns)]
    return torch.cat(halves, dim=-1)


def gist_of_tokens(tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The gist (B, D) of a text: the mean of its tokens.

    Args:
        tokens: (B, L, D).
        mask: (B, L), nonzero where a token may be read; None reads all.
    """
    weights = torch.ones_like(tokens[..., :1]) if mask is None else mask.to(tokens.dtype)[..., None]
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class ConditionEmbedding(nn.Module):
    """Noise level plus class plus the gist of a text, as the one vector that modulates every block.

    The table holds one row more than there are classes: row `num_classes` is the null class, which stands for "no
    label" in classifier-free guidance (2207.12598, section 3.2). Rows keep their unit variance from PyTorch: with the
    0.02 of DiT's reference the UNet had not learned what a class is after 400 steps (CHANGELOG, 0.1.0).

    The gist of the text is added, as Imagen adds its pooled text (2205.11487, section 2.3): which digit it is concerns
    every place of the image, and cross-attention stands at the coarse ones alone.

    Args:
        dim: width of the vector.
        num_classes: number of classes; None for a model that knows no labels.
        text_dim: width of the text tokens; None for a model without text.
        frequency_dim: width of the sinusoids that feed the two layers; even.
    """

    def __init__(self, dim: int, num_classes: int | None, text_dim: int | None = None, frequency_dim: int = 128):
        super().__init__()
        self.frequency_dim = frequency_dim
        self.num_classes = num_classes
        self.time_in = nn.Linear(frequency_dim, dim)
        self.time_out = nn.Linear(dim, dim)
        self.class_table = None if num_classes is None else nn.Embedding(num_classes + 1, dim)
        self.text_in = None if text_dim is None else nn.Linear(text_dim, dim)

    def forward(
        self,
        timestep: torch.Tensor | float,
        class_labels: torch.Tensor | None,
        batch_size: int,
        like: torch.Tensor,
        text: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Embed.

        Args:
            timestep: a number, () or (B,), integer or real.
            class_labels: (B,) ids in [0, num_classes], where `num_classes` is the null class; None is the null class
                for the whole batch.
            batch_size: B.
            like: any tensor of the device and dtype that the result shall have.
            text: (B, L, text_dim) tokens, for a model with text.
            text_mask: (B, L), nonzero where a token may be read; None reads all.

        Returns:
            (B, D).

        Raises:
            ValueError: labels for a model without classes, or a shape that is not (B,).
        """
        # float32 before the move: schedulers may keep float64 timesteps, which mps cannot hold.
        timestep = torch.as_tensor(timestep).float().to(like.device).reshape(-1)
        if timestep.shape[0] not in (1, batch_size):
            raise ValueError(
                f"timestep: got {timestep.shape[0]} values for a batch of {batch_size}; pass one or {batch_size}."
            )
        frequencies = timestep_embedding(timestep.expand(batch_size), self.frequency_dim).to(like.dtype)  # (B, F)
        condition = self.time_out(F.silu(self.time_in(frequencies)))  # (B, D)
        if self.text_in is not None and text is not None:
            condition = condition + self.text_in(gist_of_tokens(text, text_mask))

        if self.class_table is None or self.num_classes is None:
            if class_labels is not None:
                raise ValueError("class_labels: got labels, but this model was built with num_classes=None; pass None.")
            return condition
        if class_labels is None:
            class_labels = torch.full((batch_size,), self.num_classes, device=like.device)
        if class_labels.shape != (batch_size,):
            raise ValueError(
                f"class_labels: got shape {tuple(class_labels.shape)}, expected ({batch_size},): one id per image."
            )
        return condition + self.class_table(class_labels)  # (B, D)


class ClassImages(nn.Module):
    """A learned image for each class, which a denoiser sees beside the noisy one: where the ink of that class may be.

    The vector of `ConditionEmbedding` is the same at every place. By it alone a small network is slow to learn what a
    class looks like, and from much noise it draws a good digit of another one (benchmarks/README.md has what the images
    are worth). The null class has none: its image is zero and stays so, as it is the padding of the table.

    Args:
        num_classes: number of classes; id `num_classes` is the null class.
        channels: channels of an image.
        size: its height and width in pixels.
    """

    def __init__(self, num_classes: int, channels: int, size: int):
        super().__init__()
        self.shape = (channels, size, size)
        self.table = nn.Embedding(num_classes + 1, channels * size**2, padding_idx=num_classes)
        nn.init.zeros_(self.table.weight)

    def forward(self, class_labels: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
        """Images (B, channels, H, W) of `class_labels` (B,), as large as `like` (B, C, H, W); None: no class."""
        if class_labels is None:
            return like.new_zeros(like.shape[0], self.shape[0], *like.shape[-2:])
        images = self.table(class_labels).unflatten(1, self.shape)
        same = images.shape[-2:] == like.shape[-2:]
        return images if same else F.interpolate(images, size=like.shape[-2:], mode="bilinear")


def class_images(num_classes: int | None, channels: int | None, size: int) -> ClassImages | None:
    """The `ClassImages` of a model, or None where `channels` is None.

    Raises:
        ValueError: images of classes for a model that knows none.
    """
    if channels is None:
        return None
    if num_classes is None:
        raise ValueError(f"class_channels: got {channels} for a model with num_classes=None; make both None.")
    return ClassImages(num_classes, channels, size)
