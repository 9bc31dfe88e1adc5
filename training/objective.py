"""What the denoiser is asked, and how wrong its answer is."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..data import ImageData, batch_indices, counter_generator
from ..schedulers.prediction import make_target
from ..schedulers.scheduling_utils import DiscreteScheduler


@dataclass(frozen=True)
class Draw:
    """All that is random in one step, on the CPU.

    Attributes:
        indices: (B,) which images.
        x_0: (B, C, H, W) float32 in [-1, 1].
        noise: (B, C, H, W) float32, unit variance.
        timesteps: (B,) int64 in [0, T).
        class_labels: (B,) int64; dropped ones are the null class.
    """

    indices: torch.Tensor
    x_0: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    class_labels: torch.Tensor


def draw_batch(
    data: ImageData, step: int, batch_size: int, seed: int, num_train_timesteps: int, label_dropout: float
) -> Draw:
    """The global batch of a step, a function of (seed, step) alone.

    Args:
        data: the images.
        step: from 0.
        batch_size: images over all processes; each process takes its slice.
        seed: of the run.
        num_train_timesteps: T; timesteps are uniform (2006.11239, algorithm 1).
        label_dropout: probability that an image's label becomes the null class (2207.12598, algorithm 1), drawn for
            each image by itself.
    """
    generator = counter_generator(seed, "step", step)
    indices = batch_indices(step, batch_size, len(data), seed)
    x_0 = data.x_0(indices)
    noise = torch.randn(x_0.shape, generator=generator)
    timesteps = torch.randint(num_train_timesteps, (batch_size,), generator=generator)
    dropped = torch.rand(batch_size, generator=generator) < label_dropout
    null_class = len(data.class_names)
    return Draw(indices, x_0, noise, timesteps, data.labels[indices].masked_fill(dropped, null_class))


def denoising_loss(model: nn.Module, scheduler: DiscreteScheduler, draw: Draw, device: torch.device) -> torch.Tensor:
    """Squared error of the prediction against the scheduler's target, averaged over pixels.

    Returns:
        (B,) float32.

    Source: 2006.11239, equation 14, with the target of the scheduler's `prediction_type`.
    """
    x_0, noise, class_labels = (tensor.to(device) for tensor in (draw.x_0, draw.noise, draw.class_labels))
    alpha_t, sigma_t = scheduler.levels(draw.timesteps, like=x_0)
    x_t = alpha_t * x_0 + sigma_t * noise
    target = make_target(scheduler.config.prediction_type, x_0, noise, alpha_t, sigma_t)
    prediction = model(x_t, draw.timesteps, class_labels=class_labels).sample
    return F.mse_loss(prediction.float(), target, reduction="none").flatten(1).mean(dim=1)
