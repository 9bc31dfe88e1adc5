"""Weights, sizes and data that do not go together are refused before anything is written; a plan writes nothing."""

import os
import re
import tempfile

import numpy as np
import pytest
from PIL import Image

from text2digit import cli
from text2digit.models.text import build_text_encoder

from ..conftest import TINY, make_text_pipeline, randomize
from .conftest import TINY_RUN

SIZES = {"sample_size": 8, "block_out_channels": (8, 16), "attention_head_dim": 8}
START = "training.pretrained_model_name_or_path"
WORDS = ["text.captions=true", "text.width=16", "text.layers=1", "text.heads=2"]
CLASSES = 12


@pytest.fixture
def place(tmp_path, monkeypatch, pipeline, tokenizer):
    """A folder of letters, and pipelines of classes and of words to start from; whatever is written lands here."""
    for i in range(CLASSES * 4):
        folder = tmp_path / "letters" / chr(65 + i % CLASSES)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 5 * i, dtype=np.uint8)).save(folder / f"{i}.png")
    denoiser = randomize(TINY["UNet"](**SIZES, class_channels=None))
    type(pipeline)(denoiser, pipeline.scheduler).save_pretrained(tmp_path / "classes")
    make_text_pipeline(tokenizer, **SIZES).save_pretrained(tmp_path / "words")
    build_text_encoder(tokenizer, 16, 1, 2).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    for name in ("HOME", "XDG_CACHE_HOME", "TEXT2DIGIT_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("text2digit.training.planning.PROBE_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def start(*flags):
    return cli.main(["train", "--config", "unet", *TINY_RUN, "training.report_to=tensorboard", *flags])


LETTERS = ["data.dataset=folder", "data.data_dir=letters"]
FROM_CLASSES, FROM_WORDS = f"{START}=classes", f"{START}=words"
FRESH = "start from fresh weights by training.pretrained_model_name_or_path=null"
REFUSED = {
    "more classes": ([*LETTERS, FROM_CLASSES], f"num_classes=10 (here {CLASSES}), expected that of this run", FRESH),
    "more classes than said": (
        [*LETTERS, FROM_CLASSES, "model.num_classes=10"],
        "num_classes: got 10, expected 12",
        "",
    ),
    "fewer classes than said": (["model.num_classes=20"], "model.num_classes: got 20, expected 10", "leave it out"),
    "no classes": (["model.num_classes=null"], "model.num_classes: got None, expected 10", ""),
    "channels": ([FROM_CLASSES, "model.in_channels=3"], "model.in_channels: got 3, expected 1", "leave it out"),
    "channels of the data": ([*LETTERS, "data.channels=3", FROM_CLASSES], "in_channels=1 (here 3)", FRESH),
    "two outputs": (["model.out_channels=2"], "model.out_channels: got 2, expected 1", "leave it out"),
    "size": (["model.sample_size=16"], "model.sample_size: got 16, expected 8", "leave it out"),
    "class of words": ([*WORDS, "model.num_classes=10"], "model.num_classes: got 10, expected None", ""),
    "width of words": ([*WORDS, "model.cross_attention_dim=32"], "cross_attention_dim: got 32, expected 16", ""),
    "width of their words": ([*WORDS, "text.width=32", FROM_WORDS], "cross_attention_dim=16 (here 32)", FRESH),
    "words to classes": ([FROM_WORDS], "num_classes=null (here 10)", FRESH),
    "length": (
        [*WORDS, "text.encoder=encoder", "text.max_length=40"],
        "text.max_length: got 40, expected at most 32",
        "",
    ),
    "channels of blocks": (
        [FROM_CLASSES, "model.block_out_channels=[8,24]"],
        "block_out_channels=[8,16] (here [8,24])",
        "Pass model.block_out_channels=[8,16].",
    ),
    "heads, which no shape tells": (
        [FROM_CLASSES, "model.attention_head_dim=4"],
        "attention_head_dim=8 (here 4)",
        "Pass",
    ),
    "depth, where all finds a place": (
        [FROM_CLASSES, "model.layers_per_block=2"],
        "layers_per_block=1 (here 2)",
        "Pass model.layers_per_block=1.",
    ),
    "words of another size": (
        [*WORDS, FROM_CLASSES, "model.block_out_channels=[16,16]"],
        "block_out_channels=[8,16] (here [16,16])",
        "Pass model.block_out_channels=[8,16].",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_written_and_the_advice_works(place, capsys, case):
    """Catches an IndexError at the first step, a run folder left behind, and advice that leads to another error."""
    flags, message, advice = REFUSED[case]
    before = tree(place)
    for command in (["--output-dir", "run", "--dry-run"], ["--output-dir", "run"]):
        assert start(*flags, *command) == 2
        error = capsys.readouterr().err
        assert message in error and advice in error
        assert tree(place) == before
    if advice == FRESH:
        flags = [*flags, f"{START}=null"]
    elif advice.startswith("Pass"):
        flags = [*flags, *re.search(r"Pass (\S+)\.$", error.strip())[1].split()]
    elif "length" in case:
        flags = [*flags, "text.max_length=32"]
    else:
        flags = [flag for flag in flags if not flag.startswith("model.") and flag != FROM_CLASSES]
    assert start(*flags, "--dry-run") == 0, capsys.readouterr().err


def test_weights_of_another_type_are_refused_and_a_config_of_theirs_works(place, capsys):
    before = tree(place)
    assert cli.main(["train", "--config", "dit", "--dataset", "digits", "model.patch_size=2", FROM_CLASSES]) == 2
    assert "it is a DigitUNet2DModel. Take other weights, or a config whose model.type" in capsys.readouterr().err
    assert tree(place) == before
    assert start(FROM_CLASSES, "--dry-run") == 0


@pytest.mark.parametrize("flags", [[FROM_CLASSES], [*WORDS, FROM_CLASSES], [*WORDS, "text.encoder=encoder"]])
def test_a_plan_writes_nothing_at_all(place, flags):
    """No run, no data, no cache: what was measured of strokes, too; also into a folder that exists."""
    (place / "there").mkdir()
    before = tree(place)
    assert start(*flags, "--dry-run", "--output-dir", "there/run") == 0
    assert tree(place) == before


@pytest.mark.parametrize(
    "flags, message",
    [
        (["model.in_channels=3"], "model.in_channels: got 3, expected 1"),
        (["model.num_classes=20"], "model.num_classes: got 20, expected 10"),
        (["model.layer_per_block=1"], "Did you mean 'layers_per_block'?"),
        (["model.dropout=lots"], "model: no UNet can be built of"),
        ([*WORDS, "model.cross_attention_dim=32"], "cross_attention_dim: got 32, expected 16"),
        ([*WORDS, "text.encoder=encoder", "model.sample_size=8"], "model.sample_size: got 8, expected 28"),
        (["scheduler.prediction_type=epsilon"], "got 'epsilon' on a path that ends in pure noise"),
    ],
)
def test_a_model_that_cannot_be_is_refused_before_data_are_downloaded_or_read(
    place, monkeypatch, capsys, flags, message
):
    """Would catch minutes of download and reading before a typing mistake is told, and a plan that tells of missing
    data in place of it."""
    for module in ("planning", "prepare"):
        name = f"text2digit.training.{module}.load_training_data"
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("data were read"))
    for command in (["--dry-run"], []):
        assert start("data.dataset=mnist", *flags, *command) == 2
        assert message in capsys.readouterr().err


def test_a_frozen_encoder_may_be_of_any_width_before_it_is_loaded(place, capsys):
    """Would catch a width that is compared with that of an encoder that is trained here."""
    frozen = [*WORDS, "text.encoder=encoder", "text.width=32"]
    assert start(*frozen, "model.cross_attention_dim=16", "--dry-run") == 0
    assert start(*frozen, "model.cross_attention_dim=32", "--dry-run") == 2
    assert "model.cross_attention_dim: got 32, expected 16" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--dry-run"], []])
@pytest.mark.parametrize(
    "folder, message",
    [
        ("file", "got file, which is a file, expected a folder."),
        ("file/run", "got file/run, which cannot be written: Not a directory."),
        pytest.param(
            "/proc/run",
            "got /proc/run, which cannot be written: ",
            marks=pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a file system that takes no files"),
        ),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(place, monkeypatch, capsys, folder, message, flags):
    """Would catch a plan for a run that cannot start, and a run that ends after the data were read."""
    (place / "file").touch()
    monkeypatch.setattr("text2digit.train_text2digit.set_up", lambda: pytest.fail("work began"))
    assert start("--output-dir", folder, *flags) == 2
    assert f"--output-dir: {message}" in capsys.readouterr().err


def test_a_plan_downloads_nothing(place, capsys):
    """Catches the folders of a download that was tried, and failed or not."""
    before = tree(place)
    assert start("data.dataset=mnist", "--dry-run") == 2
    assert "train-images-idx3-ubyte is missing, and nothing is downloaded for a plan" in capsys.readouterr().err
    assert start(f"{START}=nobody/nothing", "--dry-run") == 2
    assert tree(place) == before
