"""Data whose denoiser is known exactly: one Gaussian per pixel, mean `mu` and standard deviation `s`."""

import torch

from text2digit.schedulers.prediction import make_target


class GaussianDenoiser:
    """Predicts what a perfect model of N(mu, s^2) pixels would.

    E[x_0 | x_t] = mu + s^2 alpha_t / (alpha_t^2 s^2 + sigma_t^2) * (x_t - alpha_t mu), and the noise that goes with it.
    """

    def __init__(self, scheduler, mu=0.3, s=0.5):
        self.scheduler, self.mu, self.s = scheduler, mu, s

    def __call__(self, x_t, timestep):
        alpha_t, sigma_t = self.scheduler._level(int(timestep))
        variance = alpha_t**2 * self.s**2 + sigma_t**2
        residual = x_t - alpha_t * self.mu
        x_0 = self.mu + self.s**2 * alpha_t / variance * residual
        noise = sigma_t / variance * residual
        return make_target(self.scheduler.config.prediction_type, x_0, noise, alpha_t, sigma_t)

    def flow_map(self, x_T, timestep):
        """Where the probability-flow ODE takes x_t at t = 0: it keeps the number of standard deviations."""
        alpha_t, sigma_t = self.scheduler._level(int(timestep))
        z = (x_T - alpha_t * self.mu) / torch.tensor(alpha_t**2 * self.s**2 + sigma_t**2).sqrt()
        return self.mu + self.s * z


def sample(scheduler, denoiser, x_T, **step_arguments):
    """The bare loop, in float64."""
    x = x_T.double()
    for t in scheduler.timesteps:
        x = scheduler.step(denoiser(x, t), t, x, **step_arguments).prev_sample
    return x
