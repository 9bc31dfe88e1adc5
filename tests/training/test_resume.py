"""A run that was cut off ends like one that was not, bit for bit; what cannot be continued is refused with reason."""

import json
import os
import shutil
import signal
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

from text2digit.training import InterruptedRun, loop, plan, prepare_run, train
from text2digit.training.checkpoint import list_checkpoints
from text2digit.training.history import History, StepResult, read_history

from .conftest import cut_at, finish, start

LAST = "checkpoint-000040"
# No interval divides another, so that whatever is not saved shows.
FLAGS = ["training.max_train_steps=40", "training.checkpointing_steps=7", "training.logging_steps=3"]
FLAGS += ["training.validation_steps=10", "optim.ema=power", "optim.ema_snapshot_steps=11"]


def assert_same_end(whole, cut, last=LAST):
    """Weights, averages, optimizer, what is pending, history, the best, snapshots and the saved pipeline."""
    for path in sorted(whole.rglob("*")):
        name = path.relative_to(whole)
        compared = name.parts[0] in (last, "denoiser", "averages") or name.parts[0].startswith("best-")
        if path.is_file() and (compared or name.name == "history.jsonl"):
            assert path.read_bytes() == (cut / name).read_bytes(), name
    assert (whole / "history.jsonl").stat().st_size > 1000


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


# --- what may change, and what may not -------------------------------------------------------------------------------


@pytest.fixture
def finished(tiny_config):
    """A finished run of 12 steps with checkpoints 8 and 12."""
    return train(prepare_run(tiny_config("run")))


def test_another_config_is_refused_with_the_difference(finished, tiny_config):
    with pytest.raises(ValueError, match="holds a run of another config .optim.lr: 0.001 then, 0.5 now"):
        prepare_run(tiny_config("run", "optim.lr=0.5"))
    prepare_run(tiny_config("run", "training.logging_steps=7")).close()
    assert prepare_run(tiny_config("run", "training.resume=never", "optim.lr=0.5")).step == 0
    replaced = sorted(path.name for path in (finished / "replaced-1").iterdir())
    assert replaced == ["best-000012", "checkpoint-000008", "checkpoint-000012"]


LONGER = "training.max_train_steps=24"


def ends_of(folder):
    """Weights and average at the end of a run."""
    return [load_file(folder / "checkpoint-000024" / f"{name}.safetensors") for name in ("model", "ema")]


def test_another_length_is_refused_and_the_way_that_is_told_works(finished, tiny_config, monkeypatch):
    """On 0.1.0 the way was not told. Would catch an extended run that begins anew, or goes back when it is repeated."""
    for refuse in (prepare_run, plan):
        with pytest.raises(
            ValueError, match="max_train_steps: 12 then, 24 now.*Repeat the command with --resume extend"
        ):
            refuse(tiny_config("run", LONGER))
    extended = tiny_config("run", LONGER, "training.resume=extend")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="cut off"):
        cut_at(18, patch)
        train(prepare_run(extended))
    run = prepare_run(extended)
    assert (run.step, run.total_steps) == (16, 24)
    folder = train(run)
    assert [line["step"] for line in read_history(folder / "history.jsonl") if "loss" in line] == [
        5,
        10,
        12,
        15,
        20,
        24,
    ]
    prepare_run(tiny_config("run", LONGER)).close()  # from now on it is a run of 24 steps


