"""A call seen from inside: what the denoiser was shown and what it said, at every step.

C channels, H W height and width of one image, n steps.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..evaluation.classifier import DigitClassifier, classify
from ..pipelines.images import to_bytes
from ..schedulers.noise import NoisePath, log_snr
from ..schedulers.prediction import split_prediction

# Images that the classifier looks at together: 600 would take 40 MB.
AT_ONCE = 32


@dataclass(frozen=True)
class Moment:
    """One image at one step; tensors are (C, H, W) float32, images in about [-1, 1].

    Attributes:
        timestep: t.
        alpha, sigma, log_snr: the level of x_t.
        x_t: what the denoiser was shown.
        x_0, noise: what its guided prediction says they are.
        direction: x_0 under the condition minus x_0 without; None where guidance is off and only one was asked for.
    """

    timestep: float
    alpha: float
    sigma: float
    log_snr: float
    x_t: torch.Tensor
    x_0: torch.Tensor
    noise: torch.Tensor
    direction: torch.Tensor | None


@dataclass(frozen=True)
class Glimpse:
    """A moment as the page shows it: pixels take a quarter of the memory.

    Attributes:
        timestep, alpha, sigma, log_snr: as of the moment.
        guided: whether it has a direction.
        pixels: (4, C, H, W) uint8, its panels.
    """

    timestep: float
    alpha: float
    sigma: float
    log_snr: float
    guided: bool
    pixels: torch.Tensor

    @property
    def panels(self) -> torch.Tensor:
        """(4, C, H, W) in [0, 1]."""
        return self.pixels.float() / 255


class Recorder:
    """Looks over the denoiser's shoulder while a pipeline draws one image: a context manager.

    The denoiser's input is x_t at the scale of the noise path, whatever scale the scheduler keeps its own sample at.

    Args:
        pipeline: of the call, without a vae.
        path: noise levels that the denoiser was trained on.

    Raises:
        ValueError: a pipeline that works on latents.
    """

    def __init__(self, pipeline: Any, path: NoisePath):
        if pipeline.vae is not None:
            raise ValueError("model: it works on latents, which are no pictures; look inside a model of pixels.")
        self._denoiser, self._path = pipeline.denoiser, path
        self._prediction_type = pipeline.scheduler.config.get("prediction_type", "flow_prediction")
        self._channels = pipeline.denoiser.config.in_channels
        self.first: Moment | None = None
        self._shown: Any = None

    def __enter__(self) -> "Recorder":
        self._thread = threading.get_ident()  # other drawings share the denoiser
        self._hook = self._denoiser.register_forward_hook(self._look)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hook.remove()

    def _look(self, _: Any, arguments: tuple, output: Any) -> None:
        if threading.get_ident() == self._thread:
            sample, timestep = arguments[:2]
            said = output.sample.detach().float().cpu()[:, : self._channels]
            self._shown = (sample.detach()[0].float().cpu(), timestep.detach().cpu(), list(said))

    def keep(self, model_output: torch.Tensor) -> Moment:
        """The moment of a step, given the guided prediction that the callback was told, (1, C, H, W)."""
        x_t, timestep, said = self._shown
        alpha, sigma = (level.float() for level in self._path.levels(timestep))
        x_0, noise = split_prediction(
            self._prediction_type, model_output[0].detach().float().cpu()[: self._channels], x_t, alpha, sigma
        )
        direction = None
        if len(said) == 2:  # the pipeline asks without the condition first
            uncond, cond = (split_prediction(self._prediction_type, one, x_t, alpha, sigma)[0] for one in said)
            direction = cond - uncond
        level = float(log_snr(alpha, sigma))
        moment = Moment(float(timestep), float(alpha), float(sigma), level, x_t, x_0, noise, direction)
        self.first = self.first or moment
        return moment


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
    level = (moment.timestep, moment.alpha, moment.sigma, moment.log_snr)
    return Glimpse(*level, moment.direction is not None, to_bytes(panels(moment)))


def confidences(classifier: DigitClassifier, moments: Sequence[Glimpse]) -> torch.Tensor:
    """(n, K) the classifier's probability of each class, of the predicted x_0 at each step."""
    few = torch.stack([moment.pixels[1] for moment in moments]).split(AT_ONCE)
    return torch.cat([classify(classifier, images).logits.softmax(dim=1) for images in few])
