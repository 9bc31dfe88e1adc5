"""The two modules that hold the maths."""

import math

import diffusers
import pytest
import torch

from text2digit.schedulers.noise import (
    BETA_SCHEDULES,
    levels_from_log_snr,
    log_snr,
    make_betas,
    rescale_zero_terminal_snr,
)
from text2digit.schedulers.prediction import PREDICTION_TYPES, make_target, split_prediction
from text2digit.schedulers.spacing import TIMESTEP_SPACINGS, make_timesteps


@pytest.mark.parametrize("schedule", BETA_SCHEDULES)
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


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_reading_a_target_gives_back_what_it_was_made_of(prediction_type):
    """Catches a sign or a swapped coefficient in any prediction type."""
    x_0, noise = torch.randn(2, 4, 1, 3, 3, dtype=torch.float64)
    alpha_t = torch.tensor([0.05, 0.5, 0.9, 0.999], dtype=torch.float64).reshape(4, 1, 1, 1)
    sigma_t = (1 - alpha_t**2).sqrt()
    target = make_target(prediction_type, x_0, noise, alpha_t, sigma_t)
    read = split_prediction(prediction_type, target, alpha_t * x_0 + sigma_t * noise, alpha_t, sigma_t)
    assert torch.allclose(read[0], x_0, atol=1e-12) and torch.allclose(read[1], noise, atol=1e-12)


def test_a_prediction_that_is_the_answer_is_not_touched():
    """Catches rounding or 0 * inf where nothing has to be computed."""
    output, sample = torch.randn(5), torch.full((5,), 1e30)
    assert torch.equal(split_prediction("sample", output, sample, 0.3, 0.95)[0], output)
    assert torch.equal(split_prediction("epsilon", output, sample, 0.3, 0.95)[1], output)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 16, 50, 333, 999, 1000])
@pytest.mark.parametrize("spacing", TIMESTEP_SPACINGS)
def test_every_step_count_gives_a_descending_grid(spacing, steps):
    grid = make_timesteps(spacing, steps, 1000, steps_offset=1)
    assert len(grid) == steps and grid.min() >= 0 and grid.max() <= 999
    assert (grid[1:] < grid[:-1]).all()


def test_spacings_start_and_end_where_they_say():
    """Ten steps from pure noise start at 999 with trailing and linspace; the toy's started at 900 with all."""
    assert make_timesteps("trailing", 10, 1000, 0).tolist() == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert make_timesteps("leading", 10, 1000, 1).tolist() == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert make_timesteps("linspace", 4, 1000, 0).tolist() == [999, 666, 333, 0]
    assert make_timesteps("linspace", 1, 1000, 0).tolist() == [999]


def test_unknown_choices_list_the_choices():
    with pytest.raises(ValueError, match="'cosine', expected one of linear, scaled_linear, squaredcos_cap_v2, sigmoid"):
        make_betas("cosine", 10, 0.1, 0.2)
    with pytest.raises(ValueError, match="'eps', expected one of epsilon, sample, v_prediction, flow_prediction"):
        make_target("eps", torch.zeros(1), torch.zeros(1), 1.0, 0.0)
    with pytest.raises(ValueError, match="'even', expected one of leading, trailing, linspace"):
        make_timesteps("even", 10, 1000, 0)
