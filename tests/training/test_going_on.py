"""What may change before a run goes on, and what may not: that is refused with reason."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from text2digit.training import loop, plan, prepare_run, train
from text2digit.training.checkpoint import list_checkpoints
from text2digit.training.history import read_history

from .conftest import assert_same_end, cut_at


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
