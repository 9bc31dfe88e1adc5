"""What was measured, as JSON for machines, a table for readers, and pictures."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..data import ImageData
from ..pipelines.images import image_grid, to_unit
from .judge import Scores
from .page import markdown_table, new_figure

# Name: title, which way is better, format. Ratios are beside real digits.
FIGURES = {
    "frechet_distance": ("Fréchet distance", "lower", "{:.4f}"),
    "kernel_distance": ("kernel distance, unbiased", "lower", "{:.5f}"),
    "accuracy": ("accuracy of the asked class", "higher", "{:.2%}"),
    "precision": ("precision, k = 3", "higher", "{:.3f}"),
    "recall": ("recall, k = 3", "higher", "{:.3f}"),
    "density": ("density, k = 5", "higher", "{:.3f}"),
    "coverage": ("coverage, k = 5", "higher", "{:.3f}"),
    "diversity": ("diversity within class, over real", "near 1", "{:.3f}"),
    "nearest_ratio": ("nearest training digit: median, over test digits'", "near 1", "{:.3f}"),
    "nearest_share": ("nearer than 99 % of test digits", "near 1 %", "{:.2%}"),
}
WORST, NEAREST_OF_CLASS = 40, 2
GREY = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}


def summarise(figures: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Figures of several seeds, their mean, and their standard deviation (N - 1), null for one seed."""
    values = {name: [f[name] for f in figures] for name in figures[0]}
    return {
        "per_seed": [dict(f) for f in figures],
        "mean": {name: statistics.fmean(v) for name, v in values.items()},
        "spread": {name: statistics.stdev(v) if len(v) > 1 else None for name, v in values.items()},
    }


def table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row per figure, a column per set of images.

    Args:
        sets: title to an entry of `summarise`, with "n" images a seed.
    """
    head = ("figure", "better", *(f"{title} (n = {entry['n']:,})" for title, entry in sets.items()))
    return markdown_table(
        head,
        [
            (title, better, *(_cell(name, form, entry) for entry in sets.values()))
            for name, (title, better, form) in FIGURES.items()
        ],
    )


def _cell(name: str, form: str, entry: Mapping[str, Any]) -> str:
    if name not in entry["mean"]:
        return "–"
    spread = entry["spread"].get(name)
    return form.format(entry["mean"][name]) + ("" if spread is None else f" ± {form.format(spread)}")


def sweep_table(name: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a row per scheduler, a column per value of a setting; each cell is distance and accuracy.

    Args:
        name: "steps" or "guidance_scale", a key of each entry beside the figures.
        entries: of the sweep.
    """
    values = sorted({entry[name] for entry in entries})
    rows: dict[str, dict[float, str]] = {}
    for entry in entries:
        cell = " · ".join(FIGURES[figure][2].format(entry[figure]) for figure in ("frechet_distance", "accuracy"))
        rows.setdefault(_short_name(entry["scheduler"]), {})[entry[name]] = cell
    return markdown_table(
        [name.replace("_", " "), *(f"{value:g}" for value in values)],
        [[scheduler, *(cells.get(value, "–") for value in values)] for scheduler, cells in rows.items()],
    )


def _short_name(scheduler: str) -> str:
    return scheduler.split(".")[-1].removesuffix("Scheduler")


def when_guided(interval: Sequence[float] | None) -> str:
    """At which steps guidance is on, for a reader; nothing where it always is, or was before there was a choice."""
    if interval is None or tuple(interval) == (0, 1):
        return ""
    return f" between {interval[0]:g} and {interval[1]:g} of the steps"


def draw_pictures(folder: Path, data: ImageData, scores: Scores, training: ImageData) -> None:
    """Grid, confusion matrix, worst images, and nearest neighbours of a set of images.

    Args:
        folder: that exists.
        data: what was scored; its labels are what was asked for.
        scores: what was found.
        training: images that `scores.nearest` points into.
    """
    num_classes = len(data.class_names)
    rows = [data.images[data.labels == label][:10] for label in range(num_classes)]
    columns = min(len(row) for row in rows)
    grid = torch.cat([row[:columns] for row in rows])
    image_grid(to_unit(grid), columns).save(folder / "samples.png")
    draw_confusion(folder / "confusion.png", scores.confusion)
    worst = scores.confidence.argsort()[:WORST]
    titles = [f"{data.labels[i]} → {scores.seen[i]}\n{_percent(scores.confidence[i].item())}" for i in worst]
    plot_images(
        folder / "worst.png", data.images[worst], titles, "asked → seen, and the probability of the asked class"
    )
    if scores.nearest is not None:
        indices, distances = scores.nearest
        order = distances.argsort()  # the ones lie nearest of all, so each class shows its own
        closest = torch.cat([order[data.labels[order] == label][:NEAREST_OF_CLASS] for label in range(num_classes)])
        pairs = torch.stack([data.images[closest], training.images[indices[closest]]], dim=1).flatten(0, 1)
        titles = [title for i in closest for title in (f"{distances[i]:.2f} from", "training")]
        heading = "nearest to a training digit, two of each class; Euclidean distance of pixels in [0, 1]"
        plot_images(folder / "nearest.png", pairs, titles, heading)


