"""What people type, and what they read when they mistype."""

import re

import numpy as np
import pytest
from PIL import Image

from text2digit import DDIMScheduler, cli
from text2digit.config import OPTIONS
from text2digit.sample_text2digit import SCHEDULERS, parse_classes
from text2digit.train_text2digit import parse_arguments


@pytest.fixture
def saved(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def sample(saved, *flags):
    return cli.main(["sample", "--model", saved, "--steps", "2", *flags])


def test_grid(saved, tmp_path, capsys):
    assert sample(saved, "--digits", "1,3-4", "--num", "2", "-o", str(tmp_path / "grid.png")) == 0
    assert Image.open(tmp_path / "grid.png").size == ((2 * 29 + 1) * 2, (3 * 29 + 1) * 2)
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'grid.png'}: a grid, one row per class or prompt\n"
    assert re.match(r"6 images by .* imported in [\d.]+ s, loaded in .*, drawn in .*, [\d.]+ s in all\n$", said.err)


def test_arrays_and_single_files_hold_the_same(saved, tmp_path):
    assert sample(saved, "--digits", "2-3", "--num", "2", "-o", str(tmp_path / "a.npz")) == 0
    assert sample(saved, "--digits", "2-3", "--num", "2", "-o", str(tmp_path / "folder")) == 0
    arrays = np.load(tmp_path / "a.npz")
    assert arrays["images"].shape == (4, 28, 28) and arrays["images"].dtype == np.uint8
    assert arrays["labels"].tolist() == [2, 2, 3, 3]
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert names == ["2-00000.png", "2-00001.png", "3-00002.png", "3-00003.png"]
    files = [np.asarray(Image.open(tmp_path / "folder" / name)) for name in names]
    assert np.array_equal(np.stack(files), arrays["images"])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers_by_name(pipeline, tmp_path, scheduler):
    if scheduler.startswith("flow-"):
        pipeline.scheduler = DDIMScheduler(beta_schedule="flow", prediction_type="flow_prediction", clip_sample=False)
    pipeline.save_pretrained(tmp_path / "model")
    flags = ["--digits", "5", "--num", "1", "--steps", "4", "--scheduler", scheduler, "-o", str(tmp_path / "x.png")]
    assert sample(str(tmp_path / "model"), *flags) == 0


@pytest.fixture
def saved_text(text_pipeline, tmp_path):
    text_pipeline.save_pretrained(tmp_path / "text")
    return str(tmp_path / "text")


def test_prompts(saved_text, tmp_path, capsys):
    """A row for each prompt, numbers in one piece; catches prompts that are split into characters."""
    prompts = ["--prompt", "a thick seven", "2026", "칠"]
    assert sample(saved_text, *prompts, "--num", "2", "--negative-prompt", "thin", "-o", str(tmp_path / "x.npz")) == 0
    arrays = np.load(tmp_path / "x.npz")
    assert arrays["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    width = arrays["images"].shape[2]
    assert arrays["images"].shape == (6, 28, width) and width > 28
    assert arrays["images"][0][:, 28:].max() == 0 < arrays["images"][2][:, 28:].max()
    assert sample(saved_text, "--digits", "3", "--num", "2", "-o", str(tmp_path / "y.png")) == 0
    assert sample(saved_text, "--prompt", "sevn", "--num", "1", "-o", str(tmp_path / "z.png")) == 0
    assert "one row per class or prompt" in capsys.readouterr().out


def test_prompts_where_they_cannot_be(saved, saved_text, capsys):
    assert sample(saved, "--prompt", "7") == 2
    assert "--prompt: got it for" in capsys.readouterr().err
    assert sample(saved_text, "--prompt", "7", "--digits", "3") == 2
    assert "--digits: got it with --prompt" in capsys.readouterr().err
    assert sample(saved_text, "--prompt", "3.5") == 2
    assert "number: got '3.5', expected a whole number" in capsys.readouterr().err


def test_seed_decides(saved, tmp_path):
    images = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        path = tmp_path / f"{name}.npz"
        sample(saved, "--digits", "5", "--num", "2", "--guidance_scale", "1.5", "--seed", seed, "-o", str(path))
        images.append(np.load(path)["images"])
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[0][1], images[2][0])  # image i is seeded SEED + i


