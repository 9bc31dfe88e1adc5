"""What the denoiser is asked, and how wrong its answer is."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..config import ObjectiveConfig
from ..data import ImageData, batch_indices, counter_generator
from ..schedulers.noise import NoisePath
from ..schedulers.prediction import make_target
from ..schedulers.scheduling_utils import DiscreteScheduler
from .captions import CaptionSource
from .timesteps import sample_times
from .weighting import loss_weights


@dataclass(frozen=True)
class NoisyBatch:
    """All that is random in one step, on the CPU.

    Attributes:
        indices: (B,) which images.
        x_0: (B, C, H, W) float32 in [-1, 1].
        noise: (B, C, H, W) float32, unit variance.
        timesteps: (B,) on the noise path: int64, or float32 for a flow.
        class_labels: (B,) int64; dropped ones are the null class.
        text: what a model of captions gets in place of the labels, by the names of its arguments, (B, …) each; dropped
            ones are "". None for a model of classes.
    """

    indices: torch.Tensor
    x_0: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    class_labels: torch.Tensor
    text: dict[str, torch.Tensor] | None = None

    def take(self, chosen: torch.Tensor | slice) -> "NoisyBatch":
        """The part of some images."""
        names = [name for name in NoisyBatch.__dataclass_fields__ if name != "text"]
        text = self.text and {name: tensor[chosen] for name, tensor in self.text.items()}
        return NoisyBatch(**{name: getattr(self, name)[chosen] for name in names}, text=text)

    @property
    def conditions(self) -> dict[str, torch.Tensor]:
        """What the model is told of the images."""
        return {"class_labels": self.class_labels} if self.text is None else self.text


def noisy_batch(
    data: ImageData,
    step: int,
    batch_size: int,
    seed: int,
    path: NoisePath,
    label_dropout: float,
    objective: ObjectiveConfig,
    captions: CaptionSource | None = None,
) -> NoisyBatch:
    """The global batch of a step, a function of (seed, step) alone.

    Args:
        data: the images.
        step: from 0.
        batch_size: images over all processes; each process takes its slice.
        seed: of the run.
        path: turns times into timesteps.
        label_dropout: probability that an image's label becomes the null class (2207.12598, algorithm 1), drawn for
            each image by itself.
        objective: how times are drawn.
        captions: of the same images, for a model of captions; dropped ones are those whose label would have been.
    """
    generator = counter_generator(seed, "step", step)
    indices = batch_indices(step, batch_size, len(data), seed)
    x_0 = data.x_0(indices)
    noise = torch.randn(x_0.shape, generator=generator)
    timesteps = timesteps_of(sample_times(objective, batch_size, generator), path)
    dropped = torch.rand(batch_size, generator=generator) < label_dropout
    labels = data.labels[indices].masked_fill(dropped, len(data.class_names))
    text = captions.draw(indices, dropped, counter_generator(seed, "captions", step)) if captions else None
    return NoisyBatch(indices, x_0, noise, timesteps, labels, text)


def denoising_loss(
    model: nn.Module, scheduler: DiscreteScheduler, batch: NoisyBatch, device: torch.device, objective: ObjectiveConfig
) -> torch.Tensor:
    """Weighted squared error of the prediction against the scheduler's target, averaged over pixels.

    Returns:
        (B,) float32.

    Source: 2006.11239, equation 14, with the target of the scheduler's `prediction_type` and the weight of the
    objective.
    """
    x_0, noise = batch.x_0.to(device), batch.noise.to(device)
    conditions = {name: tensor.to(device) for name, tensor in batch.conditions.items()}
    levels = scheduler.levels(batch.timesteps, like=x_0)
    target = make_target(scheduler.config.prediction_type, x_0, noise, *levels)
    x_t = scheduler.add_noise(x_0, noise, batch.timesteps)
    prediction = model(x_t, batch.timesteps, **conditions).sample
    errors = F.mse_loss(prediction.float(), target, reduction="none").flatten(1).mean(dim=1)
    return errors * level_weights(scheduler, batch.timesteps, objective).to(device)


def timesteps_of(times: torch.Tensor, path: NoisePath) -> torch.Tensor:
    """Timesteps of (B,) times in [0, 1): int64, or float32 for a flow."""
    timesteps = path.timesteps_of(times)
    return timesteps.float() if timesteps.is_floating_point() else timesteps


def times_of(timesteps: torch.Tensor, path: NoisePath) -> torch.Tensor:
    """How far timesteps are on the way from data, 0, to the noisiest, 1: (B,) float32."""
    return ((timesteps - path.clean_timestep) / path.num_train_timesteps).float()


def check_objective(scheduler: DiscreteScheduler, objective: ObjectiveConfig) -> None:
    """Refuse what could not be trained or sampled, before anything is written, and not when a rare level is drawn.

    Raises:
        ValueError: a weighting without a value at some level; or epsilon on a path that ends in pure noise, where the
            noise says nothing about x_0 (2305.08891, section 3.1).
    """
    path = scheduler.path
    noisiest = torch.tensor([path.clean_timestep + path.num_train_timesteps])
    if scheduler.config.prediction_type == "epsilon" and path.levels(noisiest)[0] == 0:
        raise ValueError(
            "scheduler.prediction_type: got 'epsilon' on a path that ends in pure noise, where the noise says nothing "
            "about x_0; use v_prediction (flow_prediction on a flow), or set scheduler.rescale_betas_zero_snr=false."
        )
    level_weights(scheduler, noisiest, objective)


def level_weights(scheduler: DiscreteScheduler, timesteps: torch.Tensor, objective: ObjectiveConfig) -> torch.Tensor:
    """The objective's weights of (B,) timesteps: (B,) float32 on the CPU; computed in float64."""
    levels = scheduler.path.levels(timesteps)
    return loss_weights(objective, scheduler.config.prediction_type, *levels).float()
