"""A run of which a file is damaged: the file is named, what can be made again is, and nothing is lost in silence."""

import shutil
import warnings

import pytest
from accelerate.state import AcceleratorState

from text2digit.config import load_config
from text2digit.training import prepare_run, reconstruct, train
from text2digit.training.history import read_history

from .conftest import TINY_RUN, assert_same_end, cut_at

FLAGS = [*TINY_RUN, "optim.ema=power", "optim.ema_snapshot_steps=4", "training.logging_steps=3"]
DAMAGES = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{"),
    "of another type": lambda path: path.write_bytes(b"[3]"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of 12 steps with checkpoints 8 and 12."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return train(prepare_run(load_config("unet", [*FLAGS, f"training.output_dir={tmp_path_factory.mktemp('a')}"])))


@pytest.fixture
def damaged(whole, tmp_path):
    """A copy of that run with one file damaged: its folder, and the config that goes on there."""

    def damage(name, kind, *flags):
        folder = tmp_path / "run"
        shutil.copytree(whole, folder)
        DAMAGES[kind](folder / name)
        return folder, load_config("unet", [*FLAGS, f"training.output_dir={folder}", *flags])

    return damage


def go_on(config):
    """Repeat the command; returns what it warned of, or the error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            train(prepare_run(config))
        except (ValueError, OSError) as error:
            return f"error: {error}"
    return "".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", ["manifest.json", "ema-0.05.safetensors"])
def test_a_damaged_checkpoint_is_named_and_the_run_ends_the_same_from_the_one_before(whole, damaged, name, kind):
    """Catches an IsADirectoryError, and a run that is called finished with averages that are not."""
    folder, config = damaged(f"checkpoint-000012/{name}", kind)
    said = go_on(config)
    assert "passed over a damaged checkpoint" in said and f"checkpoint-000012: {name} " in said
    assert_same_end(whole, folder, last="checkpoint-000012")
    assert (folder / "replaced-1" / "checkpoint-000012").is_dir()


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_record_of_sessions_is_named_and_set_aside(damaged, kind):
    """Catches "Expecting value: line 1 column 1", which names no file."""
    folder, config = damaged("run.json", kind)
    said = go_on(config)
    if kind != "missing":
        assert "run.json is " in said and "set aside" in said and (folder / "replaced-1" / "run.json").exists()
    assert '"from_step": 12' in (folder / "run.json").read_text()


@pytest.mark.parametrize("kind", ["missing", "a folder", "empty", "cut"])
def test_lost_history_is_said_and_what_is_left_is_kept(damaged, kind):
    """Catches early lines that are gone without a word."""
    folder, config = damaged("history.jsonl", kind)
    left = (folder / "history.jsonl").read_bytes() if kind == "cut" else None
    said = go_on(config)
    assert "history.jsonl: " in said and " of the 6 lines up to step 12 are missing or damaged" in said
    if kind != "missing":
        assert (folder / "replaced-1" / "history.jsonl").exists()
    if left:
        assert (folder / "replaced-1" / "history.jsonl").read_bytes() == left


def test_no_word_is_said_where_nothing_is_lost(whole, tmp_path, monkeypatch):
    """Catches a run that was cut off, a branch of another one, and one of 0.1.0 that are taken for damaged ones."""
    config = load_config("unet", [*FLAGS, f"training.output_dir={tmp_path / 'cut'}"])
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="cut off"):
        cut_at(7, patch)
        train(prepare_run(config))
    assert go_on(config) == ""
    flags = [f"training.output_dir={tmp_path / 'branch'}", f"training.resume={whole / 'checkpoint-000008'}"]
    assert go_on(load_config("unet", [*FLAGS, *flags])) == ""
    assert [line["step"] for line in read_history(tmp_path / "branch" / "history.jsonl")] == [9, 12, 12]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_config_is_named_and_the_way_out_works(damaged, kind):
    folder, config = damaged("config.yaml", kind)
    said = go_on(config)
    assert said.startswith("error: ") and "config.yaml" in said
    way_out = f"--resume {folder / 'checkpoint-000012'} to go on with this one"
    assert way_out in said
    if kind != "a folder":  # which has to be taken away first
        _, config = damaged_again(folder)
        assert "is of another config" in go_on(config)


def damaged_again(folder):
    resume = f"training.resume={folder / 'checkpoint-000012'}"
    return folder, load_config("unet", [*FLAGS, f"training.output_dir={folder}", resume])


@pytest.mark.parametrize("kind", ["missing", "a folder", "cut"])
@pytest.mark.parametrize("step", [4, 12])
def test_a_finished_run_is_checked_for_damaged_averages(whole, damaged, step, kind):
    """Catches exit 0 and averages that `text2digit ema` then cannot read; the last ones are made again."""
    name = f"averages/step-{step:06d}/0.05.safetensors"
    folder, config = damaged(name, kind)
    said = go_on(config)
    assert f"step-{step:06d}: 0.05.safetensors" in said and "set aside" in said
    assert reconstruct(folder, 0.08)
    assert (folder / "replaced-1" / name).parent.is_dir()
    if step == 12:
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert go_on(config) == ""


def test_a_damaged_best_is_named(whole, damaged):
    name = "denoiser/diffusion_pytorch_model.safetensors"
    folder, config = damaged(f"best-000012/{name}", "cut")
    assert f"best-000012: {name} has " in go_on(config)
    assert (folder / "replaced-1" / "best-000012").is_dir()


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize(
    "name", ["model_index.json", "denoiser/config.json", "denoiser/diffusion_pytorch_model.safetensors"]
)
def test_the_saved_pipeline_is_made_again_or_named(whole, damaged, name, kind):
    folder, config = damaged(name, kind)
    said = go_on(config)
    if kind == "a folder":
        assert said.startswith("error: ") and str(folder) in said and "repeat the command" in said
        (folder / name).rmdir()
        assert go_on(config) == ""
    assert (folder / name).read_bytes() == (whole / name).read_bytes()
