"""Curves as SVG whose text and axes take the page's colour, so that they are right in light and in dark."""

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..schedulers.noise import NoisePath, log_snr
from .words import Words

# Stands in the SVG where the page's own colour belongs, which matplotlib has no word for.
INK = "#010203"
# Legible on white and on near-black, and apart for colour-blind readers.
BLUE, ORANGE, GREEN, GREY = "#3b82c4", "#d9822b", "#2a9d78", "#8a8f98"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: the page's font, and readable by machines
    "svg.hashsalt": "text2digit",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "font.size": 11,
    "lines.linewidth": 1.8,
}


def schedule_plots(path: NoisePath, timesteps: Sequence[float], here: float, words: Words) -> str:
    """alpha and sigma over t, and the log-SNR, with the sampler's steps and the one that is looked at.

    Args:
        path: the levels.
        timesteps: of the steps; a tick each.
        here: t of the current one.
        words: of the page.
    """
    first = max(path.clean_timestep, 0)
    places = torch.linspace(first, path.num_train_timesteps - (1 if path.clean_timestep < 0 else 0), 200).double()
    point = torch.tensor([here], dtype=torch.float64)

    def plot(title: str, curves: dict[str, tuple[Any, str]], limits: tuple[float, float] | None = None) -> str:
        figure, axes = _new()
        for label, (value, colour) in curves.items():
            values, at = value(*path.levels(places)), value(*path.levels(point))
            axes.plot(places[values.isfinite()], values[values.isfinite()], color=colour, label=label)
            axes.plot(point[at.isfinite()], at[at.isfinite()], "o", color=colour, markersize=7)
        along_the_bottom = axes.get_xaxis_transform()
        axes.plot(timesteps, [0.02] * len(timesteps), "|", color=INK, markersize=6, transform=along_the_bottom)
        axes.axvline(here, color=INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="axis_timestep", ylim=limits)
        _legend(axes)
        return _svg(figure, words, title)

    levels = {"α(t)": (lambda alpha, _: alpha, BLUE), "σ(t)": (lambda _, sigma: sigma, ORANGE)}
    return plot("levels_plot", levels, (-0.05, 1.08)) + plot("snr_plot", {"log-SNR(t)": (log_snr, GREEN)})


def confidence_plot(probabilities: torch.Tensor, asked: int | None, here: int, words: Words) -> str:
    """(n, K) probabilities over the steps: the asked class in front, the rest in grey with the likeliest named."""
    figure, axes = _new()
    steps = np.arange(1, len(probabilities) + 1)
    last = probabilities[-1].argmax().item()
    for label in range(probabilities.shape[1]):
        front = label == asked or (asked is None and label == last)
        colour, width = (BLUE, 2.4) if front else (GREY, 0.9)
        named = str(label) if front or probabilities[:, label].max() > 0.3 else None
        axes.plot(steps, probabilities[:, label], color=colour, linewidth=width, marker="." if front else None)
        if named:
            peak = int(probabilities[:, label].argmax())
            axes.annotate(
                named, (steps[peak], float(probabilities[peak, label])), (0, 3), color=INK, textcoords="offset points"
            )
    axes.axvline(here + 1, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="axis_step", ylabel="axis_probability", ylim=(-0.05, 1.12))
    axes.locator_params(axis="x", integer=True)
    return _svg(figure, words, "confidence_plot")


def loss_plot(lines: Sequence[dict[str, Any]], words: Words) -> str:
    """Loss and held-out loss against the step."""
    figure, axes = _new()
    trained = [line for line in lines if line.get("loss") is not None]
    axes.plot(
        [x["step"] for x in trained], [x["loss"] for x in trained], color=BLUE, linewidth=1.1, label="axis_training"
    )
    held_out = [line for line in lines if line.get("validation_loss") is not None]
    if held_out:
        values = [x["validation_loss"] for x in held_out]
        axes.plot([x["step"] for x in held_out], values, color=ORANGE, marker=".", label="axis_held_out")
    axes.set(xlabel="axis_step", ylabel="axis_loss")
    if trained:
        axes.set_yscale("log")
    _legend(axes)
    return _svg(figure, words, "loss_plot")


def loss_by_time_plot(lines: Sequence[dict[str, Any]], words: Words) -> str:
    """Loss in each tenth of the way from clean to noise: early lines thin and grey, the last one bold and blue."""
    known = [line["loss_by_time"] for line in lines if any(v is not None for v in line.get("loss_by_time") or ())]
    if not known:
        return ""
    figure, axes = _new()
    chosen = [known[round(i)] for i in np.linspace(0, len(known) - 1, min(5, len(known)))]
    tenths = (np.arange(len(chosen[0])) + 0.5) / len(chosen[0])
    for age, values in enumerate(reversed(chosen)):
        heights = np.array([np.nan if v is None else v for v in values], dtype=float)
        front = {"color": BLUE, "linewidth": 2.4, "marker": ".", "zorder": 3}  # no line is paler than GREY is
        axes.plot(tenths, heights, **({"color": GREY, "linewidth": 1.6 - 0.2 * age} if age else front))
    axes.set(xlabel="axis_noise_level", ylabel="axis_loss", xlim=(0, 1), yscale="log")
    return _svg(figure, words, "loss_by_time_plot")


def _new() -> tuple[Figure, Any]:
    with rc_context(STYLE):
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.patch.set_alpha(0)
    return figure, axes


def _legend(axes: Any) -> None:
    legend = axes.legend(frameon=False, fontsize=10, handlelength=1.2)
    for text in legend.get_texts():
        text.set_color(INK)


def _svg(figure: Figure, words: Words, title: str) -> str:
    """The figure as an element that scales with its column, in the words of the page.

    Args:
        title: key of what it shows. Labels on the axes are keys as well: matplotlib's font has no Korean.
    """
    buffer = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(">(axis_[a-z_]+)<", lambda found: f">{escape(words(found[1]))}<", text)
    label = escape(words(title), quote=True)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return f'<figure class="plot">{text}<figcaption>{label}</figcaption></figure>'
