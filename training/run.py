"""A run in memory, and its state as files take it; the same for one process, for several, and for a model in parts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from filelock import BaseFileLock
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from ..config import RunConfig
from ..data import ImageData
from ..models import DigitDiT2DModel, DigitUNet2DModel
from ..models.text import TextDenoiser
from ..schedulers import DDIMScheduler
from .captions import RunText
from .checkpoint import TrainingState
from .ema import EMA
from .history import History

# Whole tensors on the CPU, whatever processes and devices they are divided over.
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
# Name of a weight, name of one of its optimizer's tensors, tensor.
Moments = dict[str, dict[str, torch.Tensor]]
TrainedModel = DigitUNet2DModel | DigitDiT2DModel | TextDenoiser


@dataclass
class Run:
    """Everything that a run consists of.

    Attributes:
        config: what was asked for, with the mixed precision that the launcher decided.
        data, validation: images to train on, and those held out.
        model: as accelerate wrapped it; `bare_model` is what is inside: a denoiser, or that and its text encoder.
        averages: of the weights; the first is the one to sample from.
        step, total_steps: steps done, and in all; a skipped step is done.
        skipped_steps, skipped_in_a_row: steps whose loss or gradient was not finite; the latest of them.
        best: step and held-out loss of the best average so far.
        text: captions of the images, for a model of captions.
        lock: held by the main process, so that no other run writes into the folder.
    """

    config: RunConfig
    accelerator: Accelerator
    data: ImageData
    validation: ImageData
    model: torch.nn.Module
    scheduler: DDIMScheduler
    averages: dict[str, EMA]
    optimizers: list[torch.optim.Optimizer]
    folder: Path
    history: History
    total_steps: int
    step: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    best: dict[str, Any] | None = None
    text: RunText | None = None
    lock: BaseFileLock | None = field(default=None, repr=False)

    @property
    def bare_model(self) -> TrainedModel:
        """The model without what accelerate put around it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def average(self) -> EMA:
        """The average to sample from."""
        return next(iter(self.averages.values()))

    def close(self) -> None:
        """Let other runs have the folder."""
        if self.lock is not None:
            self.lock.release()


def collect_state(run: Run) -> TrainingState:
    """All that a checkpoint holds. Every process must call it; what it returns is complete on the main process."""
    tensors: dict[str, dict[str, torch.Tensor]] = {
        "model": cast(dict[str, torch.Tensor], get_model_state_dict(run.model, options=_WHOLE)),
        "optimizer": {f"{name}/{key}": value for name, state in _moments(run).items() for key, value in state.items()},
        "pending": run.history.pending_tensors(),
        **{name: average.state() for name, average in run.averages.items()},
    }
    facts = {
        "history_lines": len(run.history.lines),
        "ema_updates": run.average.num_updates,
        "skipped_steps": run.skipped_steps,
        "skipped_in_a_row": run.skipped_in_a_row,
        "best": run.best,
        "scaler": run.accelerator.scaler.state_dict() if run.accelerator.scaler else None,
    }
    contiguous = {name: {k: v.contiguous() for k, v in state.items()} for name, state in tensors.items()}
    return TrainingState(run.step, contiguous, facts)


def _moments(run: Run) -> Moments:
    """State of the optimizers; none before their first step, where torch would take one to have something to show."""
    optimizers = [_inner(optimizer) for optimizer in run.optimizers]
    if not any(optimizer.state for optimizer in optimizers):
        return {}
    return cast(Moments, get_optimizer_state_dict(run.model, optimizers, options=_WHOLE).get("state", {}))


def restore_state(run: Run, state: TrainingState) -> None:
    """Take over what `collect_state` returned, strictly. Every process must call it, each with the whole state.

    Raises:
        ValueError: it is of a run with another model or other averages.
    """
    missing = {"model", "optimizer", "pending", *run.averages} - set(state.tensors)
    if missing:
        raise ValueError(f"the checkpoint has no {', '.join(sorted(missing))}; it has {', '.join(state.tensors)}.")
    moments: Moments = {}
    for key, value in state.tensors["optimizer"].items():
        name, moment = key.rsplit("/", 1)
        moments.setdefault(name, {})[moment] = value
    try:
        _restore_weights_and_moments(run, state.tensors["model"], moments)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint is of another model: {error}") from error
    for name, average in run.averages.items():
        average.load(state.tensors[name], state.facts["ema_updates"])
    if run.accelerator.scaler and state.facts["scaler"]:
        run.accelerator.scaler.load_state_dict(state.facts["scaler"])
    run.step, run.best = state.step, state.facts["best"]
    run.skipped_steps, run.skipped_in_a_row = state.facts["skipped_steps"], state.facts["skipped_in_a_row"]


def _restore_weights_and_moments(run: Run, weights: dict[str, torch.Tensor], moments: Moments) -> None:
    set_model_state_dict(run.model, cast(dict[str, Any], weights), options=_WHOLE)
    if moments:
        optimizers = [_inner(optimizer) for optimizer in run.optimizers]
        # Groups are the config's, so they come from the optimizers themselves.
        groups = get_optimizer_state_dict(run.model, optimizers)["param_groups"]
        state = cast(dict[str, Any], {"state": moments, "param_groups": groups})
        set_optimizer_state_dict(run.model, optimizers, state, options=_WHOLE)


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer inside accelerate's."""
    return getattr(optimizer, "optimizer", optimizer)
