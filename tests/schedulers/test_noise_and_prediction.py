"""The two modules that hold the maths."""

import math

import diffusers
import numpy as np
import pytest
import scipy.stats
import torch

from text2digit import DDIMScheduler
from text2digit.schedulers.coefficients import transition
from text2digit.schedulers.noise import (
    BETA_SCHEDULES,
    FlowPath,
    TablePath,
    levels_from_log_snr,
    log_snr,
    make_betas,
    make_path,
    rescale_zero_terminal_snr,
)
from text2digit.schedulers.prediction import (
    PREDICTION_TYPES,
    convert_prediction,
    make_target,
    split_prediction,
    x_0_error_scale,
)
from text2digit.schedulers.spacing import BETA_PARAMETERS, TIMESTEP_SPACINGS, _beta_quantiles, make_timesteps

COSINE = make_betas("squaredcos_cap_v2", 1000, 0, 0)
# The log-SNR of a schedule that ends in pure noise, at which a spacing must not stumble.
SNR = log_snr(*TablePath(rescale_zero_terminal_snr(COSINE)).levels(torch.arange(1000)))


@pytest.mark.parametrize("schedule", [name for name in BETA_SCHEDULES if name != "exponential"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_betas_are_those_of_diffusers(schedule, zero_snr):
    ours = make_betas(schedule, 1000, 1e-4, 0.02)
    ours = rescale_zero_terminal_snr(ours) if zero_snr else ours
    theirs = diffusers.DDPMScheduler(beta_schedule=schedule, rescale_betas_zero_snr=zero_snr).betas
    assert ours.dtype == torch.float64
    assert torch.allclose(ours.float(), theirs, atol=2e-6)


def test_cosine_schedule_by_hand():
    """2102.09672, equation 17, at T = 2: catches a shifted index."""
    bar = [math.cos((t / 2 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(3)]
    expected = torch.tensor([1 - bar[1] / bar[0], 0.999], dtype=torch.float64)
    assert torch.allclose(make_betas("squaredcos_cap_v2", 2, 0, 0), expected)


def test_exponential_schedule_by_hand():
    """The same factor from each beta to the next; diffusers has no such schedule to compare with."""
    betas = make_betas("exponential", 3, 1e-4, 1e-2)
    assert betas.tolist() == pytest.approx([1e-4, 1e-3, 1e-2], rel=1e-12)


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_first_level():
    betas = make_betas("linear", 1000, 1e-4, 0.02)
    rescaled = rescale_zero_terminal_snr(betas)
    assert torch.cumprod(1 - rescaled, 0)[-1] == 0
    assert rescaled[0].item() == pytest.approx(betas[0].item(), rel=1e-12)


def test_log_snr_and_its_inverse():
    alpha_t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    sigma_t = (1 - alpha_t**2).sqrt()
    back = levels_from_log_snr(log_snr(alpha_t, sigma_t))
    assert torch.allclose(back[0], alpha_t) and torch.allclose(back[1], sigma_t)
    assert log_snr(torch.tensor(math.sqrt(0.8)), torch.tensor(math.sqrt(0.2))).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("schedule", [*BETA_SCHEDULES, "flow"])
@pytest.mark.parametrize("rescaled", [False, True])
def test_a_path_s_ends_are_what_its_docstring_says(schedule, rescaled):
    """Clean end nearly or exactly clean, noisy end exactly pure noise where it is promised, and descending between."""
    path = make_path(schedule, 1000, 1e-4, 0.02, None, rescaled)
    timesteps = torch.arange(1000) + path.clean_timestep + 1
    alpha, sigma = path.levels(timesteps)
    assert alpha.dtype == sigma.dtype == torch.float64
    assert (alpha[1:] < alpha[:-1]).all() and (sigma[1:] >= sigma[:-1]).all()
    if schedule == "flow":
        assert torch.allclose(alpha + sigma, torch.ones(1000, dtype=torch.float64), atol=1e-15)
        assert (alpha[-1], sigma[-1]) == (0, 1) and sigma[0] == 1e-3
        assert [float(level) for level in path.levels(torch.tensor(0.0))] == [1, 0]
    else:
        assert torch.allclose(alpha**2 + sigma**2, torch.ones(1000, dtype=torch.float64), atol=1e-12)
        assert 0 < sigma[0] < 0.02
        assert (alpha[-1] == 0) == rescaled


@pytest.mark.parametrize("schedule", ["linear", "flow"])
def test_a_level_in_numbers_is_that_in_tensors(schedule):
    """Catches a table of numbers that is shifted by one, or in float32, beside the tensors that training reads."""
    path = make_path(schedule, 1000, 0.0001, 0.02, None, True)
    timesteps = torch.arange(path.clean_timestep + 1, path.clean_timestep + 1001)
    alpha, sigma = path.levels(timesteps)
    assert [path.level(t) for t in timesteps.double().tolist()] == list(
        zip(alpha.tolist(), sigma.tolist(), strict=True)
    )


def test_timesteps_are_found_by_their_log_snr():
    """Catches a shifted index, and a flow whose inverse forgets the factor 2 of the logarithm."""
    for path in (TablePath(COSINE), TablePath(rescale_zero_terminal_snr(COSINE))):
        everyone = torch.arange(1000)
        assert torch.equal(path.timestep_at(log_snr(*path.levels(everyone))), everyone)
    times = torch.linspace(1, 999, 50, dtype=torch.float64)
    assert torch.allclose(FlowPath(1000).timestep_at(log_snr(*FlowPath(1000).levels(times))), times, atol=1e-9)
    assert FlowPath(1000).timestep_at(torch.tensor(0.0)) == 500  # where signal and noise are alike


def test_times_become_timesteps():
    times = torch.tensor([0.0, 0.0009, 0.5, 0.9999999], dtype=torch.float64)
    assert TablePath(COSINE).timesteps_of(times).tolist() == [0, 0, 500, 999]
    assert FlowPath(1000).timesteps_of(times).tolist() == pytest.approx([0, 0.9, 500, 999.9999])


def test_transition_by_hand():
    """beta_t from one level of a table to the next; on a flow from 0.4 to 0.8 of noise."""
    path = TablePath(make_betas("linear", 1000, 1e-4, 0.02))
    for t in (1, 500, 999):
        levels = [tuple(float(x) for x in path.levels(torch.tensor(i))) for i in (t, t - 1)]
        alpha_ts, variance_ts = transition(*levels)
        beta = 1e-4 + (0.02 - 1e-4) * t / 999
        assert variance_ts == pytest.approx(beta, rel=1e-9) and alpha_ts == pytest.approx(math.sqrt(1 - beta))
    alpha_ts, variance_ts = transition((0.2, 0.8), (0.6, 0.4))
    assert alpha_ts == pytest.approx(1 / 3) and variance_ts == pytest.approx(0.64 - 0.16 / 9)
    assert transition((0.0, 1.0), (0.6, 0.8)) == (0.0, 1.0)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_reading_a_target_gives_back_what_it_was_made_of(prediction_type):
    """Catches a sign or a swapped coefficient in any prediction type."""
    x_0, noise = torch.randn(2, 4, 1, 3, 3, dtype=torch.float64)
    alpha_t = torch.tensor([0.05, 0.5, 0.9, 0.999], dtype=torch.float64).reshape(4, 1, 1, 1)
    sigma_t = (1 - alpha_t**2).sqrt()
    target = make_target(prediction_type, x_0, noise, alpha_t, sigma_t)
    read = split_prediction(prediction_type, target, alpha_t * x_0 + sigma_t * noise, alpha_t, sigma_t)
    assert torch.allclose(read[0], x_0, atol=1e-12) and torch.allclose(read[1], noise, atol=1e-12)


@pytest.mark.parametrize("source", PREDICTION_TYPES)
@pytest.mark.parametrize("target", PREDICTION_TYPES)
@pytest.mark.parametrize("alpha_t, sigma_t", [(0.6, 0.8), (0.3, 0.7)], ids=["variance preserving", "flow"])
def test_each_prediction_type_converts_to_each(source, target, alpha_t, sigma_t):
    """Catches a conversion that holds on one of the two kinds of path only."""
    x_0, noise = torch.randn(2, 5, dtype=torch.float64)
    said, wanted = (make_target(name, x_0, noise, alpha_t, sigma_t) for name in (source, target))
    sample = alpha_t * x_0 + sigma_t * noise
    assert torch.allclose(convert_prediction(source, target, said, sample, alpha_t, sigma_t), wanted, atol=1e-12)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_errors_of_a_prediction_scale_to_errors_of_x_0(prediction_type):
    """A prediction that is off by 0.1: how far x_0 is off."""
    alpha_t, sigma_t = torch.tensor([0.6, 0.3], dtype=torch.float64), torch.tensor([0.8, 0.7], dtype=torch.float64)
    sample, output = torch.randn(2, 2, dtype=torch.float64)
    right, _ = split_prediction(prediction_type, output, sample, alpha_t, sigma_t)
    wrong, _ = split_prediction(prediction_type, output + 0.1, sample, alpha_t, sigma_t)
    assert torch.allclose((wrong - right) ** 2, x_0_error_scale(prediction_type, alpha_t, sigma_t) * 0.01)


def test_a_prediction_that_is_the_answer_is_not_touched():
    """Catches rounding or 0 * inf where nothing has to be computed."""
    output, sample = torch.randn(5), torch.full((5,), 1e30)
    assert torch.equal(split_prediction("sample", output, sample, 0.3, 0.95)[0], output)
    assert torch.equal(split_prediction("epsilon", output, sample, 0.3, 0.95)[1], output)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 16, 50, 333, 999, 1000])
@pytest.mark.parametrize("spacing", TIMESTEP_SPACINGS)
def test_every_step_count_gives_a_descending_grid(spacing, steps):
    grid = make_timesteps(spacing, steps, 1000, steps_offset=1, snr=SNR)
    assert len(grid) == steps and grid.min() >= 0 and grid.max() <= 999
    assert (grid[1:] < grid[:-1]).all()
    assert spacing == "leading" or grid[0] == 999
    assert steps == 1 or spacing in ("leading", "trailing", "beta") or grid[-1] == 0


def test_spacings_start_and_end_where_they_say():
    """Ten steps from pure noise start at 999 with trailing and linspace; the toy's started at 900 with all."""
    assert make_timesteps("trailing", 10, 1000, 0).tolist() == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert make_timesteps("leading", 10, 1000, 1).tolist() == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert make_timesteps("linspace", 4, 1000, 0).tolist() == [999, 666, 333, 0]
    assert make_timesteps("linspace", 1, 1000, 0).tolist() == [999]
    assert make_timesteps("quadratic", 4, 1000, 0).tolist() == [999, 444, 111, 0]
    assert make_timesteps("exponential", 4, 1000, 0).tolist() == [999, 99, 9, 0]
    assert make_timesteps("exponential", 7, 8, 0).tolist() == [7, 5, 4, 3, 2, 1, 0]  # moved apart, none twice


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 50])
def test_beta_spacing_has_even_quantiles(steps):
    """Those of SciPy. Catches ends or parameters that are exchanged, and an integral that is off by a place."""
    quantiles = scipy.stats.beta.ppf(1 - np.arange(steps) / steps, *BETA_PARAMETERS)
    grid = make_timesteps("beta", steps, 1000)
    assert np.abs(grid.numpy() - (1000 * quantiles - 1)).max() < 0.51  # rounded


