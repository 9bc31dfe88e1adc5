"""Data whose denoiser is known exactly, to measure samplers by.

With a trained model a wrong coefficient only makes digits a little worse. Here it makes a number wrong: a mixture of
Gaussians has a closed-form denoiser, and a single Gaussian a closed-form probability-flow map, so whatever a sampler
gets wrong is its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ..schedulers.prediction import make_target

Level = tuple[float, float]


@dataclass(frozen=True)
class GaussianMixture:
    """A distribution of points x_0, float64 on the CPU.

    Attributes:
        weights: (K,), summing to 1.
        means: (K, d).
        covariances: (K, d, d).
    """

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor

    @property
    def mean(self) -> torch.Tensor:
        """(d,)"""
        return self.weights @ self.means

    @property
    def covariance(self) -> torch.Tensor:
        """(d, d): the covariance within the components and that of their means."""
        centred = self.means - self.mean
        return torch.einsum("k,kij->ij", self.weights, self.covariances + centred[:, :, None] * centred[:, None, :])

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(count, d) points."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        roots = torch.linalg.cholesky(self.covariances)[chosen]
        noise = torch.randn(count, self.means.shape[1], 1, generator=generator, dtype=torch.float64)
        return self.means[chosen] + (roots @ noise)[..., 0]

    def sample_noisy(self, count: int, level: Level, generator: torch.Generator) -> torch.Tensor:
        """(count, d) points x_t at a level (alpha_t, sigma_t): what a sampler should start from."""
        x_0 = self.sample(count, generator)
        return level[0] * x_0 + level[1] * torch.randn(x_0.shape, generator=generator, dtype=torch.float64)

    def denoise(self, x_t: torch.Tensor, level: Level) -> torch.Tensor:
        """E[x_0 | x_t]: each component's linear estimate, weighted by how likely the component is.

        Args:
            x_t: (N, d) float64.
            level: (alpha_t, sigma_t).

        Returns:
            (N, d).
        """
        alpha_t, sigma_t = level
        identity = torch.eye(x_t.shape[1], dtype=torch.float64)
        noisy = torch.distributions.MultivariateNormal(
            alpha_t * self.means, alpha_t**2 * self.covariances + sigma_t**2 * identity
        )
        likely = torch.softmax(self.weights.log() + noisy.log_prob(x_t[:, None]), dim=1)  # (N, K)
        residual = torch.linalg.solve(noisy.covariance_matrix, (x_t[:, None] - noisy.mean)[..., None])  # (N, K, d, 1)
        estimates = self.means + alpha_t * (self.covariances @ residual)[..., 0]
        return (likely[..., None] * estimates).sum(dim=1)

    def predict(self, prediction_type: str, x_t: torch.Tensor, level: Level) -> torch.Tensor:
        """What a perfect model of the type says of (N, d) x_t at a level with noise."""
        x_0 = self.denoise(x_t, level)
        return make_target(prediction_type, x_0, (x_t - level[0] * x_0) / level[1], *level)

    def flow_map(self, x_t: torch.Tensor, from_level: Level, to_level: Level) -> torch.Tensor:
        """Where the probability-flow ODE takes (N, d) points of one Gaussian, from one level to another.

        In the basis of the covariance every coordinate keeps its number of standard deviations.

        Raises:
            ValueError: more than one component.
        """
        if len(self.weights) != 1:
            raise ValueError(f"flow_map: got {len(self.weights)} components, expected one, which has a closed form.")
        variances, basis = torch.linalg.eigh(self.covariances[0])
        (alpha_t, sigma_t), (alpha_s, sigma_s) = from_level, to_level
        ratio = ((alpha_s**2 * variances + sigma_s**2) / (alpha_t**2 * variances + sigma_t**2)).sqrt()
        return alpha_s * self.means[0] + ((x_t - alpha_t * self.means[0]) @ basis * ratio) @ basis.T


def one_gaussian() -> GaussianMixture:
    """A tilted ellipse off the centre."""
    mean, covariance = [[0.4, -0.3]], [[[0.5, 0.3], [0.3, 0.4]]]
    tensors = (torch.tensor(values, dtype=torch.float64) for values in ([1.0], mean, covariance))
    return GaussianMixture(*tensors)


def three_gaussians() -> GaussianMixture:
    """Three ellipses of different weights, apart."""
    means = [[-0.9, -0.4], [0.8, -0.6], [0.2, 0.9]]
    covariances = [[[0.05, 0.02], [0.02, 0.04]], [[0.03, 0.0], [0.0, 0.08]], [[0.1, -0.04], [-0.04, 0.05]]]
    tensors = (torch.tensor(values, dtype=torch.float64) for values in ([0.5, 0.3, 0.2], means, covariances))
    return GaussianMixture(*tensors)


def level_at(scheduler: Any, index: int) -> Level:
    """(alpha_t, sigma_t) at which a scheduler of ours or of diffusers wants its `index`-th prediction."""
    if hasattr(scheduler, "path"):
        alpha_t, sigma_t = scheduler.path.levels(scheduler.timesteps[index])
        return float(alpha_t), float(sigma_t)
    if hasattr(scheduler, "sigmas"):
        sigma = float(scheduler.sigmas[index])
        if hasattr(scheduler.config, "shift") or scheduler.config.get("use_flow_sigmas"):
            return 1 - sigma, sigma
        return (1 + sigma**2) ** -0.5, sigma * (1 + sigma**2) ** -0.5
    alphas_cumprod = float(scheduler.alphas_cumprod[scheduler.timesteps[index].long()].double())
    return alphas_cumprod**0.5, (1 - alphas_cumprod) ** 0.5


def trajectory(
    scheduler: Any, data: GaussianMixture, x_T: torch.Tensor, **step_arguments: Any
) -> Iterator[tuple[Level, torch.Tensor]]:
    """Sample with the exact denoiser.

    Args:
        scheduler: after `set_timesteps`.
        data: what is sampled.
        x_T: (N, d) noisy points at the level `level_at(scheduler, 0)`.
        step_arguments: of the scheduler's `step`.

    Yields:
        Level and (N, d) x_t, scaled as alpha_t * x_0 + sigma_t * noise, before each prediction; then (1, 0) and the
        result.
    """
    prediction_type = scheduler.config.get("prediction_type", "flow_prediction")
    x = x_T
    for index, t in enumerate(scheduler.timesteps):
        level = level_at(scheduler, index)
        # Schedulers that compute in sigma = sigma_t / alpha_t keep x_t / alpha_t, and undo it by scale_model_input.
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        if index == 0 and scaled is not x:
            x, scaled = x_T / level[0], x_T
        yield level, scaled.double()
        output = data.predict(prediction_type, scaled.double(), level)
        x = scheduler.step(output, t, x, **step_arguments).prev_sample
    yield (1.0, 0.0), x.double()
