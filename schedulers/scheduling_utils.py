"""What our schedulers share: the table of levels, the grid of timesteps, and the reading of a prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin

from .noise import NOISE_SCHEDULES, log_snr, make_path
from .prediction import PREDICTION_TYPES, make_target, split_prediction
from .spacing import TIMESTEP_SPACINGS, check_timesteps, make_timesteps


class DiscreteScheduler(SchedulerMixin, ConfigMixin):
    """A noise path of T levels and a descending grid on it.

    `step` of a subclass finds the current and the next level on the grid that `set_timesteps` made; DDPM and DDIM keep
    no state between calls. Until `set_timesteps` is called the grid is every level.

    Attributes:
        path: alpha_t and sigma_t of every timestep, float64 (`noise.NoisePath`).
        betas, alphas, alphas_cumprod: (T,) float32 on the CPU; of a flow, those of the variance-preserving process with
            the same signal-to-noise ratios.
        timesteps: (n,) descending; int64, or float32 for a flow.
        num_inference_steps: n, or None before `set_timesteps`.
        init_noise_sigma: 1.0, standard deviation of the noise that sampling starts from.
    """

    order = 1
    init_noise_sigma = 1.0
    _clips = True  # whether the class knows `clip_sample`, which the config of another one may bring along
    # diffusers' schedulers that read the same betas: any of them may replace ours by from_config.
    _compatibles = [e.name for e in KarrasDiffusionSchedulers]

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """diffusers' `from_config`, which also takes the config of one of its schedulers that follows a flow:
        `use_flow_sigmas` there is the beta schedule "flow" here."""
        if isinstance(config, Mapping) and config.get("use_flow_sigmas"):
            kwargs.setdefault("beta_schedule", "flow")
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def _build_levels(self) -> None:
        """Fill the tables from the config. Coefficients are read from float64 and leave as Python numbers."""
        c = self.config
        choices = {
            "beta_schedule": NOISE_SCHEDULES,
            "prediction_type": PREDICTION_TYPES,
            "timestep_spacing": TIMESTEP_SPACINGS,
        }
        for name, known in choices.items():
            if c[name] not in known:
                raise ValueError(f"{name}: got {c[name]!r}, expected one of {', '.join(known)}.")
        self.path = make_path(
            c.beta_schedule, c.num_train_timesteps, c.beta_start, c.beta_end, c.trained_betas, c.rescale_betas_zero_snr
        )
        self.timesteps = self._timesteps_at(torch.arange(len(self) - 1, -1, -1))
        alpha, sigma = self.path.levels(self.timesteps.flip(0))
        self._log_snr = log_snr(alpha, sigma)
        alphas_cumprod = torch.sigmoid(self._log_snr)
        alphas = alphas_cumprod / torch.cat([torch.ones(1), alphas_cumprod[:-1]])
        self.betas, self.alphas, self.alphas_cumprod = (1 - alphas).float(), alphas.float(), alphas_cumprod.float()
        self.num_inference_steps: int | None = None

    def _timesteps_at(self, places: torch.Tensor) -> torch.Tensor:
        """Timesteps of levels 0 to T - 1."""
        timesteps = places + self.path.clean_timestep + 1
        return timesteps if self.path.clean_timestep < 0 else timesteps.float()

    def __len__(self) -> int:
        return self.config.num_train_timesteps

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """Fix the grid.

        Args:
            num_inference_steps: how many timesteps, from 1 to T, spaced by the config's `timestep_spacing`.
            device: where to keep them.
            timesteps: a grid of one's own instead, descending: integers in [0, T), or numbers in (0, T] for a flow.

        Raises:
            ValueError: both or neither given, or values out of range.
        """
        if (num_inference_steps is None) == (timesteps is None):
            raise ValueError("set_timesteps: pass exactly one of num_inference_steps and timesteps.")
        if timesteps is not None:
            grid = check_timesteps(timesteps, self.path.clean_timestep, len(self))
        else:
            assert num_inference_steps is not None
            spacing, offset = self.config.timestep_spacing, self.config.steps_offset
            grid = self._timesteps_at(make_timesteps(spacing, num_inference_steps, len(self), offset, self._log_snr))
        self.num_inference_steps = len(grid)
        self.timesteps = grid.to(device)

    def previous_timestep(self, timestep: float | torch.Tensor) -> float:
        """The next, cleaner timestep of the grid; `path.clean_timestep` (-1, or 0 for a flow) after the last.

        Raises:
            ValueError: a timestep that is not on the grid.
        """
        grid, t = self.timesteps.tolist(), float(timestep)
        if t not in grid:
            raise ValueError(
                f"timestep: got {t:g}, which is not on the grid of {len(grid)} timesteps that set_timesteps made; pass "
                "one of scheduler.timesteps."
            )
        following = grid.index(t) + 1
        return grid[following] if following < len(grid) else self.path.clean_timestep

    def _level(self, timestep: float) -> tuple[float, float]:
        """(alpha_t, sigma_t)."""
        if timestep <= self.path.clean_timestep:
            return 1.0, 0.0
        return self.path.level(timestep)

    def scale_model_input(self, sample: torch.Tensor, timestep: int | torch.Tensor | None = None) -> torch.Tensor:
        """Return `sample`: variance-preserving samples need no scaling. Here for schedulers to be exchangeable."""
        return sample

    def _split_prediction(
        self, model_output: torch.Tensor, sample: torch.Tensor, alpha_t: float, sigma_t: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted x_0, thresholded or clipped as the config says, and predicted noise."""
        if alpha_t == 0 and self.config.prediction_type == "epsilon":
            raise ValueError(
                "prediction_type: got 'epsilon' at a timestep of pure noise, where the noise says nothing about x_0; "
                "use v_prediction, or a schedule without zero terminal SNR."
            )
        x_0, noise = split_prediction(self.config.prediction_type, model_output, sample, alpha_t, sigma_t)
        if self.config.thresholding:
            x_0 = dynamic_threshold(x_0, self.config.dynamic_thresholding_ratio, self.config.sample_max_value)
        elif self._clips and self.config.clip_sample:
            x_0 = x_0.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        return x_0, noise

    def levels(self, timesteps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(alpha_t, sigma_t) of each image, as (B, 1, ...) on the device and in the dtype of `like`."""
        shape = (-1,) + (1,) * (like.dim() - 1)
        alpha_t, sigma_t = (level.to(like.dtype).reshape(shape) for level in self.path.levels(timesteps.cpu()))
        return alpha_t.to(like.device), sigma_t.to(like.device)

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """x_t = alpha_t * x_0 + sigma_t * noise (2006.11239, equation 4).

        Args:
            original_samples, noise: (B, ...) x_0 and noise.
            timesteps: (B,) on the path.
        """
        alpha_t, sigma_t = self.levels(timesteps, like=original_samples)
        return alpha_t * original_samples + sigma_t * noise

    def get_velocity(self, sample: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """v = alpha_t * noise - sigma_t * x_0 (2202.00512, appendix D); arguments as in `add_noise`."""
        return make_target("v_prediction", sample, noise, *self.levels(timesteps, like=sample))


def dynamic_threshold(x_0: torch.Tensor, ratio: float, max_value: float) -> torch.Tensor:
    """Clip each image at its own quantile s of absolute values, 1 <= s <= max_value, and divide by s.

    Source: Imagen, 2205.11487, section 2.3.
    """
    s = torch.quantile(x_0.flatten(1).abs().float(), ratio, dim=1).clamp(1, max_value)
    s = s.to(x_0.dtype).reshape((-1,) + (1,) * (x_0.dim() - 1))
    return x_0.clamp(-s, s) / s
