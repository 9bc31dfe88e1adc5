"""A run that was cut off ends like one that was not, bit for bit; and what a run leaves on the disk."""

import json
import os
import signal
import time

import psutil
import pytest
from safetensors.torch import load_file

from text2digit.training import InterruptedRun, loop, prepare_run, train
from text2digit.training.history import read_history

from .conftest import assert_same_end, cut_at, finish, start

# No interval divides another, so that whatever is not saved shows.
FLAGS = ["training.max_train_steps=40", "training.checkpointing_steps=7", "training.logging_steps=3"]
FLAGS += ["training.validation_steps=10", "optim.ema=power", "optim.ema_snapshot_steps=11"]


def strike(process, signum):
    """SIGKILL to every process, or another signal to the process group, as a terminal and a job scheduler send it.

    torch's launcher puts its workers into other groups, and passes on to them what it gets.
    """
    if signum == signal.SIGKILL:
        for victim in (*psutil.Process(process.pid).children(recursive=True), process):
            os.kill(victim.pid, signum)
    else:
        os.killpg(process.pid, signum)


def wait_until(folder, step, process, session):
    """Until the given session of the run has taken steps of its own and written the history of `step`."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lines = read_history(folder / "history.jsonl")
        sessions = json.loads((folder / "run.json").read_text())["sessions"] if lines else []
        if len(sessions) > session and lines[-1]["step"] >= max(step, sessions[session]["from_step"] + 1):
            return
        time.sleep(0.002)
    raise AssertionError(f"never came to step {step}: {process.communicate()[0]}")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_started_again_ends_the_same(tmp_path, processes):
    """SIGKILL to all processes, then SIGTERM, which saves between the intervals; the same command each time.

    Catches an average, a moment, an order, a noise, a dropout, or a mean since the last line that starts anew.
    """
    finish(start(tmp_path / "whole", FLAGS, processes))
    cut = tmp_path / "cut"
    kills = ((9, signal.SIGKILL), (24, signal.SIGTERM))
    for session, (kill_at, signum) in enumerate(kills):
        process = start(cut, FLAGS, processes)
        wait_until(cut, kill_at, process, session)
        strike(process, signum)
        output, _ = process.communicate(timeout=120)
        assert process.returncode != 0
        if signum == signal.SIGTERM:
            assert "SIGTERM at step" in output and "everything is saved" in output, output
            if processes == 1:
                assert process.returncode == 128 + signum
    stopped_at = int(output.split("SIGTERM at step ")[1].split(";")[0])
    assert (cut / f"checkpoint-{stopped_at:06d}").is_dir()
    output = finish(start(cut, FLAGS, processes))
    assert f"step {stopped_at} of 40" in output
    assert_same_end(tmp_path / "whole", cut)
    sessions = json.loads((cut / "run.json").read_text())["sessions"]
    assert sessions[-1]["from_step"] == stopped_at and sessions[-1]["num_processes"] == processes


@pytest.mark.parametrize("changes", [[], ["optim.optimizer=muon"], ["training.gradient_accumulation_steps=4"]])
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_cut_in_process_ends_the_same(tiny_config, monkeypatch, changes, cut):
    whole = train(prepare_run(tiny_config("whole", *changes)))
    with monkeypatch.context() as patch:
        cut_at(cut, patch)
        with pytest.raises(RuntimeError, match="cut off"):
            train(prepare_run(tiny_config("cut", *changes)))
    resumed = prepare_run(tiny_config("cut", *changes))
    assert resumed.step == cut // 4 * 4
    assert_same_end(whole, train(resumed), last="checkpoint-000012")


def test_the_dit_too(tiny_config, monkeypatch):
    dit = ["model.type=DiT", "model.num_layers=2", "model.patch_size=2"]
    whole = train(prepare_run(_dit(tiny_config, "whole", dit)))
    cut_at(6, monkeypatch)
    with pytest.raises(RuntimeError):
        train(prepare_run(_dit(tiny_config, "cut", dit)))
    monkeypatch.undo()
    assert_same_end(whole, train(prepare_run(_dit(tiny_config, "cut", dit))), last="checkpoint-000012")


def _dit(tiny_config, name, changes):
    from dataclasses import replace

    from text2digit.config import ModelConfig

    options = {"num_layers": 2, "patch_size": 2, "num_attention_heads": 2, "attention_head_dim": 8, "dropout": 0.1}
    return replace(tiny_config(name), model=ModelConfig(type="DiT", options=options))


# --- signals ---------------------------------------------------------------------------------------------------------


def test_ctrl_c_saves_and_says_so(tiny_config, monkeypatch, capsys):
    """At a step that no interval divides; the run's own handler is gone afterwards."""
    before = signal.getsignal(signal.SIGINT)
    take_step = loop.train_step

    def press(run, stop=0):
        if run.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(run, stop)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", press)
        run = prepare_run(tiny_config("cut"))
        with pytest.raises(InterruptedRun, match="SIGINT at step 6; everything is saved") as stop:
            train(run)
    assert stop.value.signum == signal.SIGINT and "SIGINT: saving after this step" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert (run.folder / "checkpoint-000006").is_dir()
    whole = train(prepare_run(tiny_config("whole")))
    assert_same_end(whole, train(prepare_run(tiny_config("cut"))), last="checkpoint-000012")


# --- what is on the disk ---------------------------------------------------------------------------------------------


def test_not_one_byte_of_pickle(tiny_config):
    """Every file that a run writes, with the tracker's."""
    from .test_checkpoint import looks_like_pickle

    flags = ["training.report_to=tensorboard", "optim.ema=power", "optim.ema_snapshot_steps=6"]
    folder = train(prepare_run(tiny_config("run", *flags)))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {".safetensors", ".json", ".jsonl", ".yaml", ".png"} <= {path.suffix for path in files}
    assert any("tfevents" in path.name for path in files)
    assert [path for path in files if looks_like_pickle(path.read_bytes())] == []


def test_a_checkpoint_holds_all_there_is(finished):
    """Every moment of every weight, under the weight's name."""
    folder = finished / "checkpoint-000012"
    weights = load_file(folder / "model.safetensors")
    moments = load_file(folder / "optimizer.safetensors")
    assert set(moments) == {f"{name}/{key}" for name in weights for key in ("step", "exp_avg", "exp_avg_sq")}
    assert {value.item() for name, value in moments.items() if name.endswith("/step")} == {12.0}
    assert set(load_file(folder / "ema.safetensors")) == set(weights)
    state = json.loads((folder / "state.json").read_text())
    assert state["step"] == 12 and state["ema_updates"] == 12 and state["skipped_steps"] == 0


def test_the_run_says_what_it_was(finished):
    session = json.loads((finished / "run.json").read_text())["sessions"][0]
    assert session["seed"] == 0 and session["device"] == "cpu" and session["versions"]["torch"]
    config = (finished / "config.yaml").read_text()
    assert "mixed_precision: 'no'" in config  # resolved, not null
