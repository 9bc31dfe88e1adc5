"""Whole trajectories against diffusers, where diffusers is right; and where it is not, what is right instead."""

import diffusers
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from text2digit.evaluation.oracle import level_at, one_gaussian, three_gaussians, trajectory
from text2digit.schedulers import DDIMScheduler, DDPMScheduler

DATA = three_gaussians()
CONFIGS = st.fixed_dictionaries(
    {
        "beta_schedule": st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2"]),
        "prediction_type": st.sampled_from(["epsilon", "sample", "v_prediction"]),
        "clip_sample": st.booleans(),
        "rescale_betas_zero_snr": st.booleans(),
        "num_train_timesteps": st.sampled_from([1000, 100, 37]),
    }
)


def pair(ours, theirs, config, steps, spacing):
    """The two schedulers, ready. diffusers gets the levels in float64: its own are rounded to float32, which alone
    costs 3e-4 where little noise is left, and would hide an error of that size."""
    schedulers = ours(timestep_spacing=spacing, **config), theirs(timestep_spacing=spacing, **config)
    for scheduler in schedulers:
        scheduler.set_timesteps(steps)
    alpha, _ = schedulers[0].path.levels(torch.arange(config["num_train_timesteps"]))
    schedulers[1].alphas_cumprod = alpha**2
    return schedulers


def run(scheduler, like, **arguments):
    """Sample with one exact denoiser, told the levels by `like`, and the same noise."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    for index, t in enumerate(scheduler.timesteps):
        output = DATA.predict(like.config.prediction_type, x, level_at(like, index))
        x = scheduler.step(output, t, x, generator=generator, **arguments).prev_sample
    return x


def never_pure_noise_by_epsilon(config, scheduler):
    """There epsilon says nothing about x_0: ours refuses, diffusers divides by zero."""
    return config["prediction_type"] != "epsilon" or level_at(scheduler, 0)[0] > 0


@settings(max_examples=80, deadline=None, derandomize=True)
@given(CONFIGS, st.integers(1, 37), st.sampled_from([0.0, 0.4, 1.0]), st.booleans())
def test_ddim_on_leading_grids(config, steps, eta, use_clipped_model_output):
    """To 1e-5 for any step count; catches any coefficient, the clipping and the noise of eta."""
    ours, theirs = pair(DDIMScheduler, diffusers.DDIMScheduler, config, steps, "leading")
    assume(never_pure_noise_by_epsilon(config, ours))
    assert torch.equal(ours.timesteps, theirs.timesteps)
    arguments = {"eta": eta, "use_clipped_model_output": use_clipped_model_output}
    assert torch.allclose(run(ours, ours, **arguments), run(theirs, ours, **arguments), atol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(CONFIGS, st.sampled_from([1, 2, 4, 5, 10, 20, 25, 50]), st.sampled_from([0.0, 1.0]))
def test_ddim_on_trailing_grids_that_divide(config, steps, eta):
    """Where n divides T, diffusers' next timestep is that of the grid."""
    config = {**config, "num_train_timesteps": 100}
    ours, theirs = pair(DDIMScheduler, diffusers.DDIMScheduler, config, steps, "trailing")
    assume(never_pure_noise_by_epsilon(config, ours))
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert torch.allclose(run(ours, ours, eta=eta), run(theirs, ours, eta=eta), atol=1e-5)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    CONFIGS,
    st.integers(2, 37),
    st.sampled_from(["leading", "trailing", "linspace"]),
    st.sampled_from(["fixed_small", "fixed_small_log", "fixed_large"]),
    st.booleans(),
)
def test_ddpm_on_all_grids(config, steps, spacing, variance_type, sigmoid):
    """diffusers' DDPM reads its grid, as ours does. Left out: its last step, which adds noise with "fixed_large" unless
    it starts at timestep 0, and "trailing" grids that hold a timestep too many, or round a tie the other way."""
    config = {**config, "variance_type": variance_type}
    if sigmoid:  # of which diffusers' DDIM knows nothing
        config["beta_schedule"] = "sigmoid"
    ours, theirs = pair(DDPMScheduler, diffusers.DDPMScheduler, config, steps, spacing)
    assume(never_pure_noise_by_epsilon(config, ours))
    assume(variance_type != "fixed_large" or theirs.timesteps[-1] == 0)
    assume(len(theirs.timesteps) == steps)
    if spacing == "trailing":
        assert (ours.timesteps - theirs.timesteps).abs().max() <= 1
        ours.set_timesteps(timesteps=theirs.timesteps)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert torch.allclose(run(ours, ours), run(theirs, ours), atol=1e-5)


@pytest.mark.parametrize(
    "spacing, steps, wrong_by",
    [("linspace", 10, 0.05), ("linspace", 100, 0.005), ("trailing", 7, 5e-4), ("trailing", 13, 5e-4)],
)
def test_ddim_where_diffusers_leaves_its_grid(spacing, steps, wrong_by):
    """diffusers takes T // n as the distance to the next timestep, whatever the grid: huggingface/diffusers issues
    12633 and 11347 for linspace, 9261 for trailing. Ours is equation 12 of the paper from each level of the grid to
    the next, written out here."""
    config = {"beta_schedule": "scaled_linear", "clip_sample": False, "num_train_timesteps": 1000}
    ours, theirs = pair(DDIMScheduler, diffusers.DDIMScheduler, config, steps, spacing)
    data = one_gaussian()
    levels = [*(level_at(ours, index) for index in range(steps)), (1.0, 0.0)]
    x_T = x = data.sample_noisy(64, levels[0], torch.Generator().manual_seed(0))
    for (alpha_t, sigma_t), (alpha_s, sigma_s) in zip(levels, levels[1:], strict=False):
        x_0 = data.denoise(x, (alpha_t, sigma_t))
        x = alpha_s * x_0 + sigma_s * (x - alpha_t * x_0) / sigma_t
    ends = [list(trajectory(scheduler, data, x_T))[-1][1] for scheduler in (ours, theirs)]
    assert torch.allclose(ends[0], x, atol=1e-9)
    assert (ends[1] - x).abs().max() > wrong_by


def test_fixed_large_adds_no_noise_at_the_end():
    """diffusers adds it whenever the last timestep is not 0, as on trailing grids, and takes the root of a logarithm
    for "fixed_large_log", which is no number."""
    x = torch.randn(4, 2, dtype=torch.float64)
    for variance_type in ("fixed_large", "fixed_large_log"):
        scheduler = DDPMScheduler(variance_type=variance_type, timestep_spacing="trailing", clip_sample=False)
        scheduler.set_timesteps(10)
        result = scheduler.step(torch.zeros_like(x), 99, x)
        assert torch.allclose(result.prev_sample, result.pred_original_sample)
        spread = scheduler.step(torch.zeros_like(x), 999, x, generator=torch.Generator().manual_seed(0)).prev_sample
        assert spread.isfinite().all()
