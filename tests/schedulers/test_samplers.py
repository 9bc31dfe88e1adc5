"""The contract of a scheduler: construction, grids, single steps, errors. Trajectories have files of their own."""

import diffusers
import pytest
import torch

from text2digit.schedulers import DDIMScheduler, DDPMScheduler, UniPCMultistepScheduler

PAIRS = [(DDPMScheduler, diffusers.DDPMScheduler), (DDIMScheduler, diffusers.DDIMScheduler)]


@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large", "learned_range"])
def test_variance_types_are_those_of_diffusers(variance_type):
    schedulers = [c(variance_type=variance_type) for c in PAIRS[0]]
    output = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    output = output if variance_type == "learned_range" else output[:, :1]
    x = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    for t in (999, 500, 20):  # below, diffusers' float32 tables are off by 3e-4
        results = [s.step(output, t, x, generator=torch.Generator().manual_seed(0)).prev_sample for s in schedulers]
        assert torch.allclose(*results, atol=5e-5)


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_configs_are_exchangeable_both_ways(ours, theirs):
    config = {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    for source, target in ((ours, theirs), (theirs, ours)):
        converted = target.from_config(source(**config).config)
        assert {name: converted.config[name] for name in config} == config
    assert diffusers.UniPCMultistepScheduler.from_config(ours(**config).config).config.prediction_type == "v_prediction"
    names = set(ours().config) - {"_use_default_values"}
    assert names == set(theirs().config) - {"_use_default_values"}
    assert all(ours().config[name] == theirs().config[name] for name in names)


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_saved_configs_load(ours, theirs, tmp_path):
    ours(num_train_timesteps=50).save_pretrained(tmp_path)
    assert len(ours.from_pretrained(tmp_path)) == 50 and len(theirs.from_pretrained(tmp_path)) == 50


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_forward_process_is_that_of_diffusers(ours, theirs):
    x_0, noise, t = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4), torch.tensor([0, 500, 999])
    ours, theirs = ours(), theirs()
    assert torch.allclose(ours.add_noise(x_0, noise, t), theirs.add_noise(x_0, noise, t), atol=1e-5)
    assert torch.allclose(ours.get_velocity(x_0, noise, t), theirs.get_velocity(x_0, noise, t), atol=1e-5)
    assert ours.scale_model_input(x_0, 5) is x_0 and ours.init_noise_sigma == 1.0 and ours.order == 1
    assert len(ours) == 1000


def test_step_keeps_no_state():
    """Catches a hidden counter: steps in any order, or twice, give the same."""
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    x, output = torch.randn(2, 1, 1, 4, 4)
    first = [scheduler.step(output, t, x).prev_sample for t in scheduler.timesteps]
    again = [scheduler.step(output, t, x).prev_sample for t in reversed(scheduler.timesteps)]
    assert all(torch.equal(a, b) for a, b in zip(first, reversed(again), strict=True))


def test_the_next_level_is_read_from_the_grid():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(timesteps=[999, 700, 10])
    assert [scheduler.previous_timestep(t) for t in (999, 700, 10)] == [700, 10, -1]
    with pytest.raises(ValueError, match="got 500, which is not on the grid of 3 timesteps"):
        scheduler.step(torch.zeros(1), 500, torch.zeros(1))


def test_the_last_step_lands_on_clean_data():
    """The toy left it out. At the end x_0 is returned as predicted, without noise."""
    x, output = torch.randn(2, 1, 1, 4, 4)
    for scheduler in (DDPMScheduler(), DDIMScheduler()):
        scheduler.set_timesteps(10)
        result = scheduler.step(output, scheduler.timesteps[-1], x)
        assert torch.allclose(result.prev_sample, result.pred_original_sample, atol=1e-6)
    scheduler = DDIMScheduler(set_alpha_to_one=False, clip_sample=False)
    scheduler.set_timesteps(10)
    result = scheduler.step(output, scheduler.timesteps[-1], x)
    assert torch.allclose(result.prev_sample, x, atol=1e-6)  # from level 0 to level 0


def test_noise_of_each_image_comes_from_its_own_generator():
    scheduler = DDPMScheduler()
    x, output = torch.randn(2, 3, 1, 4, 4)
    together = scheduler.step(output, 500, x, generator=[torch.Generator().manual_seed(i) for i in range(3)])
    alone = scheduler.step(output[2:], 500, x[2:], generator=torch.Generator().manual_seed(2))
    assert torch.equal(together.prev_sample[2:], alone.prev_sample)


def test_given_noise_is_used():
    scheduler, noise = DDIMScheduler(), torch.randn(1, 1, 4, 4)
    x, output = torch.randn(2, 1, 1, 4, 4)
    moved = scheduler.step(output, 500, x, eta=1.0, variance_noise=noise).prev_sample
    still = scheduler.step(output, 500, x, eta=1.0, variance_noise=torch.zeros_like(noise)).prev_sample
    std = (moved - still) / noise
    assert std.min() > 0 and torch.allclose(std, std.mean().expand_as(std), rtol=1e-3)
    with pytest.raises(ValueError, match="not both"):
        scheduler.step(output, 500, x, eta=1.0, variance_noise=noise, generator=torch.Generator())


def test_dynamic_thresholding_is_that_of_diffusers():
    config = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
    x, output = 2 * torch.randn(2, 3, 1, 6, 6)
    results = [c(**config).step(output, 300, x, generator=torch.Generator()).pred_original_sample for c in PAIRS[0]]
    assert torch.allclose(*results, atol=1e-5)


@pytest.mark.parametrize("scheduler_class", [DDPMScheduler, DDIMScheduler, UniPCMultistepScheduler])
def test_bad_grids_say_why(scheduler_class):
    scheduler = scheduler_class()
    for arguments, message in (
        ({}, "exactly one"),
        ({"num_inference_steps": 5, "timesteps": [3]}, "exactly one"),
        ({"num_inference_steps": 0}, "got 0, expected 1 to num_train_timesteps = 1000"),
        ({"num_inference_steps": 1001}, "got 1001"),
        ({"timesteps": [1, 2]}, "descending"),
        ({"timesteps": [1000, 2]}, "from 999 down to 0"),
        ({"timesteps": [2.5, 1]}, "integers"),
    ):
        with pytest.raises(ValueError, match=message):
            scheduler.set_timesteps(**arguments)
    with pytest.raises(ValueError, match="variance_type: got 'big', expected one of fixed_small"):
        DDPMScheduler(variance_type="big")
    with pytest.raises(ValueError, match="prediction_type: got 'eps', expected one of epsilon"):
        scheduler_class(prediction_type="eps")
    with pytest.raises(ValueError, match="timestep_spacing: got 'even', expected one of leading"):
        scheduler_class(timestep_spacing="even")
