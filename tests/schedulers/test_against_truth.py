"""Samplers on data whose denoiser is known exactly: what they get wrong is their own."""

import diffusers
import pytest
import torch

from text2digit.evaluation.oracle import GaussianMixture, level_at, one_gaussian, three_gaussians, trajectory
from text2digit.evaluation.sampler_orders import SAMPLERS, measure
from text2digit.schedulers import DDIMScheduler, DDPMScheduler, UniPCMultistepScheduler
from text2digit.schedulers.coefficients import transition
from text2digit.schedulers.spacing import TIMESTEP_SPACINGS

COUNT = 4000
VP = {"beta_schedule": "scaled_linear", "timestep_spacing": "linspace"}
UNCLIPPED = {**VP, "clip_sample": False}
UNIPC_FLOW = {"beta_schedule": "flow", "prediction_type": "flow_prediction"}
FLOW = {**UNIPC_FLOW, "clip_sample": False}


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_deterministic_samplers_converge_at_their_order(sampler):
    """The slope of log error against log steps; catches a wrong next level, a wrong direction term, and any formula
    that is right only in the limit of small steps. `sampler_orders` says what is claimed of each."""
    errors, order = measure(sampler)
    assert order == pytest.approx(sampler.order, abs=sampler.tolerance), errors


STOCHASTIC = [
    ("DDPM", DDPMScheduler, UNCLIPPED, {}, 500),
    ("DDPM large", DDPMScheduler, {**UNCLIPPED, "variance_type": "fixed_large"}, {}, 500),
    ("DDPM on a flow", DDPMScheduler, FLOW, {}, 500),
    ("DDIM, eta 1", DDIMScheduler, UNCLIPPED, {"eta": 1.0}, 500),
    ("DDIM, eta 0.5", DDIMScheduler, UNCLIPPED, {"eta": 0.5}, 300),
    ("DDIM, eta 1, on a flow", DDIMScheduler, FLOW, {"eta": 1.0}, 500),
    ("DDIM", DDIMScheduler, UNCLIPPED, {}, 200),
    ("DDIM on a flow", DDIMScheduler, FLOW, {}, 200),
    ("UniPC", UniPCMultistepScheduler, VP, {}, 50),
    ("UniPC on a flow", UniPCMultistepScheduler, UNIPC_FLOW, {}, 50),
    ("diffusers DDPM", diffusers.DDPMScheduler, UNCLIPPED, {}, 500),
    ("diffusers EulerAncestral", diffusers.EulerAncestralDiscreteScheduler, VP, {}, 300),
    ("diffusers Euler", diffusers.EulerDiscreteScheduler, VP, {}, 200),
    ("diffusers Heun", diffusers.HeunDiscreteScheduler, VP, {}, 50),
    ("diffusers DPMSolverMultistep", diffusers.DPMSolverMultistepScheduler, VP, {}, 50),
    (
        "diffusers SDE-DPM++",
        diffusers.DPMSolverMultistepScheduler,
        {**VP, "algorithm_type": "sde-dpmsolver++"},
        {},
        100,
    ),
    ("diffusers UniPC", diffusers.UniPCMultistepScheduler, VP, {}, 50),
    ("diffusers LMS", diffusers.LMSDiscreteScheduler, VP, {}, 50),
    ("diffusers PNDM", diffusers.PNDMScheduler, {**VP, "timestep_spacing": "leading"}, {}, 100),
    ("diffusers FlowMatchEuler", diffusers.FlowMatchEulerDiscreteScheduler, {}, {}, 200),
    ("diffusers FlowMatchHeun", diffusers.FlowMatchHeunDiscreteScheduler, {}, {}, 50),
]


