"""Sampling of "Denoising Diffusion Implicit Models" (2010.02502) on any grid of timesteps; the maths: `ddim_plan`."""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401  diffusers looks for it in this module

from .coefficients import StepPlan, Walk, ddim_plan
from .scheduling_utils import DiscreteScheduler
from .tensors import fresh_noise


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

    def level(self, timestep: float) -> tuple[float, float]:
        """(alpha_t, sigma_t) of a timestep, as numbers."""
        # Without set_alpha_to_one the last step lands on the first level of training instead of on clean data.
        first = self.path.clean_timestep + 1
        return super().level(timestep if self.config.set_alpha_to_one else max(timestep, first))

    def make_plan(
        self, timesteps: Sequence[float], begin: int = 0, eta: float = 0.0, use_clipped_model_output: bool = False
    ) -> list[StepPlan]:
        """Return the steps on a grid as tables of numbers; arguments as in `step` and `ddim_plan`."""
        raw_noise = self.limit is not None and not use_clipped_model_output
        return ddim_plan(*self.ways(timesteps), self.config.prediction_type, begin, eta, raw_noise)

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
        """From x_t to x_s, the next timestep of the grid.

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
        plan = self.plan_at(timestep, eta=eta, use_clipped_model_output=use_clipped_model_output)
        if plan.noise > 0 and variance_noise is None:
            variance_noise = fresh_noise(sample, generator)
        prev_sample, x_0 = Walk().step(plan, model_output, sample, self.limit, variance_noise)
        if not return_dict:
            return prev_sample, x_0
        return DDIMSchedulerOutput(prev_sample=prev_sample, pred_original_sample=x_0)
