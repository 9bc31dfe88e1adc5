"""No room, no right, too long a name: what a run says of it, and how it goes on. And what is written at all."""

import errno
import os
import re
import subprocess

import pytest
import torch

from text2digit import DigitPipeline, cli
from text2digit.training import loop, prepare_run, train
from text2digit.training.checkpoint import list_checkpoints
from text2digit.training.history import History, read_history

from .conftest import TINY_RUN, assert_same_end

INTERVALS = ("checkpointing", "preview", "validation", "logging")
RESUMES = "Nothing that was saved before is lost: mend this and repeat the command, and a run goes on from its newest"


# --- a disk without room ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """Makes a real file system of some KiB."""
    place = tmp_path / "disk"
    place.mkdir()

    def make(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
        if os.name != "posix" or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("needs the right to mount a tmpfs; test_every_kind_of_failed_save does the same by injection")
        return place

    yield make
    subprocess.run(["umount", str(place)], check=False)


@pytest.mark.parametrize("size", [4, 60, 1400, 1700, 2000])
def test_a_full_disk_is_named_and_with_room_the_run_goes_on(tiny_config, small_disk, tmp_path, capsys, size):
    """Wherever it fills: at the first files, in a checkpoint, the best, a picture, the pipeline at the end.

    Catches "[Errno 28]" without a name, and errors of libraries in Rust that end in a traceback.
    """
    flags = ["optim.ema=power", "optim.ema_snapshot_steps=5", "training.preview_steps=7"]
    disk = small_disk(size)
    folder = disk / "run"
    command = ["train", "--config", "unet", *TINY_RUN, *flags, "--output-dir", str(folder)]
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    named = re.search(
        rf"^error: {folder}(\S*): No space left on device: it takes about ([\d.]+) MiB, and ([\d.]+)", error, re.M
    )
    assert named and RESUMES in error, error
    assert not list(folder.glob(".unfinished*"))
    subprocess.run(["mount", "-o", "remount,size=100M", str(disk)], check=True)
    assert cli.main(command) == 0
    whole = train(prepare_run(tiny_config("whole", *flags)))
    assert_same_end(whole, folder, last="checkpoint-000012")


FAILURES = {
    "checkpoint": ("text2digit.training.checkpoint.save", "checkpoint-000008"),
    "averages": ("text2digit.training.posthoc.save", "averages/step-000006"),
    "best": ("diffusers.DiffusionPipeline.save_pretrained", "best-000006"),
    "picture": ("PIL.Image.Image.save", "samples/step-000006.png"),
    "curve": ("text2digit.training.validation.plot_loss", "loss.png"),
}


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EROFS", "ENAMETOOLONG", "EIO", "in Rust"])
@pytest.mark.parametrize("what", FAILURES)
def test_every_kind_of_failed_save_names_the_file(tiny_config, monkeypatch, what, code):
    run = prepare_run(tiny_config("run", "optim.ema=power", "optim.ema_snapshot_steps=6", "training.preview_steps=6"))

    def fail(*_, **__):
        if code == "in Rust":
            raise Exception("Error while serializing: I/O error: No space left on device (os error 28)")
        raise OSError(getattr(errno, code), "said by the system")

    take_step = loop.train_step
    target, name = FAILURES[what]

    def fail_later(run, stop=0):
        if run.step == 5:
            monkeypatch.setattr(target, fail)
        return take_step(run, stop)

    monkeypatch.setattr(loop, "train_step", fail_later)
    with pytest.raises(OSError) as failure:
        train(run)
    reason = os.strerror(errno.ENOSPC if code == "in Rust" else getattr(errno, code))
    assert str(failure.value).startswith(f"{run.folder / name}: {reason}") and RESUMES in str(failure.value)
    assert ("MiB are free" in str(failure.value)) == (code in ("ENOSPC", "EDQUOT", "in Rust"))
    assert [path.name for path in list_checkpoints(run.folder)] == ["checkpoint-000004"]


def test_what_is_no_failed_save_stays_what_it_is(tiny_config, monkeypatch):
    """Catches a closed terminal that is taken for a full disk."""
    run = prepare_run(tiny_config("run"))
    monkeypatch.setattr(loop, "train_step", lambda *_: (_ for _ in ()).throw(BrokenPipeError(errno.EPIPE, "closed")))
    with pytest.raises(BrokenPipeError, match="closed"):
        train(run)


def test_a_line_of_history_that_cannot_be_written_is_named(tmp_path):
    history = History(tmp_path)
    history.path.mkdir()
    with pytest.raises(OSError, match=r"history.jsonl: Is a directory. Nothing"):
        history.append({"step": 1})


# --- every N steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", INTERVALS)
def test_zero_is_off(tiny_config, interval):
    """Each of what happens every N steps; the others still happen, and at the last step too."""
    run = prepare_run(tiny_config("run", f"training.{interval}_steps=0"))
    folder, off = train(run), interval
    assert [path.name for path in list_checkpoints(folder)] == (
        ["checkpoint-000012"] if off == "checkpointing" else ["checkpoint-000008", "checkpoint-000012"]
    )
    assert (folder / "samples" / "step-000012.png").is_file() == (off != "preview")
    lines = read_history(folder / "history.jsonl")
    assert any("validation_loss" in line for line in lines) == (off != "validation")
    assert len(list(folder.glob("best-*"))) == (off != "validation")
    assert any("loss" in line for line in lines) == (off != "logging")
    assert run.history.pending == []
    DigitPipeline.from_pretrained(folder)


def test_all_off_at_once_trains_the_same_weights(tiny_config):
    """And takes no snapshots; catches a division by zero, and weights that depend on who looks."""
    ends = []
    for name, flags in (("on", []), ("off", [f"training.{interval}_steps=0" for interval in INTERVALS])):
        run = prepare_run(tiny_config(name, "optim.ema=power", "optim.ema_snapshot_steps=0", *flags))
        assert not (train(run) / "averages").exists()
        ends.append(torch.cat([p.detach().flatten() for p in run.model.parameters()]))
    assert torch.equal(*ends)
    assert prepare_run(tiny_config("off", "optim.ema=power", "optim.ema_snapshot_steps=0", *flags)).step == 12


def test_without_checkpoints_on_the_way_a_signal_still_saves(tiny_config, monkeypatch):
    run = prepare_run(tiny_config("run", "training.checkpointing_steps=0"))
    take_step = loop.train_step
    monkeypatch.setattr(loop, "train_step", lambda run, stop=0: take_step(run, 2 if run.step == 4 else 0))
    with pytest.raises(loop.InterruptedRun, match="everything is saved"):
        train(run)
    assert [path.name for path in list_checkpoints(run.folder)] == ["checkpoint-000005"]
