"""Ancestral sampling of "Denoising Diffusion Probabilistic Models" (2006.11239), on any grid of timesteps.

Names: t current and s next, cleaner timestep; `alpha_ts`, `variance_ts` lead from x_s to x_t: the roots of the paper's
1 - beta_t, and its beta_t, when s = t - 1.
"""

import math

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddpm import DDPMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401  diffusers looks for it in this module
from diffusers.utils.torch_utils import randn_tensor

from .noise import transition
from .scheduling_utils import DiscreteScheduler

VARIANCE_TYPES = ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range")


class DDPMScheduler(DiscreteScheduler):
    """DDPM's sampler. Constructor and methods are those of `diffusers.DDPMScheduler`; see there for each argument.

    Raises:
        ValueError: an unknown variance type, schedule, spacing or prediction type.
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        variance_type: str = "fixed_small",
        clip_sample: bool = True,
        prediction_type: str = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        clip_sample_range: float = 1.0,
        sample_max_value: float = 1.0,
        timestep_spacing: str = "leading",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
    ):
        if variance_type not in VARIANCE_TYPES:
            raise ValueError(f"variance_type: got {variance_type!r}, expected one of {', '.join(VARIANCE_TYPES)}.")
        self._build_levels()

    def step(
        self,
        model_output: torch.Tensor,
        timestep: float | torch.Tensor,
        sample: torch.Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> DDPMSchedulerOutput | tuple[torch.Tensor, torch.Tensor]:
        """Draw x_s given x_t and the model's prediction: q(x_s | x_t, x_0), equations 6 and 7.

        Args:
            model_output: (B, C, H, W); (B, 2C, H, W) for the two learned variance types.
            timestep: t, on the grid.
            sample: (B, C, H, W) x_t.
            generator: source of the noise, or one per image.
            return_dict: return a `DDPMSchedulerOutput`, else a tuple.

        Returns:
            `prev_sample` x_s and `pred_original_sample` x_0. The last step adds no noise.
        """
        t, s = float(timestep), self.previous_timestep(timestep)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self._level(t), self._level(s)
        learned = None
        if self.config.variance_type.startswith("learned"):
            model_output, learned = model_output.split(sample.shape[1], dim=1)
        x_0, _ = self._split_prediction(model_output, sample, alpha_t, sigma_t)

        alpha_ts, variance_ts = transition((alpha_t, sigma_t), (alpha_s, sigma_s))
        # Posterior mean (equation 7): how much of x_0 and of x_t.
        prev_sample = (alpha_s * variance_ts / sigma_t**2) * x_0 + (alpha_ts * sigma_s**2 / sigma_t**2) * sample
        if sigma_s > 0:
            small = variance_ts * sigma_s**2 / sigma_t**2  # equation 7: the variance when x_0 is known
            noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
            prev_sample = prev_sample + self._std(small, variance_ts, learned) * noise
        if not return_dict:
            return prev_sample, x_0
        return DDPMSchedulerOutput(prev_sample=prev_sample, pred_original_sample=x_0)

    def _std(self, small: float, large: float, learned: torch.Tensor | None) -> float | torch.Tensor:
        """Standard deviation of the step, between the bounds of section 3.2: `small` <= variance <= `large`."""
        variance_type = self.config.variance_type
        if variance_type in ("fixed_small", "fixed_small_log"):
            return math.sqrt(small)
        if variance_type in ("fixed_large", "fixed_large_log"):
            return math.sqrt(large)
        assert learned is not None
        if variance_type == "learned":
            return learned.sqrt()
        fraction = (learned + 1) / 2  # 2102.09672, equation 15
        return torch.exp(0.5 * (fraction * math.log(large) + (1 - fraction) * math.log(max(small, 1e-20))))
