"""The Python beside a view draws the pixels of that view."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

# ruff: noqa: E402 (what follows needs gradio)
gr = pytest.importorskip("gradio", reason="needs the extra gui")

from text2digit.gui.compare import draw_columns
from text2digit.gui.draw import draw_grid
from text2digit.gui.edit import draw_between, redraw
from text2digit.gui.fields import Asked
from text2digit.gui.inside import record, show
from text2digit.gui.parts import Desk, Result, Shelf
from text2digit.gui.sketch import as_image
from text2digit.gui.studio import OWN, Settings
from text2digit.gui.training import open_run, show_run
from text2digit.gui.words import Words

# The reader's ten lines; imports come on top, and a comparison brings a line for each setting.
MOST_LINES = 14


def desk_of(studio):
    """What tabs share, without a page."""
    with gr.Blocks(analytics_enabled=False):
        model = gr.Dropdown([studio.model], value=studio.model)
        desk = Desk(studio, Words("en"), Shelf(), model)
        return desk, Result(desk, "view"), Asked(desk, one=True)


def run_and_compare(update, result, name, tmp_path, monkeypatch):
    """Run the code of a view's last update; its picture must be the view's, pixel for pixel."""
    code, png = update[result.code], update[result.png]
    assert Path(update[result.py]).read_text(encoding="utf-8") == code
    body = [line for line in code.splitlines() if line and not line.startswith(("from ", "import "))]
    assert len(body) <= MOST_LINES, code
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    exec(compile(code, "snippet", "exec"), {})
    np.testing.assert_array_equal(np.asarray(Image.open(name)), np.asarray(Image.open(png)))
    return np.asarray(Image.open(png))


def end_of(updates):
    """What a generator of updates returns."""
    while True:
        try:
            next(updates)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("scheduler, spacing", [(OWN, OWN), (OWN, "log_snr"), ("ddpm", OWN), ("dpm++", "leading")])
def test_draw(studio, folder, scheduler, spacing, tmp_path, monkeypatch):
    """Would catch a setting that the code leaves out: each of these changes the pixels."""
    desk, result, _ = desk_of(studio)
    settings = Settings(folder, 3, 2.5, scheduler, spacing, seed=11, interval=(0.3, 0.8))
    *steps, last = draw_grid(desk, result, settings, [3, 1], 2)
    assert "Step" in steps[0][result.status] and steps[0][result.picture].count("<img") == 4
    drawn = run_and_compare(last, result, "digits.png", tmp_path, monkeypatch)
    assert drawn.std() > 0
    with Image.open(last[result.gif]["value"]) as gif:
        assert gif.n_frames == 3


def test_draw_prompts(text_studio, text_folder, tmp_path, monkeypatch):
    """Would catch rows of numbers that are cut, and words that were not understood and not told."""
    desk, result, _ = desk_of(text_studio)
    *_, last = draw_grid(desk, result, Settings(text_folder, 2, 2, seed=4), ["a thin 7", "305", "glorp 2"], 1)
    note = desk.notes(["a thin 7", "305", "glorp 2"])
    assert "glorp" in note and "thin" not in note and "glorp" in last[result.status]
    drawn = run_and_compare(last, result, "digits.png", tmp_path, monkeypatch)
    assert drawn.shape[1] > 3 * drawn.shape[0]


@pytest.mark.parametrize("scheduler, scale", [(OWN, 1.5), (OWN, 1), ("euler", 3), ("heun", 2), ("ddpm", 0)])
def test_inside(studio, folder, scheduler, scale, tmp_path, monkeypatch):
    """Would catch a step off by one, and guidance or levels that are not the view's."""
    desk, result, _ = desk_of(studio)
    with gr.Blocks(analytics_enabled=False):
        plots = gr.HTML()
    trace = end_of(record(desk, result, Settings(folder, 4, scale, scheduler, seed=2, interval=(0.5, 1)), [6]))
    update = show(desk, result, plots, trace, 3)
    assert "Step 3 of" in update[result.status] and update[plots].count("<svg") == 3
    run_and_compare(update, result, "inside.png", tmp_path, monkeypatch)


