"""What DDPM and DDIM share: the table of levels, the grid of timesteps, and the reading of a prediction."""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin

from .noise import make_betas, rescale_zero_terminal_snr
from .prediction import PREDICTION_TYPES, make_target, split_prediction
from .spacing import TIMESTEP_SPACINGS, check_timesteps, make_timesteps


class DiscreteScheduler(SchedulerMixin, ConfigMixin):
    """A variance-preserving process on T levels and a descending grid on them.

    `step` of a subclass finds the current and the next level on the grid that `set_timesteps` made, and keeps no state
    between calls. Until `set_timesteps` is called the grid is every timestep.

    Attributes:
        betas, alphas, alphas_cumprod: (T,) float32 on the CPU.
        timesteps: (n,) int64, descending.
        num_inference_steps: n, or None before `set_timesteps`.
        init_noise_sigma: 1.0, standard deviation of the noise that sampling starts from.
    """

    order = 1
    init_noise_sigma = 1.0
    # diffusers' schedulers that read the same betas: any of them may replace ours by from_config.
    _compatibles = [e.name for e in KarrasDiffusionSchedulers]

    def _build_levels(self) -> None:
        """Fill the tables from the config. Coefficients are read from float64 and leave as Python numbers."""
        c = self.config
        for name, known in (("prediction_type", PREDICTION_TYPES), ("timestep_spacing", TIMESTEP_SPACINGS)):
            if c[name] not in known:
                raise ValueError(f"{name}: got {c[name]!r}, expected one of {', '.join(known)}.")
        if c.trained_betas is not None:
            betas = torch.as_tensor(c.trained_betas, dtype=torch.float64)
        else:
            betas = make_betas(c.beta_schedule, c.num_train_timesteps, c.beta_start, c.beta_end)
        if c.rescale_betas_zero_snr:
            betas = rescale_zero_terminal_snr(betas)
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        self.betas, self.alphas, self.alphas_cumprod = betas.float(), (1 - betas).float(), alphas_cumprod.float()
        self._alpha, self._sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()  # (T,) float64, CPU
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(len(betas) - 1, -1, -1)

    def __len__(self) -> int:
        return self.config.num_train_timesteps

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[int] | None = None,
    ) -> None:
        """Fix the grid.

        Args:
            num_inference_steps: how many timesteps, from 1 to T, spaced by the config's `timestep_spacing`.
            device: where to keep them.
            timesteps: a grid of one's own instead: integers in [0, T), descending.

        Raises:
            ValueError: both or neither given, or values out of range.
        """
        if (num_inference_steps is None) == (timesteps is None):
            raise ValueError("set_timesteps: pass exactly one of num_inference_steps and timesteps.")
        if timesteps is not None:
            grid = check_timesteps(list(timesteps), len(self))
        else:
            assert num_inference_steps is not None
            grid = make_timesteps(
                self.config.timestep_spacing, num_inference_steps, len(self), self.config.steps_offset
            )
        self.num_inference_steps = len(grid)
        self.timesteps = grid.to(device)

    def previous_timestep(self, timestep: int | torch.Tensor) -> int:
        """The next, cleaner timestep of the grid; -1 after the last.

        Raises:
            ValueError: a timestep that is not on the grid.
        """
        place = (self.timesteps == int(timestep)).nonzero()
        if len(place) == 0:
            raise ValueError(
                f"timestep: got {int(timestep)}, which is not on the grid of {len(self.timesteps)} timesteps that "
                "set_timesteps made; pass one of scheduler.timesteps."
            )
        following = int(place[0]) + 1
        return int(self.timesteps[following]) if following < len(self.timesteps) else -1

    def _level(self, timestep: int) -> tuple[float, float]:
        """(alpha_t, sigma_t); timestep -1 is clean data."""
        if timestep < 0:
            return 1.0, 0.0
        return float(self._alpha[timestep]), float(self._sigma[timestep])

    def scale_model_input(self, sample: torch.Tensor, timestep: int | torch.Tensor | None = None) -> torch.Tensor:
        """Return `sample`: variance-preserving samples need no scaling. Here for schedulers to be exchangeable."""
        return sample

    def _split_prediction(
        self, model_output: torch.Tensor, sample: torch.Tensor, timestep: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted x_0, thresholded or clipped as the config says, and predicted noise."""
        x_0, noise = split_prediction(self.config.prediction_type, model_output, sample, *self._level(timestep))
        if self.config.thresholding:
            x_0 = dynamic_threshold(x_0, self.config.dynamic_thresholding_ratio, self.config.sample_max_value)
        elif self.config.clip_sample:
            x_0 = x_0.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        return x_0, noise

    def levels(self, timesteps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(alpha_t, sigma_t) of each image, as (B, 1, ...) on the device and in the dtype of `like`."""
        timesteps = timesteps.cpu()
        shape = (-1,) + (1,) * (like.dim() - 1)
        alpha_t, sigma_t = (table[timesteps].to(like.dtype).reshape(shape) for table in (self._alpha, self._sigma))
        return alpha_t.to(like.device), sigma_t.to(like.device)

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """x_t = alpha_t * x_0 + sigma_t * noise (2006.11239, equation 4).

        Args:
            original_samples, noise: (B, ...) x_0 and noise.
            timesteps: (B,) integers in [0, T).
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
