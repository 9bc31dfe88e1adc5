"""Ancestral sampling of "Denoising Diffusion Probabilistic Models" (2006.11239) on any grid; the maths: `ddpm_plan`."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddpm import DDPMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin  # noqa: F401  diffusers looks for it in this module

from .coefficients import Level, StepPlan, Walk, ddpm_plan, transition
from .scheduling_utils import DiscreteScheduler
from .tensors import fresh_noise

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

    @property
    def runs_by_plan(self) -> bool:  # type: ignore[override]
        """Whether the table is all of the sampler; a learned variance is no number."""
        return not self._is_learned

    def make_plan(self, timesteps: Sequence[float], begin: int = 0) -> list[StepPlan]:
        """Return the steps on a grid as tables of numbers (`ddpm_plan`)."""
        large = self.config.variance_type.startswith("fixed_large")
        return ddpm_plan(*self.ways(timesteps), self.config.prediction_type, begin, large)

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
        plan = self.plan_at(timestep)
        learned = None
        if self._is_learned:
            model_output, learned = model_output.split(sample.shape[1], dim=1)
        z = fresh_noise(sample, generator) if plan.noise > 0 else None
        if z is not None and learned is not None:
            plan = replace(plan, noise=self._learned_std(learned, self.level(plan.t), self.level(plan.r)))
        prev_sample, x_0 = Walk().step(plan, model_output, sample, self.limit, z)
        if not return_dict:
            return prev_sample, x_0
        return DDPMSchedulerOutput(prev_sample=prev_sample, pred_original_sample=x_0)

    @property
    def _is_learned(self) -> bool:
        return self.config.variance_type.startswith("learned")

    def _learned_std(self, learned: torch.Tensor, level_t: Level, level_s: Level) -> torch.Tensor:
        """Standard deviation of a step of which the model predicts the variance, (B, C, H, W).

        "learned_range" predicts where it lies between the bounds of section 3.2.
        """
        if self.config.variance_type == "learned":
            return learned.sqrt()
        large = transition(level_t, level_s)[1]
        small = large * (level_s[1] / level_t[1]) ** 2
        fraction = (learned + 1) / 2  # 2102.09672, equation 15
        return torch.exp(0.5 * (fraction * math.log(large) + (1 - fraction) * math.log(max(small, 1e-20))))
