"""Sampling of "UniPC: A Unified Predictor-Corrector Framework" (2302.04867), for x_0, on any grid of timesteps.

A step of DDIM takes the predicted x_0 for constant on the way. UniPC's predictor puts a polynomial in the log-SNR
through the last predictions of x_0. Once the next prediction is there, its corrector goes the same way again with it:
one order more, and no further call of the model. The maths: `unipc_plan`.
"""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput  # noqa: F401  as in scheduling_ddim

from .coefficients import StepPlan, Walk, unipc_plan
from .scheduling_utils import DiscreteScheduler

SOLVER_TYPES = ("bh1", "bh2")


class UniPCMultistepScheduler(DiscreteScheduler):
    """UniPC's sampler. The arguments are those of `diffusers.UniPCMultistepScheduler`; see there for each.

    Where that one has options for grids (Karras' and others), this one takes all our spacings, and `timesteps`; it
    reads every path and every prediction type. It goes on from the last call of `step`, and begins anew where a
    timestep does not follow the last one.

    Raises:
        ValueError: an unknown schedule, spacing, prediction type or solver type, an order below 1, or
            `predict_x0=False`.
    """

    _clips = False

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        solver_order: int = 2,
        prediction_type: str = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
        predict_x0: bool = True,
        solver_type: str = "bh2",
        lower_order_final: bool = True,
        disable_corrector: Sequence[int] = (),
        timestep_spacing: str = "linspace",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
    ):
        if solver_type not in SOLVER_TYPES:
            raise ValueError(f"solver_type: got {solver_type!r}, expected one of {', '.join(SOLVER_TYPES)}.")
        if solver_order < 1:
            raise ValueError(f"solver_order: got {solver_order}, expected 1 or more; 2 is usual under guidance.")
        if not predict_x0:
            raise ValueError("predict_x0: got False, expected True; diffusers' class solves for the noise.")
        self._build_levels()
        self._begin_anew(0)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """As `DiscreteScheduler.set_timesteps`; the next step begins anew."""
        super().set_timesteps(num_inference_steps, device, timesteps)
        self._begin_anew(0)

    def _begin_anew(self, begin: int) -> None:
        self._begin, self._walk = begin, Walk()
        self._expected: float | None = None  # the timestep that goes on from the last step

    def make_plan(self, timesteps: Sequence[float], begin: int = 0) -> list[StepPlan]:
        """Return the steps on a grid as tables of numbers (`unipc_plan`); nothing is known before `begin`."""
        c = self.config
        options = (c.solver_order, c.solver_type, c.lower_order_final, c.disable_corrector)
        return unipc_plan(*self.ways(timesteps), c.prediction_type, begin, *options)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: float | torch.Tensor,
        sample: torch.Tensor,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[torch.Tensor]:
        """From x_t to x_s: first x_t is corrected by what the model says of it, then x_s is predicted.

        Args:
            model_output: (B, C, H, W).
            timestep: t, on the grid; the one after that of the last call, or else the history is dropped.
            sample: (B, C, H, W) x_t, as the last call left it.
            return_dict: return a `SchedulerOutput`, else a tuple.

        Returns:
            `prev_sample` x_s.

        Raises:
            ValueError: a timestep off the grid.
        """
        if float(timestep) != self._expected:
            self._begin_anew(self._place(timestep)[0])
        plan = self.plan_at(timestep, self._begin)
        prev_sample, _ = self._walk.step(plan, model_output, sample, self.limit)
        self._expected = plan.r
        if plan.r <= self.path.clean_timestep:
            self._begin_anew(0)  # done: nothing of it is kept in memory
        return SchedulerOutput(prev_sample=prev_sample) if return_dict else (prev_sample,)