@pytest.mark.parametrize("a, b", [(0.5, 0.5), (0.6, 0.6), (1, 1), (2, 0.9)])
def test_quantiles_of_beta_distributions(a, b):
    shares = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert np.abs(_beta_quantiles(shares, a, b).numpy() - scipy.stats.beta.ppf(shares.numpy(), a, b)).max() < 1e-4


def test_log_snr_spacing_has_even_distances():
    """Catches distances that are even in alpha or in the timestep. Levels are integers, so to within one level."""
    for snr in (SNR, log_snr(*TablePath(make_betas("linear", 1000, 1e-4, 0.02)).levels(torch.arange(1000)))):
        grid = make_timesteps("log_snr", 8, 1000, snr=snr)
        reached = snr[grid].clamp(min=float(snr[998 if snr[-1].isinf() else 999]))
        gaps = reached[1:] - reached[:-1]
        assert (gaps - gaps.mean()).abs().max() < 0.6  # where a level's width in log-SNR is 1.2 at the most
    for levels in (1, 2, 3):  # nothing to space out
        few = torch.tensor([5.0, 1.0, -torch.inf][:levels])
        assert make_timesteps("log_snr", levels, levels, snr=few).tolist() == list(range(levels))[::-1]


def test_betas_of_one_s_own_must_be_as_many_as_timesteps():
    with pytest.raises(ValueError, match="trained_betas: got 3 for num_train_timesteps = 10"):
        make_path("linear", 10, 0.1, 0.2, [0.1, 0.2, 0.3], False)
    assert make_path("linear", 2, 0.1, 0.2, [0.5, 0.75], False).levels(torch.tensor(1))[0] == pytest.approx(
        math.sqrt(0.125), rel=1e-15
    )


