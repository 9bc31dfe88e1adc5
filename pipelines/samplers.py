"""Schedulers by the short names of the command lines."""

from collections.abc import Mapping
from typing import Any

import diffusers
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from .. import schedulers

SCHEDULERS = {
    "ddim": "text2digit",
    "ddpm": "text2digit",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "lms": "LMSDiscreteScheduler",
    "flow-euler": "FlowMatchEulerDiscreteScheduler",
    "flow-heun": "FlowMatchHeunDiscreteScheduler",
}


# Of these, diffusers' classes know a flow as well, where they are told to follow its sigmas.
FOLLOW_A_FLOW = ("dpm++", "unipc")


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
    ours = {"ddim": schedulers.DDIMScheduler, "ddpm": schedulers.DDPMScheduler}
    is_flow = config.get("beta_schedule") == "flow" or config.get("use_flow_sigmas", False)
    if name in ours:
        return ours[name].from_config(config)
    fitting = [
        n for n in SCHEDULERS if n in ours or n.startswith("flow-") == is_flow or (is_flow and n in FOLLOW_A_FLOW)
    ]
    if name not in fitting:
        path = "a flow" if is_flow else "a variance-preserving path"
        raise ValueError(f"scheduler: got {name!r} for a model of {path}, expected one of {', '.join(fitting)}.")
    changes: dict[str, Any] = {}
    if name == "heun":
        # Heun averages two slopes over sigma, which "trailing" starts at pure noise, where sigma has no bound.
        changes = {"timestep_spacing": "leading"}
    elif is_flow and name in FOLLOW_A_FLOW:
        if config["prediction_type"] == "v_prediction":
            raise ValueError(f"scheduler: got {name!r} for v_prediction on a flow, which it misreads; use ddim.")
        changes = {"use_flow_sigmas": True, "beta_schedule": "linear"}  # they know no schedule named flow
    return getattr(diffusers, SCHEDULERS[name]).from_config(config, **changes)
