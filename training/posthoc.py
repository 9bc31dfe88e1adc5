"""Averages of any length, made after training from the snapshots of two.

A run with `optim.ema=power` tracks two power-function averages and keeps snapshots of them. Any other average is, near
enough, a combination of these snapshots, so its length can be chosen when the training is over.

Source: EDM2 (2312.02696), section 3.2 and appendix C.2.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from .checkpoint import step_of
from .durable import check_folder, damage_of, remove_folder, whole_folder
from .ema import gamma_of

SNAPSHOTS = "averages"


def save_snapshot(run_folder: Path, step: int, states: dict[str, dict[str, torch.Tensor]], widths: list[float]) -> None:
    """Write `averages/step-STEP`, one file per average; a resumed run may find its own, the same bit for bit."""
    folder = run_folder / SNAPSHOTS / f"step-{step:06d}"
    if not damage_of(folder):
        return
    if folder.exists():
        remove_folder(folder)
    with whole_folder(folder, sum(tensor.nbytes for state in states.values() for tensor in state.values())) as place:
        for state, width in zip(states.values(), widths, strict=True):
            (place / f"{width:g}.safetensors").write_bytes(save(state))


def list_snapshots(run_folder: Path, last_step: int | None = None) -> list[tuple[int, float, Path]]:
    """(step, sigma_rel, file) of each snapshot up to `last_step`, in order.

    Raises:
        DamagedError: a snapshot is not what was written.
    """
    found = []
    for folder in sorted((run_folder / SNAPSHOTS).glob("step-*")):
        step = step_of(folder)
        if last_step is None or step <= last_step:
            check_folder(folder)
            found += [(step, float(path.stem), path) for path in sorted(folder.glob("*.safetensors"))]
    return found


def overlap(t_a: np.ndarray, gamma_a: np.ndarray, t_b: np.ndarray, gamma_b: np.ndarray) -> np.ndarray:
    """Inner products of the profiles p(t') = (gamma + 1) t'^gamma / t^(gamma + 1) on [0, t] of pairs of averages.

    Source: 2312.02696, equation 151: the integral of p_a p_b from 0 to min(t_a, t_b).
    """
    power = np.where(t_a < t_b, gamma_b, -gamma_a)
    return (gamma_a + 1) * (gamma_b + 1) * (t_a / t_b) ** power / ((gamma_a + gamma_b + 1) * np.maximum(t_a, t_b))


def combination(steps: Sequence[int], gammas: Sequence[float], step: int, gamma: float) -> np.ndarray:
    """Factors of the snapshots whose sum has the profile nearest to that of (step, gamma), in least squares.

    Returns:
        (number of snapshots,) float64, adding up to one.

    Source: 2312.02696, algorithm 3.
    """
    t, g = np.asarray(steps, dtype=np.float64), np.asarray(gammas, dtype=np.float64)
    gram = overlap(t[:, None], g[:, None], t[None, :], g[None, :])
    wanted = overlap(t, g, np.float64(step), np.float64(gamma))
    factors = np.linalg.lstsq(gram, wanted, rcond=1e-12)[0]
    return factors / factors.sum()


def reconstruct(run_folder: Path, sigma_rel: float, step: int | None = None) -> dict[str, torch.Tensor]:
    """The power-function average of a relative width, as if it had been tracked.

    Args:
        run_folder: of a run with `optim.ema=power`.
        sigma_rel: width as a part of the training time up to `step`, in (0, 0.28).
        step: where it ends; None is the last snapshot.

    Returns:
        Weights by name, float32.

    Raises:
        FileNotFoundError: the run has no snapshots up to that step.
        ValueError: a width out of range.
        DamagedError: a snapshot is not what was written.
    """
    gamma = gamma_of(sigma_rel)
    snapshots = list_snapshots(run_folder, step)
    if not snapshots:
        raise FileNotFoundError(
            f"{run_folder / SNAPSHOTS}: no snapshots; train with optim.ema=power and optim.ema_snapshot_steps."
        )
    steps = [taken_at for taken_at, _, _ in snapshots]
    factors = combination(steps, [gamma_of(width) for _, width, _ in snapshots], step or steps[-1], gamma)
    total: dict[str, torch.Tensor] = {}
    for factor, (_, _, path) in zip(factors, snapshots, strict=True):
        for name, value in load_file(path).items():
            total[name] = total.get(name, 0) + factor * value.double()
    return {name: value.float() for name, value in total.items()}
