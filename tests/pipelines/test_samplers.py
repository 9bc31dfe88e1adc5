"""Schedulers by their short names."""

import diffusers
import pytest
import torch

from text2digit import schedulers
from text2digit.evaluation.oracle import level_at, one_gaussian
from text2digit.pipelines.samplers import SCHEDULERS, make_scheduler
from text2digit.schedulers import DDIMScheduler

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
