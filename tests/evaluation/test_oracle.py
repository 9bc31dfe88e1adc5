"""The oracle itself, against integrals worked out by brute force."""

import pytest
import torch

from text2digit.evaluation.oracle import one_gaussian, three_gaussians

LEVELS = [(0.95, 0.3), (0.5, 0.75), (0.1, 0.995)]


@pytest.mark.parametrize("level", LEVELS)
def test_the_denoiser_is_the_posterior_mean(level):
    """Against the integral over a grid of x_0; catches weights of the components that forget alpha_t."""
    data = three_gaussians()
    axis = torch.linspace(-3, 3, 601, dtype=torch.float64)
    x_0 = torch.cartesian_prod(axis, axis)  # (G, 2)
    normals = torch.distributions.MultivariateNormal(data.means, data.covariances)
    log_prior = torch.logsumexp(data.weights.log() + normals.log_prob(x_0[:, None]), dim=1)
    for x_t in torch.tensor([[0.2, -0.4], [-1.0, 0.8]], dtype=torch.float64):
        log_likelihood = -((x_t - level[0] * x_0) ** 2).sum(1) / (2 * level[1] ** 2)
        posterior = torch.softmax(log_prior + log_likelihood, dim=0)
        assert torch.allclose(data.denoise(x_t[None], level)[0], posterior @ x_0, atol=1e-6)


def test_moments_are_those_of_samples():
    """200,000 points, 4 standard errors."""
    data = three_gaussians()
    x_0 = data.sample(200_000, torch.Generator().manual_seed(0))
    assert torch.allclose(x_0.mean(0), data.mean, atol=4 * 0.8 / 200_000**0.5)
    assert torch.allclose(torch.cov(x_0.T), data.covariance, atol=4 * 0.8 * (2 / 200_000) ** 0.5)


def test_the_flow_map_follows_the_probability_flow():
    """Its derivative along sigma at alpha = 1 is (x_t - E[x_0 | x_t]) / sigma (2206.00364, equation 1)."""
    data, x_t, sigma, h = one_gaussian(), torch.randn(5, 2, dtype=torch.float64), 0.7, 1e-5
    there, back = (data.flow_map(x_t, (1.0, sigma), (1.0, s)) for s in (sigma + h, sigma - h))
    assert torch.allclose((there - back) / (2 * h), (x_t - data.denoise(x_t, (1.0, sigma))) / sigma, atol=1e-8)


def test_the_flow_map_keeps_the_distribution():
    data, start = one_gaussian(), (0.3, 0.9)
    x_0 = data.flow_map(data.sample_noisy(100_000, start, torch.Generator().manual_seed(0)), start, (1.0, 0.0))
    assert torch.allclose(torch.cov(x_0.T), data.covariance, atol=0.02)
    assert torch.allclose(x_0.mean(0), data.mean, atol=0.02)
    with pytest.raises(ValueError, match="got 3 components, expected one"):
        three_gaussians().flow_map(x_0, start, (1.0, 0.0))