@pytest.mark.parametrize("data", [one_gaussian(), three_gaussians()], ids=["one", "three"])
@pytest.mark.parametrize("name, scheduler_class, config, arguments, steps", STOCHASTIC, ids=[c[0] for c in STOCHASTIC])
def test_samples_have_the_mean_and_covariance_of_the_data(name, scheduler_class, config, arguments, steps, data):
    """4,000 points: means within 4 standard errors (0.04 at the most), covariances within 4 of theirs (0.06 at the
    most) and 2 % for the steps being finite. Catches a mean divided by 1 - alpha_bar in place of its root, a variance
    that is the other bound, noise in the last step, a last step left out."""
    scheduler = scheduler_class(**config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    x_T = data.sample_noisy(COUNT, level_at(scheduler, 0), generator)
    if "generator" in scheduler.step.__code__.co_varnames:
        arguments = {**arguments, "generator": generator}
    *_, (_, x_0) = trajectory(scheduler, data, x_T, **arguments)
    spread = data.covariance.diagonal().sqrt()
    assert ((x_0.mean(0) - data.mean).abs() <= 4 * spread / COUNT**0.5 + 0.01 * spread).all(), x_0.mean(0) - data.mean
    off = (torch.cov(x_0.T) - data.covariance).abs()
    assert (off <= spread[:, None] * spread * (4 * (2 / COUNT) ** 0.5 + 0.02)).all(), off


def wrong_root(scheduler):
    """DDPM's mean, (x_t - beta_t / sqrt(1 - alpha_bar_t) * noise) / sqrt(1 - beta_t), divided by 1 - alpha_bar_t."""
    step = scheduler.step

    def broken(output, t, x, **arguments):
        result = step(output, t, x, **arguments)
        (alpha_t, sigma_t), level_s = (scheduler.level(i) for i in (int(t), scheduler.previous_timestep(t)))
        alpha_ts, variance_ts = transition((alpha_t, sigma_t), level_s)
        noise = (x - alpha_t * result.pred_original_sample) / sigma_t
        result.prev_sample = result.prev_sample - variance_ts / alpha_ts * (sigma_t**-2 - 1 / sigma_t) * noise
        return result

    scheduler.step = broken


def last_step_skipped(scheduler):
    """What is left after the last but one step is taken for data."""
    step = scheduler.step

    def broken(output, t, x, **arguments):
        result = step(output, t, x, **arguments)
        result.prev_sample = x if t == scheduler.timesteps[-1] else result.prev_sample
        return result

    scheduler.step = broken


def begins_at_900(scheduler):
    """The grid starts at t = 900, although x_T is pure noise."""
    scheduler.set_timesteps(timesteps=list(range(900, -1, -5)))


@pytest.mark.parametrize(
    "scheduler_class, steps, toy_error, mean, variance",
    [
        (DDPMScheduler, 300, wrong_root, 0.4, 0.5),
        (DDIMScheduler, 10, last_step_skipped, 0.4, 1e-3),  # little of its own, so that left noise shows
        (DDIMScheduler, 200, begins_at_900, 2.0, 0.5),  # far from where pure noise is
    ],
)
def test_the_toy_s_errors_are_seen(scheduler_class, steps, toy_error, mean, variance):
    """From pure noise, as in a pipeline, the mean or the variance is off by 0.025 at least, and by less than 0.015 with
    the right sampler; Monte Carlo's standard error is 0.005. Digits look fine through all three."""
    tensors = ([1.0], [[mean, -mean]], [[[variance, 0.0], [0.0, variance]]])
    data, off = GaussianMixture(*(torch.tensor(values, dtype=torch.float64) for values in tensors)), []
    for breaks in (lambda scheduler: None, toy_error):
        options = {"timestep_spacing": "trailing", "prediction_type": "v_prediction", "clip_sample": False}
        scheduler = scheduler_class(beta_schedule="squaredcos_cap_v2", **options)
        scheduler.set_timesteps(steps)
        breaks(scheduler)
        generator = torch.Generator().manual_seed(0)
        x_T = torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
        noise = {"generator": generator} if scheduler_class is DDPMScheduler else {}
        *_, (_, x_0) = trajectory(scheduler, data, x_T, **noise)
        errors = [x_0.mean(0) - data.mean, torch.cov(x_0.T) - data.covariance]
        off.append(max(error.abs().max().item() for error in errors))
    assert off[0] < 0.015 and off[1] > 0.025, off


@pytest.mark.parametrize("scheduler_class", [DDPMScheduler, DDIMScheduler, UniPCMultistepScheduler])
def test_every_step_count_from_1_to_t_ends_on_clean_data(scheduler_class):
    """A single point is a Gaussian of no width: every sampler must end on it exactly. Catches a last step left out and
    a grid that falls off its end; T = 40, all counts, all spacings."""
    point, x_T = torch.tensor([[0.3, -0.8]], dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    for schedule in ("scaled_linear", "flow"):
        for spacing in TIMESTEP_SPACINGS:
            options = {"beta_schedule": schedule, "timestep_spacing": spacing, "prediction_type": "sample"}
            unclipped = {} if scheduler_class is UniPCMultistepScheduler else {"clip_sample": False}
            scheduler = scheduler_class(num_train_timesteps=40, **unclipped, **options)
            for steps in range(1, 41):
                scheduler.set_timesteps(steps)
                x = x_T
                for t in scheduler.timesteps:
                    x = scheduler.step(point, t, x).prev_sample
                assert torch.allclose(x, point), (schedule, spacing, steps)


def test_flow_samplers_agree():
    """Our DDIM on the flow path is Euler's method: on FlowMatchEuler's own grid the same to 1e-5, and both go where
    FlowMatchHeun goes. Catches timesteps that are one level off, and a shift that is applied twice."""
    data = one_gaussian()
    euler = diffusers.FlowMatchEulerDiscreteScheduler()
    euler.set_timesteps(17)
    ours = DDIMScheduler(**FLOW)
    ours.set_timesteps(timesteps=euler.timesteps)
    x_T = data.sample_noisy(64, level_at(ours, 0), torch.Generator().manual_seed(0))
    ends = [list(trajectory(scheduler, data, x_T))[-1][1] for scheduler in (ours, euler)]
    assert torch.allclose(*ends, atol=1e-5)

    heun = diffusers.FlowMatchHeunDiscreteScheduler()
    heun.set_timesteps(100)
    ours.set_timesteps(timesteps=torch.linspace(1000, 1, 2000).tolist())
    ends = [list(trajectory(scheduler, data, x_T))[-1][1] for scheduler in (ours, heun)]
    assert torch.allclose(*ends, atol=2e-3)
