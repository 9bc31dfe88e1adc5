"""Sampling of "Denoising Diffusion Implicit Models" (2010.02502), equations 12 and 16, on any grid of timesteps.

Names: t current and s next, cleaner timestep; eta scales the fresh noise, 0 is deterministic and 1 is DDPM.
"""

import math

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401  diffusers looks for it in this module
from diffusers.utils.torch_utils import randn_tensor

from .noise import transition
from .scheduling_utils import DiscreteScheduler


class DDIMScheduler(DiscreteScheduler):
    """DDIM's sampler. Constructor and methods are those of `diffusers.DDIMScheduler`; see there for each argument.

    One thing differs: the next timestep is read from the grid, where diffusers subtracts T // n. The two agree for
    "leading" spacing; for "trailing" and "linspace" grids only this one lands on the level that it says.

    Raises:
        ValueError: an unknown schedule, spacing or prediction type.
    """

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        clip_sample: bool = True,
        set_alpha_to_one: bool = True,
        steps_offset: int = 0,
        prediction_type: str = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        clip_sample_range: float = 1.0,
        sample_max_value: float = 1.0,
        timestep_spacing: str = "leading",
        rescale_betas_zero_snr: bool = False,
    ):
        self._build_levels()
        self.final_alpha_cumprod = torch.tensor(1.0) if set_alpha_to_one else self.alphas_cumprod[0]

    def _level(self, timestep: float) -> tuple[float, float]:
        # Without set_alpha_to_one the last step lands on the first level of training instead of on clean data.
        first = self.path.clean_timestep + 1
        return super()._level(timestep if self.config.set_alpha_to_one else max(timestep, first))

    def step(
        self,
        model_output: torch.Tensor,
        timestep: float | torch.Tensor,
        sample: torch.Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: torch.Generator | list[torch.Generator] | None = None,
        variance_noise: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[torch.Tensor, torch.Tensor]:
        """From x_t to x_s.

        Args:
            model_output: (B, C, H, W).
            timestep: t, on the grid.
            sample: (B, C, H, W) x_t.
            eta: at least 0; how much of DDPM's fresh noise to add.
            use_clipped_model_output: derive the noise again from the clipped x_0.
            generator: source of the fresh noise, or one per image.
            variance_noise: the fresh noise itself, in place of a generator.
            return_dict: return a `DDIMSchedulerOutput`, else a tuple.

        Returns:
            `prev_sample` x_s and `pred_original_sample` x_0.

        Raises:
            ValueError: both `generator` and `variance_noise`, or a timestep off the grid.
        """
        if generator is not None and variance_noise is not None:
            raise ValueError("step: pass either generator or variance_noise, not both.")
        t, s = float(timestep), self.previous_timestep(timestep)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self._level(t), self._level(s)
        x_0, noise = self._split_prediction(model_output, sample, alpha_t, sigma_t)
        if use_clipped_model_output:
            noise = (sample - alpha_t * x_0) / sigma_t

        # Equation 16; DDPM's posterior standard deviation, scaled.
        _, variance_ts = transition((alpha_t, sigma_t), (alpha_s, sigma_s))
        std = eta * (sigma_s / sigma_t) * math.sqrt(variance_ts)
        # Equation 12: clean image, direction back to x_t, fresh noise.
        prev_sample = alpha_s * x_0 + math.sqrt(max(sigma_s**2 - std**2, 0.0)) * noise
        if std > 0:
            if variance_noise is None:
                variance_noise = randn_tensor(
                    sample.shape, generator=generator, device=sample.device, dtype=sample.dtype
                )
            prev_sample = prev_sample + std * variance_noise
        if not return_dict:
            return prev_sample, x_0
        return DDIMSchedulerOutput(prev_sample=prev_sample, pred_original_sample=x_0)
