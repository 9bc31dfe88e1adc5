"""Checkpoints of a run: `checkpoint-STEP` folders of safetensors and JSON, each whole and checked."""

import json
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from .durable import DamagedError, check_folder, damage_of, remove_folder, whole_folder

_NAME = re.compile(r"checkpoint-\d+")
FACTS = "state.json"


@dataclass
class TrainingState:
    """What a run needs to go on as if nothing had happened.

    Attributes:
        step: steps done.
        tensors: name of a file to its tensors on the CPU: "model", each average, "optimizer", "pending" (what was
            measured since the last line of history).
        facts: numbers beside them, as JSON has them.
    """

    step: int
    tensors: dict[str, dict[str, torch.Tensor]]
    facts: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(run_folder: Path, state: TrainingState, total_limit: int | None) -> Path:
    """Write `checkpoint-STEP`; then, once it was read back, delete all but the newest whole ones.

    Args:
        run_folder: the run's.
        state: what to save.
        total_limit: how many whole checkpoints stay; None is all. Damaged ones are left for a person to look at.

    Returns:
        The new folder.

    Raises:
        SaveError: it could not be written; older ones are untouched.
    """
    folder = run_folder / f"checkpoint-{state.step:06d}"
    if folder.exists():  # of a writer that knew nothing of this one; keep both
        set_aside(run_folder, [folder])
    size = sum(tensor.nbytes for tensors in state.tensors.values() for tensor in tensors.values())
    with whole_folder(folder, size) as place:
        for name, tensors in state.tensors.items():
            # As bytes: safetensors maps a file that it writes itself, and a full disk would then end the process.
            (place / f"{name}.safetensors").write_bytes(save(tensors))
        (place / FACTS).write_text(json.dumps({"step": state.step, **state.facts}, indent=1), encoding="utf-8")
    if total_limit is not None:
        _rotate(run_folder, total_limit)
    return folder


def load_checkpoint(folder: Path) -> TrainingState:
    """Read what `save_checkpoint` wrote, after comparing it with its checksums.

    Raises:
        DamagedError: it is not what was written.
    """
    check_folder(folder)
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    # In order of name: safetensors gives them in none, and the processes of a sharded model take them in step.
    tensors = {
        path.stem: dict(sorted(load(path.read_bytes()).items())) for path in sorted(folder.glob("*.safetensors"))
    }
    return TrainingState(facts.pop("step"), tensors, facts)


def list_checkpoints(run_folder: Path) -> list[Path]:
    """Checkpoints of a run, whole or not, the oldest first."""
    return sorted((path for path in run_folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)), key=step_of)


def step_of(folder: Path) -> int:
    """Steps done, by the name of a folder such as checkpoint-STEP, best-STEP or step-STEP."""
    return int(folder.name.split("-")[1])


def newest_whole_checkpoint(run_folder: Path) -> Path | None:
    """The newest checkpoint that is as it was written; None where there is none at all. Damage is warned of by name.

    Raises:
        DamagedError: there are checkpoints, and none is whole.
    """
    damages = []
    for folder in reversed(list_checkpoints(run_folder)):
        damage = damage_of(folder)
        if damage is None:
            return folder
        warnings.warn(f"passed over a damaged checkpoint: {damage}", stacklevel=2)
        damages.append(str(damage))
    if damages:
        raise DamagedError(f"no checkpoint is whole: {' '.join(damages)} Start over with --resume never.")
    return None


def set_aside(run_folder: Path, folders: Iterable[Path]) -> None:
    """Move folders of a run into a new `replaced-N`. They are kept: what made them superfluous may be a mistake."""
    place = next(run_folder / f"replaced-{n}" for n in count(1) if not (run_folder / f"replaced-{n}").exists())
    for folder in folders:
        kept = place / folder.relative_to(run_folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(kept)


def _rotate(run_folder: Path, total_limit: int) -> None:
    """Delete old checkpoints; one that cannot be deleted is warned of, for that is no reason to stop training."""
    whole = [path for path in list_checkpoints(run_folder) if not damage_of(path)]
    for old in whole[:-total_limit]:
        try:
            remove_folder(old)
        except OSError as error:
            warnings.warn(f"kept an old checkpoint that could not be deleted: {error}", stacklevel=3)
