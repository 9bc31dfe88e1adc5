"""UniPC: against diffusers, where that one has an answer, and what ours does beyond."""

import math

import diffusers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from text2digit.evaluation.oracle import level_at, one_gaussian, three_gaussians, trajectory
from text2digit.schedulers import DDIMScheduler, UniPCMultistepScheduler
from text2digit.schedulers.coefficients import solver_weights

DATA = three_gaussians()
COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "timestep_spacing": "trailing"}


def pair(config, steps):
    """The two, ready; diffusers gets the levels in float64, and ours of pure noise, as its own are rounded."""
    ours, theirs = (c(**config) for c in (UniPCMultistepScheduler, diffusers.UniPCMultistepScheduler))
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(steps)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    alpha, sigma = ours.path.levels(ours.timesteps)
    alpha[alpha == 0] = 2.0**-12
    theirs.sigmas = torch.cat([sigma / alpha, torch.zeros(1, dtype=torch.float64)])
    return ours, theirs


def run(scheduler, like, steps):
    """Sample with one exact denoiser, told the levels by `like`, for so many steps."""
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for index, t in enumerate(scheduler.timesteps[:steps]):
        output = DATA.predict(like.config.prediction_type, x, level_at(like, index))
        x = scheduler.step(output, t, x).prev_sample
    return x


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.fixed_dictionaries(
        {
            "beta_schedule": st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2"]),
            "prediction_type": st.sampled_from(["epsilon", "sample", "v_prediction"]),
            "solver_order": st.integers(1, 4),
            "solver_type": st.sampled_from(["bh1", "bh2"]),
            "lower_order_final": st.booleans(),
            "disable_corrector": st.sampled_from([[], [0], [1, 3]]),
            "rescale_betas_zero_snr": st.booleans(),
        }
    ),
    st.sampled_from([1, 2, 4, 5, 8, 10, 20, 25]),
)
def test_whole_trajectories_are_those_of_diffusers(config, steps):
    """Catches a weight, a ratio, an order or a corrected sample that is another. To 1e-7; from pure noise to 2e-3, as
    ours reads x_0 there, and diffusers just beside it. The last step is left out where diffusers divides by the
    infinite log-SNR of clean data: with bh1, and with the full order."""
    zero_snr = config["rescale_betas_zero_snr"]
    if zero_snr and config["prediction_type"] == "epsilon":
        config = {**config, "prediction_type": "v_prediction"}
    ours, theirs = pair({**config, "timestep_spacing": "trailing"}, steps)
    has_end = config["solver_type"] == "bh2" and config["lower_order_final"]
    count = steps if has_end else steps - 1
    assert torch.allclose(run(ours, ours, count), run(theirs, ours, count), atol=2e-3 if zero_snr else 1e-7)
    assert run(ours, ours, steps).isfinite().all()


@pytest.mark.parametrize("prediction_type", ["v_prediction", "flow_prediction", "sample"])
def test_a_flow_is_followed_whatever_is_predicted(prediction_type):
    """From pure noise to the exact map's end. Catches levels of the variance-preserving path; diffusers' class misreads
    v on a flow, and rounds its timesteps to whole numbers."""
    data = one_gaussian()
    config = {"beta_schedule": "flow", "prediction_type": prediction_type, "timestep_spacing": "trailing"}
    scheduler = UniPCMultistepScheduler(**config)
    scheduler.set_timesteps(80)
    x_T = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    *_, (_, x_0) = trajectory(scheduler, data, x_T)
    assert torch.allclose(x_0, data.flow_map(x_T, (0.0, 1.0), (1.0, 0.0)), atol=2e-3)