def _percent(share: float) -> str:
    return "over 99.9 %" if share > 0.9995 else f"{share:.1%}"


def plot_images(path: Path, images: torch.Tensor, titles: Sequence[str], heading: str) -> None:
    """Titled images, ten in a row, as PNG.

    Args:
        images: (N, C, H, W) uint8.
        titles: N texts.
    """
    rows = -(-len(images) // 10)
    figure = new_figure(10, 0.6 + 1.25 * rows)
    figure.suptitle(heading)
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(rows, 10, i + 1)
        axes.imshow(image[0] if len(image) == 1 else image.permute(1, 2, 0), **GREY)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.savefig(path, dpi=100)


def draw_confusion(path: Path, confusion: torch.Tensor) -> None:
    """Counts in every cell; the shade shows the mistakes, for the diagonal would outshine them."""
    mistakes, places = confusion.double().fill_diagonal_(0), range(len(confusion))
    figure = new_figure(6.4, 6)
    axes = figure.add_subplot()
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1.0, mistakes.max().item() * 1.5))
    for row, column in confusion.nonzero().tolist():
        weight = "bold" if row == column else "normal"
        axes.text(column, row, f"{confusion[row, column]:,}", ha="center", va="center", fontsize=9, fontweight=weight)
    title = f"{confusion.trace():,} of {confusion.sum():,} as asked"
    axes.set(xlabel="class that the classifier sees", ylabel="class that was asked for")
    axes.set(xticks=places, yticks=places, title=title)
    figure.savefig(path, dpi=100)


# What is drawn beside the distance, and in which colour.
SHARES = {"accuracy": "tab:green", "precision": "tab:orange", "recall": "tab:purple"}


def draw_sweep(path: Path, name: str, entries: Sequence[Mapping[str, Any]], floor: Mapping[str, Any], n: int) -> None:
    """Quality against a setting: distance beside its floor, accuracy, precision and recall; a line style a scheduler.

    Args:
        name: "steps" or "guidance_scale", a key of each entry beside the figures.
        entries: of the sweep.
        floor: figures of held-out real digits.
        n: images behind each point.
    """
    from matplotlib.ticker import LogLocator

    values = sorted({entry[name] for entry in entries})
    schedulers = list(dict.fromkeys(entry["scheduler"] for entry in entries))
    figure = new_figure(10, 4)
    distance, shares = figure.subplots(1, 2)
    for scheduler, style in zip(schedulers, itertools.cycle(("-", ":", "-.", "--"))):
        by_it = [entry for entry in entries if entry["scheduler"] == scheduler]
        places, label = [entry[name] for entry in by_it], _short_name(scheduler)
        distance.plot(places, [entry["frechet_distance"] for entry in by_it], marker="o", linestyle=style, label=label)
        for share, colour in SHARES.items():
            line = shares.plot(places, [entry[share] for entry in by_it], marker="o", color=colour, linestyle=style)
            line[0].set_label(share if scheduler == schedulers[0] else "_")  # a leading underscore: no legend
    distance.axhline(floor["frechet_distance"], color="0.4", linestyle="--", label="real, held out")
    distance.set(ylabel="Fréchet distance", yscale="log")
    distance.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    distance.yaxis.set_major_formatter("{x:g}")
    for share, colour in SHARES.items():
        shares.axhline(floor[share], color=colour, linestyle="--", linewidth=0.8)
    shares.set(ylabel="share (dashed: real, held out)")
    for axes in (distance, shares):
        axes.set(xlabel=name.replace("_", " "))
        if name == "steps":
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"n = {n:,} images a point")
    figure.savefig(path, dpi=100)
