"""What our schedulers share: the table of levels, the grid of timesteps, and the reading of a prediction."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin

from .coefficients import Level, StepPlan
from .noise import NOISE_SCHEDULES, log_snr, make_path
from .prediction import PREDICTION_TYPES, make_target
from .spacing import TIMESTEP_SPACINGS, check_timesteps, make_timesteps
from .tensors import dynamic_threshold


class DiscreteScheduler(SchedulerMixin, ConfigMixin):
    """A noise path of T levels and a descending grid on it.

    A subclass turns a grid into a table of numbers (`make_plan`); its `step` looks up the numbers of a timestep and
    applies them. A pipeline runs the table itself, so that a call changes nothing here. Until `set_timesteps` is called
    the grid is every level.

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
    runs_by_plan = True  # whether `make_plan` is all of the sampler, so that a pipeline need not call `step`
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
        self._plan: Any = None

    def _timesteps_at(self, places: torch.Tensor) -> torch.Tensor:
        """Timesteps of levels 0 to T - 1."""
        timesteps = places + self.path.clean_timestep + 1
        return timesteps if self.path.clean_timestep < 0 else timesteps.float()

    def __len__(self) -> int:
        return self.config.num_train_timesteps

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Have a class with a `step` of its own, and no table for it, run by that step."""
        super().__init_subclass__(**arguments)
        if "step" in vars(cls) and "make_plan" not in vars(cls):
            cls.runs_by_plan = False

    def make_plan(self, timesteps: Sequence[float], begin: int = 0) -> list[StepPlan]:
        """Return the steps on a grid, from the `begin`-th on, as tables of numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no make_plan.")

    def make_grid(
        self, num_inference_steps: int | None = None, timesteps: Sequence[float] | None = None
    ) -> torch.Tensor:
        """Return the grid that `set_timesteps` would keep, (n,) on the CPU; arguments and errors as there."""
        if (num_inference_steps is None) == (timesteps is None):
            raise ValueError("set_timesteps: pass exactly one of num_inference_steps and timesteps.")
        if timesteps is not None:
            return check_timesteps(timesteps, self.path.clean_timestep, len(self))
        assert num_inference_steps is not None
        spacing, offset = self.config.timestep_spacing, self.config.steps_offset
        return self._timesteps_at(make_timesteps(spacing, num_inference_steps, len(self), offset, self._log_snr))

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
        grid = self.make_grid(num_inference_steps, timesteps)
        self.num_inference_steps = len(grid)
        self.timesteps = grid.to(device)

    def _place(self, timestep: float | torch.Tensor) -> tuple[int, list[float]]:
        """Where a timestep stands on the grid, and the grid as numbers."""
        grid, t = self.timesteps.tolist(), float(timestep)
        if t not in grid:
            raise ValueError(
                f"timestep: got {t:g}, which is not on the grid of {len(grid)} timesteps that set_timesteps made; pass "
                "one of scheduler.timesteps."
            )
        return grid.index(t), grid

    def previous_timestep(self, timestep: float | torch.Tensor) -> float:
        """Return the next, cleaner timestep of the grid; `path.clean_timestep` (-1, or 0 for a flow) after the last.

        Raises:
            ValueError: a timestep that is not on the grid.
        """
        place, grid = self._place(timestep)
        return [*grid, self.path.clean_timestep][place + 1]

    def level(self, timestep: float) -> Level:
        """Return (alpha_t, sigma_t) of a timestep, as numbers."""
        return self.path.level(timestep)

    def ways(self, timesteps: Sequence[float]) -> tuple[list[float], list[Level]]:
        """Return a grid with the timestep that it ends at, and the levels of both, as the plans want them."""
        grid = [*timesteps, self.path.clean_timestep]
        return grid, [self.level(t) for t in grid]

    def plan_at(self, timestep: float | torch.Tensor, begin: int = 0, **options: Any) -> StepPlan:
        """Return the numbers of one step on the grid; the table is made once for each grid and options.

        Raises:
            ValueError: a timestep that is not on the grid.
        """
        place, grid = self._place(timestep)
        key = (tuple(grid), begin, *options.items())
        if self._plan is None or self._plan[0] != key:
            self._plan = (key, self.make_plan(grid, begin, **options))
        return self._plan[1][place - begin]

    def scale_model_input(self, sample: torch.Tensor, timestep: int | torch.Tensor | None = None) -> torch.Tensor:
        """Return `sample`: variance-preserving samples need no scaling. Here for schedulers to be exchangeable."""
        return sample

    @property
    def limit(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """What the config does to a predicted x_0: dynamic thresholding, clipping, or None."""
        c = self.config
        if c.thresholding:
            return lambda x_0: dynamic_threshold(x_0, c.dynamic_thresholding_ratio, c.sample_max_value)
        if self._clips and c.clip_sample:
            return lambda x_0: x_0.clamp(-c.clip_sample_range, c.clip_sample_range)
        return None

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
