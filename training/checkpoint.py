"""The state of a run on disk: safetensors and JSON, written aside and then renamed, so that none is ever half there."""

import json
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from .ema import EMA

KEPT_CHECKPOINTS = 2
_NAME = re.compile(r"checkpoint-\d+")


def save_checkpoint(run_folder: Path, step: int, model: nn.Module, ema: EMA, optimizer: torch.optim.Optimizer) -> Path:
    """Write `checkpoint-STEP` and delete all but the newest `KEPT_CHECKPOINTS`, in this order.

    Args:
        run_folder: the run's.
        step: number of steps done.
        model, ema, optimizer: what to save.

    Returns:
        The new folder.
    """
    folder = run_folder / f"checkpoint-{step:06d}"
    temporary = run_folder / f".{folder.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tensors = {
        "model": model.state_dict(),
        "ema": ema.shadow,
        "optimizer": {
            f"{index}.{name}": value
            for index, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        },
    }
    for name, state in tensors.items():
        save_file({key: value.contiguous() for key, value in state.items()}, temporary / f"{name}.safetensors")
    facts = {"step": step, "ema_updates": ema.num_updates}
    (temporary / "state.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    for old in list_checkpoints(run_folder)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)
    return folder


def list_checkpoints(run_folder: Path) -> list[Path]:
    """Checkpoints of a run, the oldest first."""
    return sorted((path for path in run_folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)), key=_step)


def _step(folder: Path) -> int:
    return int(folder.name.split("-")[1])


def set_aside_later_checkpoints(run_folder: Path, step: int) -> None:
    """Move checkpoints of more steps into `replaced-N`, because a run that starts at `step` will write its own.

    They are kept: starting over may have been a mistake.
    """
    later = [path for path in list_checkpoints(run_folder) if _step(path) > step]
    if later:
        place = run_folder / f"replaced-{len(list(run_folder.glob('replaced-*'))) + 1}"
        place.mkdir()
        for path in later:
            path.rename(place / path.name)


def load_checkpoint(folder: Path, model: nn.Module, ema: EMA, optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_checkpoint` wrote, strictly.

    Returns:
        The number of steps done.
    """
    facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    averaged = load_file(folder / "ema.safetensors")
    if averaged.keys() != ema.shadow.keys():
        raise ValueError(f"{folder}: ema.safetensors is of another model; start over with --resume never.")
    for name, value in averaged.items():
        ema.shadow[name].copy_(value)
    ema.num_updates = facts["ema_updates"]

    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return facts["step"]