def test_classes():
    assert parse_classes("0-2,7", 10) == [0, 1, 2, 7] and parse_classes(None, 3) == [0, 1, 2]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--digits", "0-10"], "--digits: got '0-10', expected classes from 0 to 9"),
        (["--digits", "x"], "--digits: got 'x', expected classes from 0 to 9"),
        (["--digits", "3-1"], "--digits: got '3-1'"),
        (["--num", "0"], "--num: got 0, expected 1 to 1000000"),
        (["--scheduler", "ddmi"], "--scheduler: invalid choice: 'ddmi' (choose from"),
        (
            ["--scheduler", "flow-euler"],
            "got 'flow-euler' for a model of a variance-preserving path, expected one of ddim",
        ),
        (["-o", "digits.jpg"], "--output: got digits.jpg, expected FILE.png, FILE.npz or a folder"),
        (["--guidance-scale", "nan"], "--guidance-scale: got nan, expected a finite number"),
    ],
)
def test_sample_says_what_it_expected_and_writes_nothing(saved, tmp_path, capsys, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    assert sample(saved, *flags) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_unknown_model(capsys):
    assert cli.main(["sample", "--model", "nothing-here"]) == 2
    assert "no such folder and no such shipped weights" in capsys.readouterr().err


def test_verbs(capsys):
    assert cli.main([]) == 0 and "sample" in capsys.readouterr().out
    assert cli.main(["smaple"]) == 2
    assert f"got the verb 'smaple', expected one of {', '.join(cli.VERBS)}" in capsys.readouterr().err


def test_training_flags_are_spellings_of_fields():
    """Dashes, diffusers' underscores, the toy's words, and any field by its dotted name."""
    config, arguments = parse_arguments(
        [
            "--config",
            "unet",
            "--batch_size",
            "7",
            "--epochs",
            "3",
            "--lr",
            "1e-4",
            "--dry-run",
            "optim.ema_decay=0.5",
            "--output-dir",
            "x",
        ]
    )
    assert (config.training.batch_size, config.training.epochs, config.optim.lr) == (7, 3, 1e-4)
    assert (config.optim.ema_decay, config.training.output_dir, arguments.dry_run) == (0.5, "x", True)
    assert parse_arguments(["--model-type", "DiT"])[0].model.type == "DiT"
    assert parse_arguments([])[0].model.type == "UNet"


def test_training_help_is_made_of_the_declarations(capsys):
    """Every flag with its help, range or choices, default and key. Would catch a line of help kept by hand."""
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS.values():
        for spelling in option.spellings:
            assert f"{spelling} {option.metavar}" in said
        assert not option.flag or " ".join(f"{option.help} (".split()) in said
    assert "--lr FLOAT peak learning rate (a finite number, more than 0; default 0.001; optim.lr)" in said
    assert "--optimizer {adamw,muon}" in said


def test_text_on_the_command_line_is_taken_as_it_stands():
    """Would catch a folder named 007 that becomes number 7, and one with ` #` that is cut as a comment of YAML."""
    for text in ("007", "runs/a #1", "{x", "true", "a: b"):
        assert parse_arguments(["--output-dir", text])[0].training.output_dir == text
    for text in ("", "null"):
        assert parse_arguments(["--output-dir", text])[0].training.output_dir is None


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--epochs", "x"], "training.epochs: got 'x', expected a whole number, 1 or more"),
        (["training.epoch=1"], "Did you mean training.epochs?"),
        (["--config", "nothing"], "neither a file nor a recipe"),
        (["--config", ""], "neither a file nor a recipe"),
        (["--model-type", "GAN"], "model.type: got 'GAN', expected one of UNet, DiT"),
        (["--dataset", "minst"], "data.dataset: got 'minst', expected one of mnist"),
        (["scheduler.prediction_type=eps"], "prediction_type: got 'eps', expected one of epsilon"),
        (["--mixed-precision", "fp4"], "training.mixed_precision: got 'fp4', expected one of no, fp16, bf16"),
        (["optim.decay=step"], "optim.decay: got 'step', expected one of cosine, linear, constant"),
    ],
)
def test_training_mistakes_end_before_anything_is_written(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(flags)
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--dataset", "digits", "model.patch_sise=2"], "Did you mean 'patch_size'"),
        (["--dataset", "digits", "model.dropout=lots"], "model: no UNet can be built of {'block_out_channels'"),
        (["--dataset", "digits", "training.sampler=dmd"], "training.sampler: got 'dmd', expected one of ddim"),
        (
            ["--dataset", "digits", "--resume", "nowhere"],
            "got 'nowhere', expected auto, extend, never or a",
        ),
    ],
)
def test_runs_that_cannot_start_say_why_and_write_nothing(flags, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *flags]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
