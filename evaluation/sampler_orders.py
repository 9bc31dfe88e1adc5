"""Measure the order of samplers and draw their trajectories: `python -m text2digit.evaluation.sampler_orders`.

Writes `sampler_orders.json` and `trajectories.png` into a folder, and with `--readme` the tables into a page. Nothing
is trained: the denoiser is exact (`oracle.py`), so the error is the sampler's alone.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from ..schedulers import DDIMScheduler, DDPMScheduler, UniPCMultistepScheduler
from ..shell import Parser, Result, command, output
from .oracle import level_at, one_gaussian, three_gaussians, trajectory
from .page import markdown_table, new_figure, write_table

# Error is measured half way: near clean data the levels lie far apart in log-SNR however many steps there are, because
# timesteps are integers, and a slope taken there says more about the grid than about the sampler.
STEPS = (20, 40, 80, 160)
POINTS = 64
GRIDS = {
    "leading": "the bottom of each interval; diffusers' default",
    "trailing": "the top of each interval; ours",
    "linspace": "both ends",
    "beta": "the top of each interval, denser at both ends",
    "quadratic": "denser where it is clean",
    "exponential": "much denser where it is clean",
    "log_snr": "even in log-SNR",
}


@dataclass(frozen=True)
class Sampler:
    """A deterministic sampler and what is claimed of it.

    Attributes:
        name: as the table says it.
        scheduler_class, config: the scheduler.
        order: that it declares, of its global error.
        tolerance: by which a fitted slope may be off: multistep methods start with lower orders, which shows, the
            higher the declared order the more.
        calls_per_step: of the denoiser.
    """

    name: str
    scheduler_class: Any
    config: dict[str, Any] = field(default_factory=dict)
    order: float = 1.0
    tolerance: float = 0.15
    calls_per_step: int = 1


VP = {"beta_schedule": "scaled_linear", "timestep_spacing": "linspace"}
LEADING = {**VP, "timestep_spacing": "leading"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
FLOW = {"beta_schedule": "flow", "prediction_type": "flow_prediction", "timestep_spacing": "linspace"}
ALL_ORDERS = {**VP, "lower_order_final": False}
SAMPLERS = (
    Sampler("DDIM", DDIMScheduler, {**VP, "clip_sample": False}),
    Sampler("DDIM, v-prediction", DDIMScheduler, {**VP, "clip_sample": False, "prediction_type": "v_prediction"}),
    Sampler("DDIM, trailing", DDIMScheduler, {**VP, "clip_sample": False, "timestep_spacing": "trailing"}),
    Sampler("DDIM, log-SNR", DDIMScheduler, {**VP, "clip_sample": False, "timestep_spacing": "log_snr"}),
    Sampler("DDIM on a flow", DDIMScheduler, {**FLOW, "clip_sample": False}),
    Sampler("UniPC, order 2 and corrector", UniPCMultistepScheduler, ALL_ORDERS, 3.0, 0.25),
    # It begins with pure noise, infinitely far away, from where the first step is of first order.
    Sampler("UniPC on a flow", UniPCMultistepScheduler, {**FLOW, "lower_order_final": False}, 2.0, 0.4),
    Sampler("diffusers DDIM, leading", diffusers.DDIMScheduler, {**LEADING, "clip_sample": False}),
    Sampler("diffusers Euler", diffusers.EulerDiscreteScheduler, VP),
    Sampler("diffusers FlowMatchEuler", diffusers.FlowMatchEulerDiscreteScheduler),
    Sampler("diffusers Heun", diffusers.HeunDiscreteScheduler, VP, 2.0, calls_per_step=2),
    Sampler("diffusers FlowMatchHeun", diffusers.FlowMatchHeunDiscreteScheduler, {}, 2.0, calls_per_step=2),
    Sampler("diffusers DPM-Solver++(2M)", diffusers.DPMSolverMultistepScheduler, ALL_ORDERS, 2.0),
    Sampler("diffusers DEIS, order 2", diffusers.DEISMultistepScheduler, ALL_ORDERS, 2.0, 0.25),
    Sampler("diffusers PNDM, leading", diffusers.PNDMScheduler, {**LEADING, "skip_prk_steps": True}, 2.0, 0.25),
    Sampler("diffusers UniPC, order 2 and corrector", diffusers.UniPCMultistepScheduler, ALL_ORDERS, 3.0, 0.25),
    Sampler("diffusers LMS, order 4", diffusers.LMSDiscreteScheduler, VP, 4.0, 0.75),
)


def measure(sampler: Sampler) -> tuple[list[float], float]:
    """Root mean square errors half way at each of `STEPS`, and the slope of their logarithms.

    Returns:
        The errors, and the fitted order: minus the slope of log error against log steps.
    """
    data, errors = one_gaussian(), []
    for steps in STEPS:
        scheduler = sampler.scheduler_class(**sampler.config)
        scheduler.set_timesteps(steps)
        start = level_at(scheduler, 0)
        x_T = data.sample_noisy(POINTS, start, torch.Generator().manual_seed(0))
        states = trajectory(scheduler, data, x_T)
        # With two calls a step only every second state is one.
        half = sampler.calls_per_step * (steps // 2)
        level, x_t = next(state for index, state in enumerate(states) if index == half)
        errors.append((x_t - data.flow_map(x_T, start, level)).square().mean().sqrt().item())
    return errors, -float(np.polyfit(np.log(STEPS), np.log(errors), 1)[0])


def order_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of `sampler_orders.json` as Markdown."""
    head = ("sampler", *(f"{n} steps" for n in STEPS), "order, measured", "order, declared")
    return markdown_table(
        head,
        [
            (row["name"], *(f"{error:.1e}" for error in row["errors"]), f"{row['measured']:.2f}", f"{row['order']:g}")
            for row in rows
        ],
    )


