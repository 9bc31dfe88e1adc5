"""Schedulers by the short names of the command lines."""

from collections.abc import Mapping
from typing import Any

import diffusers
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from .. import schedulers
from ..schedulers.spacing import OUR_SPACINGS
from .grids import takes_timesteps

# Classes of ours, and after them of diffusers.
OURS = ("ddim", "ddpm", "unipc")
SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "unipc": "UniPCMultistepScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "lms": "LMSDiscreteScheduler",
    "flow-euler": "FlowMatchEulerDiscreteScheduler",
    "flow-heun": "FlowMatchHeunDiscreteScheduler",
}

# Of diffusers' classes this one knows a flow as well, where it is told to follow its sigmas.
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
    if name not in SCHEDULERS:
        raise ValueError(f"scheduler: got {name!r}, expected one of {', '.join(SCHEDULERS)}.")
    is_flow = config.get("beta_schedule") == "flow" or config.get("use_flow_sigmas", False)
    if name in OURS:
        return getattr(schedulers, SCHEDULERS[name]).from_config(config)
    fitting = [
        n for n in SCHEDULERS if n in OURS or n.startswith("flow-") == is_flow or (is_flow and n == FOLLOWS_A_FLOW)
    ]
    if name not in fitting:
        path = "a flow" if is_flow else "a variance-preserving path"
        raise ValueError(f"scheduler: got {name!r} for a model of {path}, expected one of {', '.join(fitting)}.")
    scheduler_class = getattr(diffusers, SCHEDULERS[name])
    changes: dict[str, Any] = {}
    if config.get("timestep_spacing") in OUR_SPACINGS and not takes_timesteps(scheduler_class):
        changes = {"timestep_spacing": "trailing"}  # LMS would fail in its constructor
    if name == "heun":
        # Heun averages two slopes over sigma, which "trailing" starts at pure noise, where sigma has no bound.
        changes = {"timestep_spacing": "leading"}
    elif is_flow and name == FOLLOWS_A_FLOW:
        if config["prediction_type"] == "v_prediction":
            raise ValueError(f"scheduler: got {name!r} for v_prediction on a flow, which it misreads; use unipc.")
        changes = {"use_flow_sigmas": True, "beta_schedule": "linear"}  # it knows no schedule named flow
    return scheduler_class.from_config(config, **changes)
