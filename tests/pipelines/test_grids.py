"""The grid of a call, where the scheduler and the name of the spacing come from different libraries."""

import diffusers
import pytest
import torch

from text2digit import DDIMScheduler, UniPCMultistepScheduler
from text2digit.pipelines.foreign import known_spacings
from text2digit.pipelines.options import SamplingOptions
from text2digit.pipelines.samplers import make_sampler, make_scheduler
from text2digit.schedulers import SCHEDULERS
from text2digit.schedulers.spacing import DIFFUSERS_SPACINGS, OUR_SPACINGS, TIMESTEP_SPACINGS

from .helpers import draw

CPU = torch.device("cpu")


def grid_of(scheduler, steps, timesteps=None):
    """The timesteps of a call."""
    return make_sampler(scheduler, SamplingOptions(steps, timesteps), CPU).timesteps


COSINE = {
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "clip_sample": False,
}


@pytest.mark.parametrize("spacing", OUR_SPACINGS)
@pytest.mark.parametrize("name", ["EulerDiscrete", "DPMSolverMultistep", "DDPM"])
def test_who_takes_timesteps_follows_our_spacings(name, spacing):
    """Catches a config that one of diffusers' classes cannot draw by, and levels of another schedule in log_snr."""
    ours = DDIMScheduler(**COSINE, timestep_spacing=spacing)
    theirs = getattr(diffusers, f"{name}Scheduler").from_config(ours.config)
    wanted = grid_of(ours, 8)
    assert grid_of(theirs, 8).unique().flip(0).tolist() == wanted.tolist()
    assert theirs.config.timestep_spacing == spacing and known_spacings(theirs) == TIMESTEP_SPACINGS


@pytest.mark.parametrize("name", ["DDIM", "UniPCMultistep", "PNDM", "DEISMultistep", "EulerAncestralDiscrete"])
def test_who_takes_none_is_spaced_as_trailing_and_says_so(name):
    theirs = getattr(diffusers, f"{name}Scheduler").from_config(DDIMScheduler(**COSINE, timestep_spacing="beta").config)
    with pytest.warns(UserWarning, match=rf"{name}Scheduler knows no 'beta' .* spaced as 'trailing'"):
        grid = grid_of(theirs, 5)
    assert int(grid[0]) == 999 and known_spacings(theirs) == DIFFUSERS_SPACINGS
    with pytest.raises(ValueError, match=f"{name}Scheduler takes no custom timesteps"):
        grid_of(theirs, 5, [999, 5])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_of_a_short_name_can_be_spaced(name):
    """Catches those that space all levels in their constructor, and refuse a name that they do not know: LMS, Heun."""
    flow = {"beta_schedule": "flow", "prediction_type": "flow_prediction"} if name.startswith("flow-") else {}
    scheduler = make_scheduler(name, DDIMScheduler(**{**COSINE, **flow}, timestep_spacing="beta").config)
    assert int(grid_of(scheduler, 4)[0]) >= 750


def test_what_is_known_is_left_alone():
    """Catches a grid of ours for a spacing that diffusers' class defines otherwise."""
    theirs = diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1)
    plain = diffusers.EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1)
    plain.set_timesteps(7)
    assert torch.equal(grid_of(theirs, 7), plain.timesteps)
    assert known_spacings(diffusers.FlowMatchEulerDiscreteScheduler()) == ()
    assert known_spacings(UniPCMultistepScheduler()) == TIMESTEP_SPACINGS


def test_a_pipeline_draws_by_our_spacing_and_diffusers_scheduler(pipeline):
    """The usual line for another scheduler, on a pipeline that is saved with a spacing of ours."""
    pipeline.scheduler = UniPCMultistepScheduler.from_config(
        {**pipeline.scheduler.config, **COSINE}, timestep_spacing="beta"
    )
    seen = []
    look = {"callback_on_step_end": lambda pipe, i, t, tensors: seen.append(int(t)) or {}}
    for scheduler in (pipeline.scheduler, diffusers.EulerDiscreteScheduler.from_config(pipeline.scheduler.config)):
        pipeline.scheduler = scheduler
        assert draw(pipeline, num_inference_steps=4, **look).isfinite().all()
    assert seen == [999, 851, 561, 233] * 2
