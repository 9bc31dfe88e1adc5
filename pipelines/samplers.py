"""What steps a call takes, and schedulers by their short names.

A sampler belongs to one call: one of our tables of numbers, or a copy of a scheduler that somebody else wrote. The
scheduler that it was made from stays as it was.
"""

import copy
import inspect
from collections.abc import Mapping
from typing import Any, Protocol

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from .. import schedulers
from ..schedulers.coefficients import Walk
from ..schedulers.tensors import fresh_noise
from .foreign import ForeignSampler, follows_flow, foreign_scheduler
from .options import Generators, SamplingOptions


class Sampler(Protocol):
    """The steps of one call.

    Attributes:
        scheduler: the call's own, with its grid set.
        timesteps: (n,) of the steps that are taken, on the device.
        skipped, total: steps that the strength leaves out, and those of the whole way; a step is a forward here.
        prediction_type: what the denoiser is to predict.
        num_channels: of the prediction, for C channels of x: more only for a learned variance.
    """

    scheduler: Any
    timesteps: torch.Tensor
    skipped: int
    total: int
    prediction_type: str

    def num_channels(self, channels: int) -> int:
        """Return how many channels of the prediction are used, for x of `channels`."""

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        """Return the sample that a call from pure noise of unit variance starts at."""

    def noised(self, x_0: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """Return clean data with the noise of a step's beginning; none after the last step."""

    def model_input(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """Return the sample at the scale that the denoiser knows."""

    def step(self, output: torch.Tensor, x: torch.Tensor, step: int, generators: Generators) -> torch.Tensor:
        """Return the sample after a step, given the prediction."""


class PlanSampler:
    """Runs the table of numbers of one of our schedulers; see `Sampler`."""

    def __init__(self, scheduler: Any, options: SamplingOptions, device: torch.device):
        steps = options.num_inference_steps
        grid = scheduler.make_grid(steps) if options.timesteps is None else scheduler.make_grid(None, options.timesteps)
        self.total = len(grid)
        self.skipped = self.total - int(self.total * options.strength)
        eta = {"eta": options.eta} if options.eta else {}
        self._plan = scheduler.make_plan(grid.tolist(), self.skipped, **eta)
        self._limit, self._walk = scheduler.limit, Walk()
        self.timesteps = grid[self.skipped :].to(device)
        self.prediction_type = scheduler.config.prediction_type
        self.scheduler = copy.copy(scheduler)
        self.scheduler.timesteps, self.scheduler.num_inference_steps = grid.to(device), self.total

    def num_channels(self, channels: int) -> int:
        return channels

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def noised(self, x_0: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        if step == len(self.timesteps):
            return x_0
        return self.scheduler.add_noise(x_0, noise, self.timesteps[step].reshape(1))

    def model_input(self, x: torch.Tensor, step: int) -> torch.Tensor:
        return x

    def step(self, output: torch.Tensor, x: torch.Tensor, step: int, generators: Generators) -> torch.Tensor:
        plan = self._plan[step]
        z = fresh_noise(x, generators) if plan.noise else None
        return self._walk.step(plan, output, x, self._limit, z)[0]


def make_sampler(scheduler: Any, options: SamplingOptions, device: torch.device) -> Sampler:
    """Return the sampler of a call.

    Args:
        scheduler: ours, diffusers', or one that speaks their interface; it is not changed.
        options: of the call.
        device: where the denoiser is.

    Raises:
        ValueError: options that the scheduler does not take.
    """
    if options.eta and "eta" not in inspect.signature(scheduler.step).parameters:
        raise ValueError(f"eta: got {options.eta}, but {type(scheduler).__name__} has no eta; pass 0.")
    # A step that was put in the place of the class's own is run, too.
    if getattr(scheduler, "runs_by_plan", False) and "step" not in vars(scheduler):
        return PlanSampler(scheduler, options, device)
    return ForeignSampler(scheduler, options, device)


# Of diffusers' classes this one knows a flow as well; `foreign_scheduler` tells it to follow its sigmas.
FOLLOWS_A_FLOW = "dpm++"


def replace_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline the named scheduler, with the levels and prediction type of its own.

    Raises:
        ValueError: as `make_scheduler`.
    """
    pipeline.scheduler = make_scheduler(name, pipeline.scheduler.config)


def make_scheduler(name: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """The named scheduler, for a model that was trained with the levels and prediction type of a scheduler's config.

    Raises:
        ValueError: an unknown name, or one that does not fit the path of the model.
    """
    if name not in schedulers.SCHEDULERS:
        raise ValueError(f"scheduler: got {name!r}, expected one of {', '.join(schedulers.SCHEDULERS)}.")
    if name in schedulers.OUR_SCHEDULERS:
        return getattr(schedulers, schedulers.SCHEDULERS[name]).from_config(config)
    is_flow = follows_flow(config)
    fitting = [
        n
        for n in schedulers.SCHEDULERS
        if n in schedulers.OUR_SCHEDULERS or n.startswith("flow-") == is_flow or (is_flow and n == FOLLOWS_A_FLOW)
    ]
    if name not in fitting:
        path = "a flow" if is_flow else "a variance-preserving path"
        raise ValueError(f"scheduler: got {name!r} for a model of {path}, expected one of {', '.join(fitting)}.")
    return foreign_scheduler(getattr(diffusers, schedulers.SCHEDULERS[name]), config)