def test_unknown_choices_list_the_choices():
    with pytest.raises(ValueError, match="'cosine', expected one of linear, scaled_linear, squaredcos_cap_v2"):
        make_betas("cosine", 10, 0.1, 0.2)
    with pytest.raises(ValueError, match="'eps', expected one of epsilon, sample, v_prediction, flow_prediction"):
        make_target("eps", torch.zeros(1), torch.zeros(1), 1.0, 0.0)
    with pytest.raises(ValueError, match="'even', expected one of leading, trailing, linspace"):
        make_timesteps("even", 10, 1000, 0)


@pytest.mark.parametrize("config", [{"beta_start": 0.0}, {"beta_end": -0.5}, {"trained_betas": [0.0] * 1000}])
def test_levels_without_noise_are_refused(config):
    """Catches a division by zero in the first step, and images that are no numbers."""
    with pytest.raises(ValueError, match=r"betas: got values from .* expected all above 0"):
        DDIMScheduler(**config)


@pytest.mark.parametrize("steps", [0, -5, 2_000_000_000])
def test_a_table_of_no_use_is_refused(steps):
    """Catches a config that fills the memory before anything else is looked at."""
    with pytest.raises(ValueError, match=r"num_train_timesteps: got .*, expected 1 to 100,000"):
        DDIMScheduler(num_train_timesteps=steps)
