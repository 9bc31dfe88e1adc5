"""The tab that shows a run: its losses, and its samples from the first grid to the last, live if one likes."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..pipelines.loading import SHIPPED_FOLDER, shipped_names
from .fields import read_number
from .parts import Desk, Result
from .pictures import picture, thin
from .plots import loss_by_time_plot, loss_plot
from .snippets import training_snippet
from .words import Complaint, check_choice

# Seconds between two looks at a run that is followed.
LOOK_EVERY = 3


@dataclass(frozen=True)
class RunFolder:
    """What lies in the folder of a run.

    Attributes:
        lines: of history.jsonl.
        grids: pictures of samples, the earliest first.
        damaged: lines that cannot be used, and so are left out.
    """

    path: Path
    lines: list[dict[str, Any]]
    grids: list[Path]
    damaged: int = 0


def open_run(name: Any, known: Sequence[str] | None = None) -> RunFolder:
    """Read a run; a shipped model's folder is one too.

    Args:
        known: names that may be opened; None is any folder of this machine.

    Raises:
        ValueError: no folder of a run, or one that this page may not open.
    """
    from ..training.history import read_history

    name = str(name or "").strip()
    if known is not None:
        check_choice("run", name, known)
    try:
        path = SHIPPED_FOLDER / name if name in shipped_names() else Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError):  # too long for a name, or the home of nobody
        raise Complaint("no_run", got=name) from None
    history = path / "history.jsonl"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of lines that are passed over: the page counts them
        lines = read_history(history) if name else []
    grids = sorted(p for p in (path / "samples").glob("step-*.png") if p.is_file()) if name else []
    if not lines and not grids:
        raise Complaint("empty_run" if name and history.is_file() else "no_run", got=name)
    if not grids and (path / "samples.png").is_file():
        grids = [path / "samples.png"]
    written = history.read_bytes().count(b"\n") if history.is_file() else 0
    return RunFolder(path, lines, grids, max(written - len(lines), 0))


def training_tab(desk: Desk, tab: gr.Tab, any_folder: bool) -> None:
    """The folder, the curves, and a slider over the grids; the tab itself opens the model's own."""
    words, models = desk.words, list(desk.studio.models)
    known = None if any_folder else models
    gr.Markdown(words("training_about"), elem_classes="t2d-about")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            run = gr.Dropdown(
                models, value=models[0], allow_custom_value=any_folder, label=words("run"), info=words("run_info")
            )
            with gr.Row():
                button = gr.Button(words("open_run"), variant="primary", scale=2, min_width=120)
                follow = gr.Checkbox(False, label=words("follow"), container=False, min_width=160)
        with gr.Column(scale=3, min_width=300):
            about: dict[str, Any] = {"label": words("grid"), "info": words("grid_info")}
            slider = gr.Slider(1, 2, value=1, step=1, visible=False, elem_classes="t2d-slider", **about)
            result = Result(desk, "training")
    plots = gr.HTML("", elem_classes="t2d-plots")
    timer = gr.Timer(LOOK_EVERY, active=False)
    outputs = [*result.outputs, plots, slider]

    def look(name: str) -> dict:
        found = open_run(name, known)
        last = len(found.grids)
        moved = gr.update(value=max(last, 1), maximum=max(last, 2), visible=last > 1)
        return {**show_run(desk, result, found, last), plots: _plots(desk, found), slider: moved}

    def slide(name: str, place: Any) -> dict:
        found = open_run(name, known)
        return show_run(desk, result, found, int(read_number("grid", place, 1, max(len(found.grids), 1))))

    desk.listen([button.click, tab.select, timer.tick], look, run, outputs, result)
    desk.listen(slider.input, slide, [run, slider], result.outputs, result, trigger_mode="always_last")
    desk.listen(follow.change, lambda on: gr.Timer(active=bool(on)), follow, timer)
    desk.listen(follow.change, lambda name, on: look(name) if on else gr.skip(), [run, follow], outputs, result)
    desk.when_model_changes(lambda model: model, [run])
    anew = desk.model.change, lambda model, seen: look(model) if seen else gr.skip()
    desk.listen(*anew, [desk.model, plots], outputs, result)


def show_run(desk: Desk, result: Result, run: RunFolder, place: int) -> dict:
    """Updates for a grid of a run; the first is 1."""
    words = desk.words
    grid = run.grids[max(1, min(place, len(run.grids))) - 1] if run.grids else None
    last: dict[str, Any] = next((line for line in reversed(run.lines) if line.get("loss") is not None), {})
    loss = f"{last['loss']:.4f}" if last else "?"
    step = run.lines[-1]["step"] if run.lines else 0
    note = words("damaged_lines", count=run.damaged) if run.damaged else ""
    updates = result.told(words("run_told", run=run.path.name, step=step, loss=loss), note)
    image = _open(grid) if grid else None
    if grid is None or image is None:
        told = words("damaged_grid", name=grid.name) if grid else words("no_grids")
        return {**updates, result.picture: f'<p class="t2d-note">{escape(told)}</p>'}
    named = re.fullmatch(r"step-(\d+)", grid.stem)
    caption = words("grid_of", step=int(named.group(1))) if named else words("grid_final")
    frames = [frame for path in thin(run.grids) if (frame := _open(path)) is not None]
    relative = str(grid.relative_to(run.path))
    return {
        **updates,
        result.picture: f"<figure>{picture(image, caption)}<figcaption>{caption}</figcaption></figure>",
        **result.files(image, frames, training_snippet(str(run.path), relative)),
    }


def _plots(desk: Desk, run: RunFolder) -> str:
    words = desk.words
    levels = loss_by_time_plot(run.lines, words)
    levels = levels or f'<p class="t2d-note">{words("no_levels")}</p>'
    loss = loss_plot(run.lines, words) if run.lines else ""
    return f'<div class="plots">{loss}{levels}</div>'


def _open(path: Path) -> Image.Image | None:
    """A grid; None where it is damaged, or half-written by a run under way."""
    try:
        with Image.open(path) as image:
            return image.copy()
    except Exception:  # Pillow has a dozen kinds for damaged files
        return None