def grid_table() -> str:
    """What each spacing does, as Markdown."""
    rows = []
    for spacing, remark in GRIDS.items():
        scheduler = DDIMScheduler(**COSINE, timestep_spacing=spacing, rescale_betas_zero_snr=True)
        scheduler.set_timesteps(5)
        rows.append((f"`{spacing}`", ", ".join(str(t) for t in scheduler.timesteps.tolist()), remark))
    return markdown_table(("", "grid", ""), rows)


def draw_trajectories(path: Path) -> None:
    """Where points go: deterministic and stochastic, few steps and many, on three Gaussians."""
    data, generator = three_gaussians(), torch.Generator().manual_seed(0)
    target = data.sample(3000, generator)
    figure = new_figure(16, 4.2, layout=None)
    axes = figure.subplots(1, 4, sharex=True, sharey=True)
    cases = itertools.product((DDIMScheduler, DDPMScheduler), (10, 200))
    for axis, (scheduler_class, steps) in zip(axes, cases, strict=True):
        is_random = scheduler_class is DDPMScheduler
        scheduler = scheduler_class(**COSINE, timestep_spacing="trailing", clip_sample=False)
        scheduler.set_timesteps(steps)
        x_T = data.sample_noisy(24, level_at(scheduler, 0), torch.Generator().manual_seed(1))
        noise = {"generator": torch.Generator().manual_seed(2)} if is_random else {}
        lines = torch.stack([x for _, x in trajectory(scheduler, data, x_T, **noise)])  # (steps + 1, 24, 2)
        axis.scatter(*target.T, s=1, color="0.8", linewidths=0)
        width, alpha = (0.4, 0.4) if is_random else (0.9, 0.7)
        axis.plot(lines[..., 0], lines[..., 1], color="tab:blue", linewidth=width, alpha=alpha)
        axis.scatter(*lines[0].T, s=9, color="tab:orange", label="x_T, pure noise", zorder=3)
        axis.scatter(*lines[-1].T, s=9, color="tab:red", label="x_0, drawn", zorder=3)
        title = f"{scheduler_class.__name__.removesuffix('Scheduler')}, {steps} steps"
        axis.set(title=title, aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
    axes[0].legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def write(arguments: argparse.Namespace) -> Result:
    """Measure, and write the report, the picture and the tables."""
    rows = []
    for sampler in SAMPLERS:
        errors, order = measure(sampler)
        rows.append({"name": sampler.name, "errors": errors, "measured": order, "order": sampler.order})
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {"steps": STEPS, "diffusers": diffusers.__version__, "torch": torch.__version__, "rows": rows}
    (arguments.out / "sampler_orders.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw_trajectories(arguments.out / "trajectories.png")
    if arguments.readme:
        write_table("orders", order_table(rows), arguments.readme)
        write_table("grids", grid_table(), arguments.readme)
    return Result(order_table(rows))


def flags(parser: Parser) -> None:
    """Of the command."""
    add = parser.add_argument
    add("--out", type=output(is_folder=True), default=".", help="folder of the two files (%(default)s)")
    add("--readme", type=output(".md"), help="page to write the two tables into, between their marks")


main = command("python -m text2digit.evaluation.sampler_orders", __doc__, flags, write)

if __name__ == "__main__":
    sys.exit(main())
