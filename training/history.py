"""What happened, as JSON lines for machines, a line for people, and a curve."""

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .checkpoint import set_aside
from .durable import replace_text, saving

NUM_TENTHS = 10


@dataclass(frozen=True)
class StepResult:
    """What one step measured, the same on all processes.

    Attributes:
        errors: (B,) float32 on the CPU: weighted loss of each image of the global batch, in its order.
        times: (B,) float32 in (0, 1]: how far each was on the way from data to noise.
        grad_norm: of the whole gradient, before clipping.
    """

    errors: torch.Tensor
    times: torch.Tensor
    grad_norm: float


class History:
    """`history.jsonl`, a line per logged step: a function of config and step, so that a resumed run writes it the same.

    What depends on the machine goes to `speed.jsonl`. Results since the last line are kept image by image, because sums
    of sums would round otherwise after a resume.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path):
        self.path = folder / "history.jsonl"
        self.speed_path = folder / "speed.jsonl"
        self.lines: list[dict[str, Any]] = []
        self.pending: list[StepResult] = []

    def open_at(self, step: int, pending: dict[str, torch.Tensor], known: int = 0) -> None:
        """Go on at a step: lines beyond are of a future that will be written anew, and are dropped.

        Args:
            step: steps done.
            pending: what `pending_tensors` returned then.
            known: how many lines there were then; where fewer are left, the file is kept as it is in `replaced-N`.
        """
        self.lines, speeds = (
            [line for line in read_history(path) if line["step"] <= step] for path in (self.path, self.speed_path)
        )
        if lost := max(0, known - len(self.lines)):
            text = f"{lost} of the {known} lines up to step {step} are missing or damaged; it goes on without them"
            warnings.warn(f"{self.path}: {text}.", stacklevel=2)
            set_aside(self.path.parent, [self.path] if self.path.exists() else [])
        for path, lines in ((self.path, self.lines), (self.speed_path, speeds)):
            replace_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        norms = pending.get("grad_norms", torch.empty(0))
        self.pending = [
            StepResult(pending["errors"][i], pending["times"][i], norms[i].item()) for i in range(len(norms))
        ]

    def pending_tensors(self) -> dict[str, torch.Tensor]:
        """Results since the last line, as `open_at` takes them."""
        if not self.pending:
            return {"grad_norms": torch.empty(0)}
        return {
            "errors": torch.stack([result.errors for result in self.pending]),
            "times": torch.stack([result.times for result in self.pending]),
            "grad_norms": torch.tensor([result.grad_norm for result in self.pending], dtype=torch.float64),
        }

    def take_means(self) -> dict[str, Any]:
        """Means over the results since the last line, which are then forgotten; None where there was nothing."""
        results, self.pending = self.pending, []
        if not results:
            return {"loss": None, "loss_by_time": [None] * NUM_TENTHS, "grad_norm": None}
        errors, times = (torch.cat([getattr(result, name) for result in results]) for name in ("errors", "times"))
        return {
            "loss": errors.double().mean().item(),
            "loss_by_time": loss_by_time(errors, times),
            "grad_norm": sum(result.grad_norm for result in results) / len(results),
        }

    def append(self, line: dict[str, Any], speed: dict[str, Any] | None = None) -> None:
        """Add a line to each file, visible at once."""
        self.lines.append(line)
        for path, content in ((self.path, line), (self.speed_path, speed)):
            if content is not None:
                text = json.dumps(content) + "\n"
                with saving(path, len(text)), path.open("a", encoding="utf-8") as file:
                    file.write(text)

    def sync(self) -> None:
        """Force the lines to the disk: a checkpoint must not know of more than the history does."""
        for path in (self.path, self.speed_path):
            with saving(path), path.open("a", encoding="utf-8") as file:
                os.fsync(file.fileno())


def loss_by_time(errors: torch.Tensor, times: torch.Tensor) -> list[float | None]:
    """Mean error in each tenth of the time axis, from clean to noise; None where no image fell.

    Args:
        errors, times: (N,), as in `StepResult`.
    """
    tenths = (times * NUM_TENTHS).ceil().long().clamp(1, NUM_TENTHS) - 1
    sums = torch.zeros(NUM_TENTHS, dtype=torch.float64).index_add_(0, tenths, errors.double())
    counts = tenths.bincount(minlength=NUM_TENTHS)
    return [s / n if n else None for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return all lines of a history; none if there is no file.

    A line that no run wrote is passed over with a warning that names it. A last line that a kill cut short, or that is
    being written, is left out.
    """
    lines = []
    texts = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if _is_line(line):
            lines.append(line)
        elif number < len(texts):
            warnings.warn(
                f"{path}, line {number}: expected a logged step, got {text[:40]!r}; passed over.", stacklevel=2
            )
    return lines


def _is_line(line: Any) -> bool:
    """Whether a value is a step with its figures: numbers or null, and lists of them over the time axis."""

    def is_figure(value: Any) -> bool:
        return value is None or isinstance(value, float) or (type(value) is int and abs(value) < 2**63)

    def is_figures(value: Any) -> bool:
        return isinstance(value, list) and len(value) == NUM_TENTHS and all(map(is_figure, value))

    if not isinstance(line, dict) or type(line.get("step")) is not int:
        return False
    return all(is_figures(v) if name.endswith("_by_time") else is_figure(v) for name, v in line.items())


def sentence(line: dict[str, Any], speed: dict[str, Any], total_steps: int) -> str:
    """A logged step for a person."""
    minutes = (total_steps - line["step"]) * speed["seconds_per_step"] / 60
    loss, norm = (f"{line[key]:.4f}" if line[key] is not None else "none" for key in ("loss", "grad_norm"))
    skipped = f"  skipped {line['skipped_steps']}" if line["skipped_steps"] else ""
    return (
        f"step {line['step']:,}/{total_steps:,}  loss {loss}  gradient {norm}  lr {line['lr']:.2e}{skipped}  "
        f"{speed['images_per_second']:.0f} images/s  {speed['memory_gib']:.1f} GiB  {minutes:.0f} min left"
    )


def plot_loss(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the loss against the step as PNG: each logged value, their running mean, and the held-out loss."""
    from matplotlib.figure import Figure

    trained = [line for line in lines if line.get("loss") is not None]
    steps, losses = [line["step"] for line in trained], [line["loss"] for line in trained]
    window = max(1, len(losses) // 20)
    recent = [losses[max(0, i + 1 - window) : i + 1] for i in range(len(losses))]
    means = [sum(values) / len(values) for values in recent]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="tab:blue", alpha=0.25, label="training, mean since the last line")
    axes.plot(steps, means, color="tab:blue", label="training, running mean")
    held_out = [(line["step"], line["validation_loss"]) for line in lines if "validation_loss" in line]
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color="tab:orange", marker=".", label="held out, averaged weights")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=100)