def test_with_a_constant_rate_an_extended_run_is_the_longer_run(tiny_config):
    """Bit for bit. Would catch averages, moments or an order that an extension begins anew."""
    constant = "optim.decay=constant"
    whole = train(prepare_run(tiny_config("whole", constant, LONGER)))
    train(prepare_run(tiny_config("run", constant)))
    extended = train(prepare_run(tiny_config("run", constant, LONGER, "training.resume=extend")))
    for one, other in zip(ends_of(whole), ends_of(extended), strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "changes, message",
    [
        (["training.max_train_steps=8"], "training.max_train_steps: got 8, but .*checkpoint-000012 is at step 12"),
        ([LONGER, "optim.lr=0.5"], "another config .optim.lr: 0.001 then, 0.5 now.*Pass the same config"),
        (
            [LONGER, "training.output_dir=nothing-here"],
            "got 'extend', but nothing-here holds no checkpoint to go on from",
        ),
    ],
)
def test_what_cannot_be_extended_is_refused_and_nothing_is_written(finished, tiny_config, changes, message):
    """Would catch `extend` as a way around every difference, and one that begins a new run by a mistyped folder."""
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare_run(tiny_config("run", "training.resume=extend", *changes))
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_going_on_from_a_named_checkpoint(finished, tiny_config):
    """Elsewhere, with another learning rate: allowed, and said."""
    checkpoint = finished / "checkpoint-000008"
    with pytest.warns(UserWarning, match="is of another config: optim.lr: 0.001 then, 0.0005 now"):
        run = prepare_run(tiny_config("branch", f"training.resume={checkpoint}", "optim.lr=0.0005"))
    assert run.step == 8
    train(run)
    with pytest.raises(FileNotFoundError, match="training.resume: got '.*nowhere', expected auto, extend, never or a"):
        prepare_run(tiny_config("other", f"training.resume={finished / 'nowhere'}"))


def test_a_moved_folder_goes_on(finished, tiny_config, tmp_path):
    shutil.rmtree(finished / "checkpoint-000012")
    shutil.move(finished, tmp_path / "moved" / "here")
    run = prepare_run(tiny_config("moved/here"))
    assert run.step == 8
    train(run)
    assert (tmp_path / "moved" / "here" / "checkpoint-000012").is_dir()


def test_a_damaged_newest_checkpoint_is_passed_over_and_kept(finished, tiny_config):
    original = (finished / "checkpoint-000012" / "model.safetensors").read_bytes()
    (finished / "checkpoint-000012" / "model.safetensors").write_bytes(original[:-1])
    with pytest.warns(UserWarning, match="000012: model.safetensors has"):
        run = prepare_run(tiny_config("run"))
    assert run.step == 8
    train(run)
    assert (finished / "checkpoint-000012" / "model.safetensors").read_bytes() == original
    assert (finished / "replaced-1" / "checkpoint-000012" / "model.safetensors").is_file()


def test_read_only_checkpoints_go_on(finished, tiny_config):
    checkpoint = finished / "checkpoint-000008"
    for path in (*checkpoint.iterdir(), checkpoint):
        path.chmod(0o555)
    try:
        run = prepare_run(tiny_config("branch", f"training.resume={checkpoint}"))
        assert run.step == 8
        train(run)
    finally:
        checkpoint.chmod(0o755)


def test_a_folder_in_use_is_refused(tiny_config):
    first = prepare_run(tiny_config("run"))
    with pytest.raises(ValueError, match="another run is writing there"):
        prepare_run(tiny_config("run"))
    first.close()
    prepare_run(tiny_config("run")).close()


def test_a_checkpoint_of_another_model_is_refused(finished, tiny_config):
    """And no folder is begun for it."""
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="the checkpoint is of another model"):
        prepare_run(
            tiny_config(
                "other", f"training.resume={finished / 'checkpoint-000012'}", "model.block_out_channels=[16, 16]"
            )
        )
    assert not (finished.parent / "other").exists()


def test_a_failed_save_leaves_the_older_ones(tiny_config, monkeypatch):
    """A disk that fills in the middle of a run: an error that names the file, and a run that goes on from before."""
    whole = train(prepare_run(tiny_config("whole")))

    def no_room(_):
        raise OSError(28, "No space left on device", "model.safetensors")

    with monkeypatch.context() as patch:
        run = prepare_run(tiny_config("cut"))
        take_step = loop.train_step
        patch.setattr(
            loop,
            "train_step",
            lambda run, stop=0: (
                patch.setattr("text2digit.training.checkpoint.save", no_room) if run.step == 5 else None,
                take_step(run, stop),
            )[1],
        )
        with pytest.raises(
            OSError, match=r"^model.safetensors: No space left .* takes about 0.8\d MiB, and [\d.]+ MiB are"
        ):
            train(run)
    assert [path.name for path in list_checkpoints(run.folder)] == ["checkpoint-000004"]
    assert_same_end(whole, train(prepare_run(tiny_config("cut"))), last="checkpoint-000012")


# --- history ---------------------------------------------------------------------------------------------------------


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
