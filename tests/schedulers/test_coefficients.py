"""Samplers as tables of numbers: without torch, and the same steps as the scheduler classes."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from text2digit import DDIMScheduler, DDPMScheduler, UniPCMultistepScheduler
from text2digit.schedulers.coefficients import Walk, ddim_plan, transition, unipc_plan

VP = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
FLOW = {"beta_schedule": "flow", "prediction_type": "flow_prediction"}
UNCLIPPED = {"clip_sample": False}
CASES = [
    ("DDIM", DDIMScheduler, UNCLIPPED, {}),
    ("DDIM, eta 1", DDIMScheduler, UNCLIPPED, {"eta": 1.0}),
    ("DDIM, clipped", DDIMScheduler, {"clip_sample_range": 0.7}, {}),
    ("DDIM, clipped with its noise", DDIMScheduler, {}, {"use_clipped_model_output": True}),
    ("DDPM", DDPMScheduler, UNCLIPPED, {}),
    ("DDPM, large", DDPMScheduler, {**UNCLIPPED, "variance_type": "fixed_large"}, {}),
    ("UniPC", UniPCMultistepScheduler, {}, {}),
    ("UniPC, order 3, bh1", UniPCMultistepScheduler, {"solver_order": 3, "solver_type": "bh1"}, {}),
    ("UniPC, half corrected", UniPCMultistepScheduler, {"disable_corrector": [0, 2]}, {}),
]


def test_tables_are_made_without_torch():
    """What an engine on NumPy needs; catches an import that drags torch along."""
    code = "import sys; from text2digit.schedulers.coefficients import unipc_plan; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize("path", [VP, FLOW], ids=["variance preserving", "flow"])
@pytest.mark.parametrize("name, scheduler_class, config, options", CASES, ids=[case[0] for case in CASES])
def test_a_walk_on_numpy_is_the_scheduler_s(name, scheduler_class, config, options, path):
    """Catches numbers that the classes do not use, and a walk that looks back at the wrong prediction."""
    scheduler = scheduler_class(**path, **config, timestep_spacing="trailing")
    scheduler.set_timesteps(7)
    grid = scheduler.timesteps.tolist()
    plan = scheduler.make_plan(grid, **options)
    limit, bound = scheduler.limit, scheduler.config.get("clip_sample_range")
    clip = None if limit is None else lambda x_0: np.clip(x_0, -bound, bound)
    is_noisy = scheduler_class is not UniPCMultistepScheduler
    generator, walk = torch.Generator().manual_seed(0), Walk()
    x = torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.float64)
    own = x.numpy()
    for t, step in zip(scheduler.timesteps, plan, strict=True):
        output = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(t)), dtype=torch.float64)
        source = {"generator": torch.Generator().manual_seed(int(t))} if is_noisy else {}
        x = scheduler.step(output, t, x, **options, **source).prev_sample
        own, _ = walk.step(step, output.numpy(), own, clip, z.numpy() if step.noise else None)
        assert np.allclose(own, x.numpy(), atol=1e-12), step
    assert [step.t for step in plan] == grid and [step.r for step in plan] == [*grid[1:], scheduler.path.clean_timestep]


def test_ddim_by_hand():
    """One step of v from (0.6, 0.8) to (0.8, 0.6): x_0 = 0.6 x - 0.8 v, noise = 0.8 x + 0.6 v."""
    (step,) = ddim_plan([500, 200], [(0.6, 0.8), (0.8, 0.6)], "v_prediction")
    x, v = 1.0, 0.5
    x_0, noise = 0.6 * x - 0.8 * v, 0.8 * x + 0.6 * v
    result, read = Walk().step(step, v, x)
    assert read == pytest.approx(x_0) and result == pytest.approx(0.8 * x_0 + 0.6 * noise)
    assert (step.t, step.r, step.noise, step.correct) == (500, 200, 0.0, ())


def test_a_plan_that_begins_later_looks_back_at_nothing():
    """As after a strength below 1; catches a corrector at the first step that is taken."""
    levels = [(0.1, 0.99), (0.5, 0.8), (0.8, 0.6), (1.0, 0.0)]
    plan = unipc_plan([900, 600, 300, -1], levels, "epsilon", begin=1)
    assert [step.t for step in plan] == [600, 300] and plan[0].correct == () and len(plan[0].advance) == 2
    assert len(plan[1].correct) == 3


@pytest.mark.parametrize("beta", [1e-18, 1e-16, 3e-16, 1e-14, 1e-9])
def test_no_step_between_levels_that_are_alike_has_a_negative_variance(beta):
    """Would catch a formula of the variance that rounds to less than 0, whose root is an error, such as
    1 - (alpha_t / alpha_s)^2 with levels of another rounding."""
    scheduler = DDPMScheduler(num_train_timesteps=40, trained_betas=[0.3, *[beta] * 39], prediction_type="sample")
    levels = [scheduler.level(t) for t in range(39, -2, -1)]
    for noisier, cleaner in zip(levels, levels[1:], strict=False):
        alpha_ts, variance = transition(noisier, cleaner)
        assert 0 <= variance < 1 and alpha_ts <= 1
    assert len(scheduler.make_plan(list(range(39, -1, -1)))) == 40
