"""A call seen from inside: what the denoiser was shown and what it said, at every step.

C channels, H W height and width of one image, n steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..evaluation.classifier import DigitClassifier, classify
from ..pipelines.images import to_bytes, to_unit
from ..schedulers.noise import NoisePath, log_snr
from ..schedulers.prediction import split_prediction

# Images that the classifier looks at together: 600 would take 40 MB.
AT_ONCE = 32


@dataclass(frozen=True)
class Level:
    """The noise level of a step: t, alpha_t, sigma_t and the logarithm of the signal-to-noise ratio."""

    timestep: float
    alpha: float
    sigma: float
    log_snr: float


@dataclass(frozen=True)
class Moment:
    """One image at one step; tensors are (C, H, W) float32, images in about [-1, 1].

    Attributes:
        level: of x_t.
        x_t: what the denoiser was shown.
        x_0, noise: what its guided prediction says they are.
        direction: x_0 under the condition minus x_0 without; None where guidance is off and only one was asked for.
    """

    level: Level
    x_t: torch.Tensor
    x_0: torch.Tensor
    noise: torch.Tensor
    direction: torch.Tensor | None


@dataclass(frozen=True)
class Glimpse:
    """A moment as the page shows it: pixels take a quarter of the memory.

    Attributes:
        level: of the moment.
        guided: whether it has a direction.
        pixels: (4, C, H, W) uint8, its panels.
    """

    level: Level
    guided: bool
    pixels: torch.Tensor

    @property
    def panels(self) -> torch.Tensor:
        """(4, C, H, W) in [0, 1]."""
        return to_unit(self.pixels)


def look(pipeline: Any, path: NoisePath, timestep: torch.Tensor, tensors: dict[str, Any]) -> Moment:
    """Return what a pipeline's callback saw of one image at a step.

    The denoiser's input is x_t at the scale of the noise path, whatever scale the scheduler keeps its own sample at.

    Args:
        pipeline: of the call, without a vae.
        path: noise levels that the denoiser was trained on.
        timestep, tensors: of the callback, the tensors by `TENSOR_INPUTS`.

    Raises:
        ValueError: a pipeline that works on latents.
    """
    if pipeline.vae is not None:
        raise ValueError("model: it works on latents, which are no pictures; look inside a model of pixels.")
    x_t = tensors["model_input"][0].float().cpu()
    alpha, sigma = (level.float() for level in path.levels(timestep.cpu()))
    prediction_type = pipeline.scheduler.config.get("prediction_type", "flow_prediction")

    def split(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return split_prediction(prediction_type, tensors[name][0].float().cpu()[: len(x_t)], x_t, alpha, sigma)

    guided = tensors["cond_output"] is not None and tensors["weak_output"] is not None
    direction = split("cond_output")[0] - split("weak_output")[0] if guided else None
    level = Level(float(timestep), float(alpha), float(sigma), float(log_snr(alpha, sigma)))
    return Moment(level, x_t, *split("model_output"), direction)


def panels(moment: Moment) -> torch.Tensor:
    """(4, C, H, W) in [0, 1]: x_t, x_0, the noise and the direction, the last two around a middle grey.

    Noise is shown from -3 to 3 standard deviations, the direction up to its largest value.
    """
    direction = torch.zeros_like(moment.x_t) if moment.direction is None else moment.direction
    largest = direction.abs().max().clamp(min=1e-6)
    shown = torch.stack([moment.x_t, moment.x_0, moment.noise / 3, direction / largest])
    return (shown / 2 + 0.5).clamp(0, 1)


def glimpse(moment: Moment) -> Glimpse:
    """A moment's level and pictures."""
    return Glimpse(moment.level, moment.direction is not None, to_bytes(panels(moment)))


def confidences(classifier: DigitClassifier, moments: Sequence[Glimpse]) -> torch.Tensor:
    """(n, K) the classifier's probability of each class, of the predicted x_0 at each step."""
    few = torch.stack([moment.pixels[1] for moment in moments]).split(AT_ONCE)
    return torch.cat([classify(classifier, images).logits.softmax(dim=1) for images in few])