def test_inside_of_a_prompt(text_studio, text_folder, tmp_path, monkeypatch):
    desk, result, asked = desk_of(text_studio)
    with gr.Blocks(analytics_enabled=False):
        plots = gr.HTML()
    trace = end_of(record(desk, result, Settings(text_folder, 3, 2), ["a thin 7"]))
    run_and_compare(show(desk, result, plots, trace, 2), result, "inside.png", tmp_path, monkeypatch)
    with pytest.raises(ValueError, match="a number of 2 digits, expected one digit"):
        asked.read(text_folder, None, "42")


def test_compare(studio, folder, tmp_path, monkeypatch):
    """Would catch columns that start from other noise, or share the scheduler of the last one."""
    desk, result, _ = desk_of(studio)
    columns = [Settings(folder, 3, 1.5, "ddim"), Settings(folder, 2, 3, "unipc"), Settings(folder, 4, 1, "ddpm")]
    *_, last = draw_columns(desk, result, columns, [3])
    text = last[result.picture]
    assert all(f"{n} forward passes" in text for n in (6, 4)) and text.count("<img") == 3
    drawn = run_and_compare(last, result, "compare.png", tmp_path, monkeypatch)
    first, second = drawn[:, :58], drawn[:, 58:116]
    assert not np.array_equal(first, second)


def test_redraw_and_inpaint(studio, folder, tmp_path, monkeypatch):
    """Would catch a sketch that reaches the code in another size or depth, and a mask turned inside out."""
    desk, result, _ = desk_of(studio)
    sketch = torch.zeros(28, 28, dtype=torch.uint8)
    sketch[5:24, 12:15] = 255
    mask = torch.zeros(28, 28, dtype=torch.uint8)
    mask[:14] = 255
    for i, given in enumerate((None, as_image(mask))):
        settings = Settings(folder, 4, 2, seed=7, interval=(0, 0.6))
        *_, last = redraw(desk, result, settings, [8], as_image(sketch), 0.75, given)
        place = tmp_path / str(i)
        place.mkdir()
        drawn = run_and_compare(last, result, "edited.png", place, monkeypatch)
        lower = drawn[28:][::2, ::2]
        assert np.array_equal(lower, sketch[14:].numpy()) == (given is not None)


def test_the_forwards_of_an_edit_are_counted(studio, folder):
    """Heun asks twice for each step but the last; would catch a cost reckoned from the steps that were asked for."""
    desk, result, _ = desk_of(studio)
    sketch = torch.full((28, 28), 255, dtype=torch.uint8)
    *_, last = redraw(desk, result, Settings(folder, 4, 1, scheduler="heun"), [8], as_image(sketch), 1.0, None)
    assert ", 7 forward passes" in str(last[result.status])


def test_between(studio, folder, tmp_path, monkeypatch):
    desk, result, _ = desk_of(studio)
    *_, last = draw_between(desk, result, Settings(folder, 2, 1), [3, 8], (4, 9), 3)
    run_and_compare(last, result, "between.png", tmp_path, monkeypatch)


def test_training(studio, tmp_path, monkeypatch):
    """Would catch a page that cannot read what a run writes: a history, and grids by step."""
    desk, result, _ = desk_of(studio)
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    lines = [{"step": step, "loss": 1 / step, "loss_by_time": [0.1] * 10} for step in (10, 20)]
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3')
    for step in (10, 20):
        Image.new("L", (30, 30), step).save(run / "samples" / f"step-{step:06d}.png")
    found = open_run(str(run))
    assert [line["step"] for line in found.lines] == [10, 20] and len(found.grids) == 2
    update = show_run(desk, result, found, 1)
    assert "Samples after step 10" in update[result.picture] and "loss 0.0500" in update[result.status]
    assert run_and_compare(update, result, "grid.png", tmp_path, monkeypatch).max() == 10
    assert (tmp_path / "elsewhere" / "loss.png").is_file()
