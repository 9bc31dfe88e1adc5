"""Schedulers by their short names."""

import json

import diffusers
import pytest
import torch

from text2digit import schedulers
from text2digit.evaluation.oracle import level_at, one_gaussian
from text2digit.evaluation.scheduler_table import accepted, markdown
from text2digit.pipelines.foreign import ON_A_PATH
from text2digit.pipelines.samplers import make_scheduler
from text2digit.schedulers import SCHEDULERS, DDIMScheduler

from ..conftest import ROOT
from .helpers import draw

FLOW = {"beta_schedule": "flow", "prediction_type": "flow_prediction", "clip_sample": False}
COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "clip_sample": False}


@pytest.mark.parametrize("name", ["dpm++", "unipc"])
def test_multistep_solvers_follow_a_flow_to_its_exact_end(name):
    """Catches a solver that reads a flow's velocity or levels as those of a variance-preserving path: its end would be
    off by tenths."""
    data, ours = one_gaussian(), DDIMScheduler(**FLOW, timestep_spacing="trailing")
    scheduler = make_scheduler(name, ours.config)
    ends = []
    for sampler, steps in ((ours, 1000), (scheduler, 50)):
        sampler.set_timesteps(steps)
        x_T = data.sample_noisy(64, level_at(ours, 0), torch.Generator().manual_seed(0))
        x = x_T
        for t in sampler.timesteps:
            alpha_t, sigma_t = (float(level) for level in ours.path.levels(t.reshape(1).double()))
            prediction = data.predict("flow_prediction", x, (alpha_t, sigma_t))
            x = sampler.step(prediction, t, x).prev_sample
        ends.append(x)
    assert torch.allclose(*ends, atol=0.02)


@pytest.mark.parametrize(("config", "name"), [(COSINE, "unipc"), (COSINE, "dpm++"), (FLOW, "unipc"), (FLOW, "dpm++")])
def test_there_and_back_after_saving(config, name, tmp_path):
    """A pipeline is saved with UniPC and asked for DDIM later. Catches a config that has lost what only DDIM reads,
    such as clip_sample, or that the path is a flow."""
    ours = DDIMScheduler(**config, timestep_spacing="trailing")
    make_scheduler(name, ours.config).save_pretrained(tmp_path)
    home = schedulers if name in schedulers.OUR_SCHEDULERS else diffusers
    saved = getattr(home, SCHEDULERS[name]).from_pretrained(tmp_path)
    back = DDIMScheduler.from_config(saved.config)
    names = ("beta_schedule", "prediction_type", "clip_sample", "rescale_betas_zero_snr", "timestep_spacing")
    assert {n: back.config[n] for n in names} == {n: ours.config[n] for n in names}
    assert torch.equal(back.path.levels(torch.arange(1, 1000))[0], ours.path.levels(torch.arange(1, 1000))[0])


def test_what_does_not_fit_is_refused():
    """Catches a sampler that draws nonsense without a word."""
    with pytest.raises(ValueError, match="for a model of a flow, expected one of ddim, ddpm, unipc, dpm"):
        make_scheduler("euler", DDIMScheduler(**FLOW).config)
    with pytest.raises(ValueError, match="for a model of a variance-preserving path"):
        make_scheduler("flow-euler", DDIMScheduler(**COSINE).config)
    with pytest.raises(ValueError, match="which it misreads"):
        make_scheduler("dpm++", DDIMScheduler(**{**FLOW, "prediction_type": "v_prediction"}).config)


def test_the_schedulers_that_pipelines_take_are_those_of_the_table():
    """Catches a list that was written by hand, and a table that was measured for another one."""
    report = json.loads((ROOT / "schedulers" / "scheduler_table.json").read_text(encoding="utf-8"))
    kept = {name.removesuffix("Scheduler") for name, row in report["rows"].items() if accepted(row)}
    assert {name for name in kept if not name.startswith("ours")} == set(ON_A_PATH)
    assert markdown(report["rows"], report["steps"]) in (ROOT / "schedulers" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["EDMEuler", "CMStochasticIterative", "DDIMInverse", "IPNDM", "CogVideoXDDIM"])
def test_diffusers_other_schedulers_are_refused_by_what_to_use(pipeline, name):
    """Catches noise that is returned as if it were digits."""
    pipeline.scheduler = getattr(diffusers, f"{name}Scheduler")()
    with pytest.raises(ValueError, match=f"got diffusers' {name}Scheduler, expected one of"):
        draw(pipeline)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_number_of_steps_that_a_scheduler_does_not_take_is_told(pipeline, steps):
    pipeline.scheduler = diffusers.PNDMScheduler.from_config(pipeline.scheduler.config)
    with pytest.raises(ValueError, match=f"num_inference_steps: got {steps}, which PNDMScheduler does not take"):
        draw(pipeline, num_inference_steps=steps)
