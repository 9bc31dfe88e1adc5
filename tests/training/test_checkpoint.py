"""Checkpoints under attack: killed writers, damaged files, full disks, two writers. Nothing whole is ever lost."""

import errno
import io
import os
import pickletools
import resource
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch

from text2digit.training import checkpoint, durable
from text2digit.training.checkpoint import (
    TrainingState,
    list_checkpoints,
    load_checkpoint,
    newest_whole_checkpoint,
    save_checkpoint,
)
from text2digit.training.durable import DamagedError, check_folder, remove_leftovers, whole_folder

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and POSIX signals")


def state_at(step, size=64):
    """A state that tells its step."""
    tensors = {"a": torch.full((size,), float(step)), "b": torch.arange(3)}
    return TrainingState(step, {"model": tensors, "optimizer": {"a/step": torch.tensor(1.0)}}, {"ema_updates": step})


def assert_is(folder, step):
    state = load_checkpoint(folder)
    assert state.step == step and state.facts == {"ema_updates": step}
    assert torch.equal(state.tensors["model"]["a"], torch.full((64,), float(step)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def run_folder(tmp_path):
    """A run with checkpoints 10 and 20."""
    for step in (10, 20):
        save_checkpoint(tmp_path, state_at(step), total_limit=2)
    return tmp_path


def test_rotation_keeps_the_newest(run_folder):
    save_checkpoint(run_folder, state_at(30), total_limit=2)
    assert names(run_folder) == ["checkpoint-000020", "checkpoint-000030"]
    save_checkpoint(run_folder, state_at(40), total_limit=None)
    assert len(list_checkpoints(run_folder)) == 3
    save_checkpoint(run_folder, state_at(1_000_050), total_limit=1)  # more digits than the others
    assert names(run_folder) == ["checkpoint-1000050"]


# --- killed at every operation ---------------------------------------------------------------------------------------


def in_child(act):
    """Run `act` in a fork; returns how it ended, as `os.waitpid` says it, or its exit code negated if it raised."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killed_at(operation, folder, act):
    """Whether `act` reached its `operation`-th operation on files in `folder`, where SIGKILL met it."""
    events = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "shutil.rmtree"}
    count = 0

    def strike():
        nonlocal count
        count += 1
        if count == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        if event in events and arguments and str(folder) in str(arguments[0]):
            strike()

    def body():
        fsync = os.fsync
        os.fsync = lambda descriptor: (strike(), fsync(descriptor))  # fsync has no audit event
        sys.addaudithook(hook)
        act()

    status = in_child(body)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@posix
def test_a_writer_killed_at_any_operation_loses_nothing(tmp_path):
    """Catches a rotation before the new one is safe, a name given before the content, a half-deleted folder that is
    still called a checkpoint: each is a window between two operations, and every operation is struck once."""
    operation = 0
    ends = set()
    while True:
        operation += 1
        folder = tmp_path / str(operation)
        folder.mkdir()
        for step in (10, 20):
            save_checkpoint(folder, state_at(step), total_limit=2)
        killed = killed_at(operation, folder, lambda f=folder: save_checkpoint(f, state_at(30), total_limit=2))
        newest = newest_whole_checkpoint(folder)  # no warning: what is visible is whole
        assert_is(newest, checkpoint.step_of(newest))
        visible = [checkpoint.step_of(path) for path in list_checkpoints(folder)]
        assert visible in ([10, 20], [10, 20, 30], [20, 30]), (operation, visible)
        for path in list_checkpoints(folder):
            check_folder(path)
        ends.add(tuple(visible))

        remove_leftovers(folder)
        assert names(folder) == [f"checkpoint-{step:06d}" for step in visible]
        save_checkpoint(folder, state_at(40), total_limit=2)  # the folder is of use again
        assert_is(newest_whole_checkpoint(folder), 40)
        if not killed:
            break
    assert operation > 20 and ends == {(10, 20), (10, 20, 30), (20, 30)}


# --- damage ----------------------------------------------------------------------------------------------------------


def test_every_kind_of_damage_is_named_and_passed_over(run_folder):
    """Cut short, one bit flipped, missing, a folder in its place, other JSON; in each file of the checkpoint."""
    folder = run_folder / "checkpoint-000020"
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        for damage in (
            content[:-1],
            b"",
            bytes(flipped),
            b"[3]",
            b'{"files": 3}',
            b'{"files": {"a": 3}}',
            b"\xff",
            None,
        ):
            path.unlink() if damage is None else path.write_bytes(damage)
            if damage is None:
                path.mkdir()
            if path.name == durable.MANIFEST and damage == bytes(flipped):
                with pytest.raises(DamagedError):  # what it says depends on where the bit was
                    check_folder(folder)
            else:
                with pytest.raises(DamagedError, match=path.name):
                    check_folder(folder)
            with pytest.warns(UserWarning, match="passed over a damaged checkpoint: .*checkpoint-000020"):
                assert_is(newest_whole_checkpoint(run_folder), 10)
            with pytest.raises(DamagedError):
                load_checkpoint(folder)
            if path.is_dir():
                path.rmdir()
            path.write_bytes(content)
    assert_is(newest_whole_checkpoint(run_folder), 20)


def test_damaged_checkpoints_do_not_push_out_whole_ones(run_folder):
    """Catches a rotation that counts folders: the damaged 20 would have made it delete the whole 10."""
    (run_folder / "checkpoint-000020" / "model.safetensors").unlink()
    save_checkpoint(run_folder, state_at(30), total_limit=2)
    assert [checkpoint.step_of(path) for path in list_checkpoints(run_folder)] == [10, 20, 30]


def test_no_whole_checkpoint_is_an_error_and_none_at_all_is_not(run_folder):
    for folder in list_checkpoints(run_folder):
        (folder / "state.json").unlink()
    with (
        pytest.warns(UserWarning),
        pytest.raises(DamagedError, match="no checkpoint is whole: .*000020.*000010.*never"),
    ):
        newest_whole_checkpoint(run_folder)
    shutil.rmtree(run_folder)
    assert newest_whole_checkpoint(run_folder) is None


def test_a_disk_that_gives_back_something_else_is_caught_before_the_rotation(run_folder, monkeypatch):
    """Verified first, rotated afterwards."""
    replace = os.replace

    def replace_and_damage(source, target):
        replace(source, target)
        if str(target).endswith("checkpoint-000030"):
            (target / "model.safetensors").write_bytes(b"rubbish")

    monkeypatch.setattr(os, "replace", replace_and_damage)
    with pytest.raises(DamagedError, match="model.safetensors has 7 bytes"):
        save_checkpoint(run_folder, state_at(30), total_limit=2)
    assert [checkpoint.step_of(path) for path in list_checkpoints(run_folder)] == [10, 20, 30]


# --- no room, no right -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.name != "posix" or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs; test_a_file_that_may_not_grow does the same by a limit")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_what_was_there(small_disk):
    step = 0
    with pytest.raises(OSError) as failure:
        for step in range(1, 100):
            save_checkpoint(small_disk, state_at(step, size=10_000), total_limit=None)
    assert failure.value.errno == errno.ENOSPC and step > 3
    assert [checkpoint.step_of(path) for path in list_checkpoints(small_disk)] == list(range(1, step))
    assert names(small_disk) == [f"checkpoint-{i:06d}" for i in range(1, step)]  # nothing half-written is left
    for path in list_checkpoints(small_disk):
        check_folder(path)
    shutil.rmtree(small_disk / "checkpoint-000001")  # a person makes room
    save_checkpoint(small_disk, state_at(step, size=10_000), total_limit=None)
    assert newest_whole_checkpoint(small_disk).name == f"checkpoint-{step:06d}"


@posix
def test_a_file_that_may_not_grow(run_folder):
    """A quota, as far as every user may set one: files are limited to 4 KiB."""

    def act():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            save_checkpoint(run_folder, state_at(30, size=10_000), total_limit=2)
        except OSError as error:
            os._exit(7 if error.errno == errno.EFBIG else 8)

    assert os.WEXITSTATUS(in_child(act)) == 7
    assert names(run_folder) == ["checkpoint-000010", "checkpoint-000020"]
    assert_is(newest_whole_checkpoint(run_folder), 20)


def test_an_old_checkpoint_that_may_not_be_deleted_does_not_stop_the_run(run_folder, monkeypatch):
    read_only = run_folder / "checkpoint-000010"
    access = os.access
    # root may write everywhere, so the answer of the system is given here
    monkeypatch.setattr(os, "access", lambda path, mode: path != read_only and access(path, mode))
    with pytest.warns(UserWarning, match="kept an old checkpoint that could not be deleted: .*000010 is read-only"):
        save_checkpoint(run_folder, state_at(30), total_limit=2)
    assert [checkpoint.step_of(path) for path in list_checkpoints(run_folder)] == [10, 20, 30]
    assert_is(read_only, 10)


# --- two writers -----------------------------------------------------------------------------------------------------


def test_two_writers_do_not_harm_each_other(tmp_path):
    """Each writes its steps into one folder, with no lock; catches a shared temporary name, and a folder replaced."""
    failures = []

    def write(steps):
        for step in steps:
            try:
                save_checkpoint(tmp_path, state_at(step), total_limit=None)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(range(first, 60, 2),)) for first in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [checkpoint.step_of(path) for path in list_checkpoints(tmp_path)] == list(range(1, 60))
    for path in list_checkpoints(tmp_path):
        assert_is(path, checkpoint.step_of(path))


def test_a_checkpoint_of_the_same_step_is_set_aside_not_overwritten(run_folder):
    save_checkpoint(run_folder, state_at(20), total_limit=2)
    assert_is(run_folder / "replaced-1" / "checkpoint-000020", 20)
    assert_is(run_folder / "checkpoint-000020", 20)


def test_a_name_taken_in_the_meantime_is_not_overwritten(tmp_path):
    with pytest.raises(FileExistsError, match="another process wrote it"), whole_folder(tmp_path / "x") as place:
        (place / "file").write_text("mine")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "file").write_text("theirs")
    assert (tmp_path / "x" / "file").read_text() == "theirs" and names(tmp_path) == ["x"]


# --- what is in them -------------------------------------------------------------------------------------------------


def looks_like_pickle(content):
    """Whether a pickle could start the bytes, or anything in them: torch.save's zip, or a stream that can be loaded.

    Opcodes alone are no pickle: one of a hundred thousand weights was the bytes 80 02 86 2e, which pop from an empty
    stack.
    """
    if content.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return True
    for protocol in (b"\x80\x02", b"\x80\x04\x95", b"\x80\x05\x95"):
        start = content.find(protocol)
        while start >= 0:
            try:
                pickletools.dis(content[start:], out=io.StringIO())  # follows the stack, too
                return True
            except Exception:
                pass  # bytes that happen to look like a header
            start = content.find(protocol, start + 1)
    return False


def test_the_scan_sees_pickles(tmp_path):
    import pickle

    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt")
    assert looks_like_pickle((tmp_path / "a.pt").read_bytes())
    for protocol in (2, 4, 5):
        assert looks_like_pickle(b"header" + pickle.dumps({"a": [1, 2]}, protocol) + b"more")
        assert looks_like_pickle(b"header" + pickle.dumps(torch.zeros(2), protocol))
    assert not looks_like_pickle(b"weights\x80\x02\x86.weights")
    assert not looks_like_pickle(b'{"a": 1}')
