"""What happened, as JSON lines for machines and a curve for people."""

import json
from pathlib import Path
from typing import Any


class History:
    """Lines of `history.jsonl`, one per logged step.

    Args:
        path: the file.
        step: steps already done; lines beyond are of a future that a resumed run will write anew, and are dropped.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        self.lines = [line for line in read_history(path) if line["step"] <= step]
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines), encoding="utf-8")

    def append(self, line: dict[str, Any]) -> None:
        """Add a line, on disk at once."""
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """All lines of a history; none if there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plot_loss(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw the loss against the step as PNG: each logged value, and their running mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps, losses = [line["step"] for line in lines], [line["loss"] for line in lines]
    window = max(1, len(losses) // 20)
    recent = [losses[max(0, i + 1 - window) : i + 1] for i in range(len(losses))]
    means = [sum(values) / len(values) for values in recent]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="tab:blue", alpha=0.25, label="mean since the last line")
    axes.plot(steps, means, color="tab:blue", label="running mean")
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=100)
