"""Schedulers that others wrote: everything that sets them apart from ours is known here, and nowhere else."""

import copy
import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from ..schedulers.noise import log_snr, make_path
from ..schedulers.spacing import DIFFUSERS_SPACINGS, OUR_SPACINGS, TIMESTEP_SPACINGS, make_timesteps
from .options import Generators, SamplingOptions, shown

# diffusers' classes that sample the models here, by `python -m text2digit.evaluation.scheduler_table`: on a
# variance-preserving path, and on a flow. Its other classes are for tokens, video, consistency models and the like.
ON_A_PATH = (
    *("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep", "DPMSolverMultistep", "DPMSolverSDE"),
    *("DPMSolverSinglestep", "EulerAncestralDiscrete", "EulerDiscrete", "HeunDiscrete", "KDPM2AncestralDiscrete"),
    *("KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM", "SASolver", "TCD", "UniPCMultistep"),
)
ON_A_FLOW = ("DPMSolverMultistep", "FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "UniPCMultistep")
# They take two slopes over sigma = sigma_t / alpha_t, which has no bound at pure noise, where other spacings start.
SPACED_AS_LEADING = ("DPMSolverSDE", "HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete")


class ForeignSampler:
    """Steps of a scheduler of diffusers' interface, by a copy of it; the protocol is `samplers.Sampler`."""

    def __init__(self, scheduler: Any, options: SamplingOptions, device: torch.device):
        _check_class(scheduler)
        self.scheduler = copy.deepcopy(scheduler)
        self._set_timesteps(options, device)
        order = getattr(scheduler, "order", 1)  # Heun's two forwards of a step stand one after the other
        steps = options.num_inference_steps
        self.total = len(self.scheduler.timesteps)
        self.skipped = min((steps - int(steps * options.strength)) * order, self.total)
        if self.skipped and hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(self.skipped)
        self.timesteps = self.scheduler.timesteps[self.skipped :]
        # FlowMatchEuler and FlowMatchHeun name no prediction type: a flow is all that they know.
        self.prediction_type = scheduler.config.get("prediction_type", "flow_prediction")
        known = inspect.signature(scheduler.step).parameters
        self._eta = {"eta": options.eta} if options.eta else {}
        self._takes_generator = "generator" in known

    def _set_timesteps(self, options: SamplingOptions, device: torch.device) -> None:
        own, timesteps = self.scheduler, options.timesteps
        steps, levels = options.num_inference_steps, own.config.get("num_train_timesteps", math.inf)
        if timesteps is None and steps > levels:  # some would visit a level twice, and divide by their distance
            raise ValueError(
                f"num_inference_steps: got {shown(steps)}, expected at most num_train_timesteps = {levels}."
            )
        if timesteps is None and own.config.get("timestep_spacing") in OUR_SPACINGS:
            timesteps = _our_grid(own, options.num_inference_steps)
        if timesteps is None:
            try:
                own.set_timesteps(options.num_inference_steps, device=device)
            except (ValueError, IndexError, RuntimeError) as error:
                raise ValueError(
                    f"num_inference_steps: got {options.num_inference_steps}, which {type(own).__name__} does not take "
                    f"({error}); pass another number, or another scheduler."
                ) from error
        elif takes_timesteps(own):
            own.set_timesteps(timesteps=list(timesteps), device=device)
        else:
            raise ValueError(f"timesteps: {type(own).__name__} takes no custom timesteps; pass None.")

    def num_channels(self, channels: int) -> int:
        # Of all schedulers only DDPM's learned types listen to what a model says of its variance.
        learned = str(self.scheduler.config.get("variance_type")).startswith("learned")
        return 2 * channels if learned else channels

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        # Flow schedulers name no initial scale: a flow starts at unit variance.
        return noise * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def noised(self, x_0: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        if step == len(self.timesteps):
            return x_0
        timesteps = self.timesteps[step].reshape(1).expand(len(x_0))
        if hasattr(self.scheduler, "scale_noise"):  # what flow schedulers call it, in another order
            return self.scheduler.scale_noise(x_0, timesteps, noise)
        return self.scheduler.add_noise(x_0, noise, timesteps)

    def model_input(self, x: torch.Tensor, step: int) -> torch.Tensor:
        if not hasattr(self.scheduler, "scale_model_input"):  # flow schedulers have nothing to scale
            return x
        return self.scheduler.scale_model_input(x, self.timesteps[step])

    def step(self, output: torch.Tensor, x: torch.Tensor, step: int, generators: Generators) -> torch.Tensor:
        generator = {"generator": generators} if self._takes_generator else {}
        return self.scheduler.step(output, self.timesteps[step], x, **generator, **self._eta).prev_sample


def follows_flow(config: Mapping[str, Any]) -> bool:
    """Whether the config of a scheduler is of a flow; diffusers' flow schedulers name no prediction type."""
    is_flow = config.get("beta_schedule") == "flow" or config.get("use_flow_sigmas", False)
    return bool(is_flow) or "prediction_type" not in config


def short_class_name(scheduler_class: Any) -> str:
    """The name of a scheduler's class without "Scheduler"."""
    return str(scheduler_class.__name__).removesuffix("Scheduler")


def _check_class(scheduler: Any) -> None:
    """Refuse a class of diffusers that samples no model of this kind."""
    known = ON_A_FLOW if follows_flow(scheduler.config) else ON_A_PATH
    if type(scheduler).__module__.startswith("diffusers.") and short_class_name(type(scheduler)) not in known:
        names = ", ".join(f"{name}Scheduler" for name in known)
        raise ValueError(f"scheduler: got diffusers' {type(scheduler).__name__}, expected one of {names}.")


def _our_grid(scheduler: Any, num_inference_steps: int) -> tuple[float, ...] | None:
    """The grid of a spacing of ours for a class of diffusers'; None for one that can space its steps itself.

    The config that ours hand over by `from_config` may name a spacing that diffusers' classes do not know. Those that
    take timesteps get its timesteps; the others are spaced as "trailing", with a warning.
    """
    if not _has_spacings(scheduler):
        return None
    if not takes_timesteps(scheduler):
        warnings.warn(
            f"timestep_spacing: diffusers' {type(scheduler).__name__} knows no "
            f"{scheduler.config.timestep_spacing!r} and takes no timesteps; it is spaced as 'trailing'.",
            stacklevel=4,
        )
        scheduler.register_to_config(timestep_spacing="trailing")
        return None
    c = scheduler.config
    path = make_path(
        *(c.beta_schedule, c.num_train_timesteps, c.beta_start, c.beta_end, c.trained_betas),
        rescale_betas_zero_snr=c.get("rescale_betas_zero_snr", False),
    )
    snr = log_snr(*path.levels(torch.arange(c.num_train_timesteps)))
    return tuple(make_timesteps(c.timestep_spacing, num_inference_steps, len(snr), snr=snr).tolist())


def foreign_scheduler(scheduler_class: Any, config: Mapping[str, Any]) -> Any:
    """Return a scheduler of diffusers for a model that was trained with the levels of a config.

    Raises:
        ValueError: it misreads what the model predicts.
    """
    is_flow = follows_flow(config)
    changes: dict[str, Any] = {}
    if config.get("timestep_spacing") in OUR_SPACINGS and not takes_timesteps(scheduler_class):
        changes = {"timestep_spacing": "trailing"}  # LMS would fail in its constructor
    if short_class_name(scheduler_class) in SPACED_AS_LEADING:
        changes = {"timestep_spacing": "leading"}
    elif is_flow and scheduler_class.__name__ == "DPMSolverMultistepScheduler":
        if config["prediction_type"] == "v_prediction":
            raise ValueError("scheduler: got 'dpm++' for v_prediction on a flow, which it misreads; use unipc.")
        changes = {"use_flow_sigmas": True, "beta_schedule": "linear"}  # it knows no schedule named flow
    return scheduler_from_config(scheduler_class, config, **changes)


def scheduler_from_config(scheduler_class: Any, config: Mapping[str, Any], **changes: Any) -> Any:
    """Return `scheduler_class.from_config`, without a warning of keys that only another class knows; they stay."""
    known, defaults = inspect.signature(scheduler_class.__init__).parameters, config.get("_use_default_values", ())
    own = {key: value for key, value in config.items() if key in known or key.startswith("_")}
    others = {key: config[key] for key in config.keys() - own.keys() - set(defaults)}
    scheduler = scheduler_class.from_config(own, **changes)
    scheduler.register_to_config(**others)
    return scheduler


def known_spacings(scheduler: Any) -> tuple[str, ...]:
    """Return the values of `timestep_spacing` that a call follows; none where the scheduler has no choice."""
    if not _has_spacings(scheduler):
        return ()
    return TIMESTEP_SPACINGS if takes_timesteps(scheduler) else DIFFUSERS_SPACINGS


def _has_spacings(scheduler: Any) -> bool:
    # Its config may hold what another class knew.
    return "timestep_spacing" in inspect.signature(type(scheduler).__init__).parameters


def takes_timesteps(scheduler: Any) -> bool:
    """Whether a scheduler, or a class of them, takes a grid of one's own."""
    return "timesteps" in inspect.signature(scheduler.set_timesteps).parameters
