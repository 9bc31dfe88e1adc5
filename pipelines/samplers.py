"""Schedulers by the short names of the command lines."""

from typing import Any

import diffusers

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


def replace_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline the named scheduler, with the levels and prediction type of its own.

    Raises:
        ValueError: an unknown name, or one that does not fit the path of the model.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"--scheduler: got {name!r}, expected one of {', '.join(SCHEDULERS)}.")
    ours = {"ddim": schedulers.DDIMScheduler, "ddpm": schedulers.DDPMScheduler}
    scheduler_class = ours.get(name) or getattr(diffusers, SCHEDULERS[name])
    config = pipeline.scheduler.config
    is_flow = config.get("beta_schedule") == "flow"
    if name not in ours and name.startswith("flow-") != is_flow:
        path = "a flow" if is_flow else "a variance-preserving path"
        fitting = [n for n in SCHEDULERS if n in ours or n.startswith("flow-") == is_flow]
        raise ValueError(f"--scheduler: got {name!r} for a model of {path}, expected one of {', '.join(fitting)}.")
    # Heun averages two slopes over sigma, which "trailing" starts at pure noise, where sigma has no bound.
    changes = {"timestep_spacing": "leading"} if name == "heun" else {}
    pipeline.scheduler = scheduler_class.from_config(config, **changes)