def test_ten_steps_are_nearer_than_ddim_s_thirty():
    """What it is for; catches a corrector or a predictor that falls back to first order."""
    data = one_gaussian()
    x_T = torch.randn(256, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    far = []
    for scheduler_class, steps in ((UniPCMultistepScheduler, 10), (DDIMScheduler, 30)):
        unclipped = {"clip_sample": False} if scheduler_class is DDIMScheduler else {}
        scheduler = scheduler_class(**COSINE, **unclipped, rescale_betas_zero_snr=True)
        scheduler.set_timesteps(steps)
        *_, (_, x_0) = trajectory(scheduler, data, x_T)
        far.append((x_0 - data.flow_map(x_T, (0.0, 1.0), (1.0, 0.0))).square().mean().sqrt().item())
    assert far[0] < far[1], far


def test_the_history_belongs_to_one_run_along_the_grid():
    """Catches a second call that goes on from the first one's predictions, and a jump that is taken for a step."""
    scheduler = UniPCMultistepScheduler(**COSINE)
    scheduler.set_timesteps(10)
    first = run(scheduler, scheduler, 4)
    assert torch.equal(run(scheduler, scheduler, 4), first)  # back at the top of the grid, without set_timesteps
    scheduler.set_timesteps(10)
    assert torch.equal(run(scheduler, scheduler, 4), first)

    x, output = torch.randn(2, 1, 1, 4, 4)
    alone = UniPCMultistepScheduler(**COSINE)
    alone.set_timesteps(10)
    jumped = scheduler.step(output, scheduler.timesteps[7], x).prev_sample  # past three of them
    assert torch.equal(jumped, alone.step(output, alone.timesteps[7], x).prev_sample)

    run(scheduler, scheduler, 10)
    walk = scheduler._walk
    assert walk.anchor is None and not walk.predictions  # no batch stays in memory when it is done


def test_a_step_without_a_past_is_ddim_s():
    x, output = torch.randn(2, 1, 1, 4, 4)
    samplers = UniPCMultistepScheduler(**COSINE), DDIMScheduler(**COSINE, clip_sample=False)
    for scheduler in samplers:
        scheduler.set_timesteps(timesteps=[700, 300])
    results = [s.step(output, 700, x).prev_sample for s in samplers]
    assert torch.allclose(*results, atol=1e-6)


def test_a_config_s_clipping_is_not_taken_over():
    """diffusers' UniPC never clips; a config that came from DDIM may bring `clip_sample`, and must keep it."""
    scheduler = UniPCMultistepScheduler.from_config(DDIMScheduler(**COSINE, clip_sample=True).config)
    assert scheduler.config.clip_sample
    scheduler.set_timesteps(timesteps=[500])
    x = torch.full((1, 1, 2, 2), 3.0)
    assert scheduler.step(torch.zeros_like(x), 500, x).prev_sample.max() > 1


@pytest.mark.parametrize("solver_type", ["bh1", "bh2"])
@pytest.mark.parametrize("ratios", [[-0.7, 1.0], [-0.8, -1.9], [-1.1, -2.5, 1.0]])
def test_weights_integrate_polynomials_exactly(ratios, solver_type):
    """x_0 that is a polynomial in lambda of as high a degree as there are ratios: the integral of e^lambda x_0 in the
    exact solution (2211.01095, proposition 4.1) comes out exactly. Catches a wrong b_k or factorial."""
    h = 0.37
    base = math.expm1(-h) if solver_type == "bh2" else -h
    weights = solver_weights(h, ratios, base)
    for degree in range(1, len(ratios) + 1):
        # x_0 - x_0(t) at a distance of r * h is r^degree; the integral over r of e^(-h (1 - r)) r^degree, times h.
        r = torch.linspace(0, 1, 20_001, dtype=torch.float64)
        wanted = torch.trapezoid(h * (-h * (1 - r)).exp() * r**degree, r).item()
        got = -base * sum(weight / ratio * ratio**degree for weight, ratio in zip(weights, ratios, strict=True))
        assert got == pytest.approx(wanted, rel=1e-6)


def test_what_it_cannot_do_is_refused():
    for arguments, message in (
        ({"solver_type": "midpoint"}, "solver_type: got 'midpoint', expected one of bh1, bh2"),
        ({"solver_order": 0}, "solver_order: got 0, expected 1 or more"),
        ({"predict_x0": False}, "predict_x0: got False, expected True"),
    ):
        with pytest.raises(ValueError, match=message):
            UniPCMultistepScheduler(**arguments)
    scheduler = UniPCMultistepScheduler()
    scheduler.set_timesteps(10)
    with pytest.raises(ValueError, match="got 500, which is not on the grid"):
        scheduler.step(torch.zeros(1), 500, torch.zeros(1))


def test_configs_go_to_diffusers_and_back(tmp_path):
    """To its class of the same name, from it, and from a flow of its own; catches a changed meaning of a name."""
    ours = UniPCMultistepScheduler(**COSINE, solver_order=3, solver_type="bh1", disable_corrector=[0])
    theirs = diffusers.UniPCMultistepScheduler.from_config(ours.config)
    back = UniPCMultistepScheduler.from_config(theirs.config)
    names = set(ours.config) - {"_use_default_values"}
    for other in (theirs, back):
        assert {name: other.config[name] for name in names} == {name: ours.config[name] for name in names}
    back.save_pretrained(tmp_path)
    assert UniPCMultistepScheduler.from_pretrained(tmp_path).config.solver_order == 3
    flow = diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    assert UniPCMultistepScheduler.from_config(flow.config).path.level(500) == (0.5, 0.5)
