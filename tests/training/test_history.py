"""What a history keeps, and one that was damaged: by an editor, a full disk, or somebody who sends it."""

import json
import shutil

import pytest
import torch

from text2digit import cli
from text2digit.pipelines.loading import SHIPPED_FOLDER, shipped_names
from text2digit.training.history import History, StepResult, plot_loss, read_history

GOOD = [{"step": 1, "loss": 0.5, "loss_by_time": [None] * 10}, {"step": 2, "loss": None, "lr": 1e-3}]
DAMAGED = [
    *(b"[1, 2]", b"7", b"null", b'"text"', b"", b"{", b"\xff\xfe", b"[" * 100_000, b"\x00" * 50),
    *(b'{"loss": 1.0}', b'{"step": "1", "loss": 1.0}', b'{"step": null}', b'{"step": true}', b'{"step": 1.5}'),
    *(
        b'{"step": 3, "loss": "low"}',
        b'{"step": 3, "loss": [1.0]}',
        b'{"step": 3, "loss": {}}',
        b'{"step": 3, "lr": true}',
    ),
    *(b'{"step": 3, "loss": 1%s}' % (b"0" * 400), b'{"step": 3, "loss": 1%s}' % (b"0" * 5000)),
    *(
        b'{"step": 3, "loss": 1.0, "loss_by_time": 1}',
        b'{"step": 3, "loss_by_time": ["a"]}',
        b'{"step": 3, "x_by_time": []}',
    ),
]
# What is told of a history, and drawn; each stopped with an AttributeError, a KeyError or a TypeError.
BETWEEN = [json.dumps(GOOD[0]).encode(), None, json.dumps(GOOD[1]).encode()]


def write(path, damaged):
    path.write_bytes(b"\n".join(damaged if line is None else line for line in BETWEEN) + b"\n")
    return path


@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda line: repr(line[:30]))
def test_a_damaged_line_is_named_and_passed_over(damaged, tmp_path):
    """By the one reader, so by a push, `info`, the app and a resumed run; the lines after it are kept."""
    path = write(tmp_path / "history.jsonl", damaged)
    with pytest.warns(UserWarning, match=r"history.jsonl, line 2: expected a logged step, got b.*; passed over"):
        assert read_history(path) == GOOD
    history = History(tmp_path)
    with pytest.warns(UserWarning, match="line 2"):
        history.open_at(2, {})
    assert history.lines == GOOD and read_history(path) == GOOD
    plot_loss(history.lines, tmp_path / "loss.png")


@pytest.mark.parametrize("cut", [b'{"step": 3, "loss', b'{"step": 3}', b"7"])
def test_a_last_line_that_is_being_written_is_no_damage(cut, tmp_path, recwarn):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in GOOD) + cut)
    assert read_history(path)[:2] == GOOD and not recwarn.list


@pytest.mark.parametrize("damaged", [b"[1, 2]", b'{"loss": 1.0}', b'{"step": 3, "loss": "low"}'])
def test_push_info_and_the_app_pass_over_a_damaged_line(damaged, tmp_path, capsys, monkeypatch):
    """AttributeError in push, "Error" without words in the app."""
    told = {way: {"pipeline": "A"} for way in ("with_package", "without_package")}
    monkeypatch.setattr("text2digit.sharing.tree.load_tree_back", lambda tree: told)  # has a test of its own
    folder = shutil.copytree(SHIPPED_FOLDER / "dit-mnist", tmp_path / "mine")
    write(folder / "history.jsonl", damaged)
    with pytest.warns(UserWarning, match="line 2"):
        assert cli.main(["info", str(folder)]) == 0
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match="line 2"):
        assert cli.main(["push", "--model", str(folder), "--repo", "ada/x", "--dry-run", "--out", str(out)]) == 0
    assert "0.5000" in (out / "README.md").read_text(encoding="utf-8")
    pytest.importorskip("gradio", reason="needs the extra gui")
    from text2digit.gui.training import open_run

    found = open_run(str(folder))
    assert found.lines == GOOD and found.damaged == 1  # which the page says


def test_what_ships_is_whole(recwarn):
    for name in shipped_names():
        path = SHIPPED_FOLDER / name / "history.jsonl"
        assert len(read_history(path)) == len(path.read_bytes().splitlines())
    assert not recwarn.list


# --- one that is not damaged -----------------------------------------------------------------------------------------


def test_history_forgets_what_a_resumed_run_will_write_anew(tmp_path):
    """And a line that a kill cut short."""
    history = History(tmp_path)
    history.open_at(0, {})
    for step in (10, 20, 30):
        history.append({"step": step, "loss": 1.0}, {"step": step, "images_per_second": 1.0})
    with history.path.open("a") as file:
        file.write('{"step": 40, "lo')
    assert [line["step"] for line in read_history(history.path)] == [10, 20, 30]
    history.open_at(20, {})
    assert [line["step"] for line in read_history(history.path)] == [10, 20]
    assert [line["step"] for line in read_history(history.speed_path)] == [10, 20]


def test_means_by_hand(tmp_path):
    """Two steps of two images; catches a mean of means, tenths off by one, and results that are used twice."""
    history = History(tmp_path)
    for errors, times, norm in (([1.0, 2.0], [0.1, 0.11], 3.0), ([3.0, 6.0], [0.1, 1.0], 5.0)):
        history.pending.append(StepResult(torch.tensor(errors), torch.tensor(times), norm))
    means = history.take_means()
    assert (means["loss"], means["grad_norm"]) == (3.0, 4.0)
    assert means["loss_by_time"] == [2.0, 2.0, *[None] * 7, 6.0]
    assert history.take_means()["loss"] is None
