"""The plan that --dry-run prints: its numbers counted again by hand, and nothing written."""

import re

from text2digit import cli
from text2digit.config import load_config, run_folder
from text2digit.training import plan, prepare_run, train
from text2digit.training.history import read_history
from text2digit.training.planning import describe_plan, flops_per_image
from text2digit.training.prepare import build_run


def dit_flops(width, layers, tokens, patch_pixels, class_channels=2, mlp=4, frequencies=128):
    """Two per multiplication, of linear layers, attention and two 3x3 convolutions: all that a DiT multiplies."""
    layers_of_block = 4 * width * width * tokens + 2 * mlp * width * width * tokens + 6 * width * width
    block = layers_of_block + 2 * width * tokens * tokens + 2 * 9 * width * tokens
    outside = (2 + class_channels) * patch_pixels * width * tokens + 3 * width * width + frequencies * width
    return 2 * (layers * block + outside)


def test_flops_by_hand(tiny_config):
    """Catches multiplications and additions that are counted as one, and attention that is
    left out, as torch's counter does with the CPU's fused kernel."""
    options = ["model.num_layers=3", "model.patch_size=2", "model.num_attention_heads=2", "model.attention_head_dim=16"]
    config = load_config("dit", ["data.dataset=digits", "training.report_to=none", *options])
    assert flops_per_image(build_run(config).bare_model) == dit_flops(32, 3, tokens=16, patch_pixels=4)


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("text2digit.training.planning.PROBE_SECONDS", 0.2)
    flags = ["--dataset", "digits", "--model-type", "DiT", "--dry-run", "model.patch_size=2", "training.epochs=2"]
    assert cli.main(["train", *flags, "--batch-size", "100"]) == 0
    output = capsys.readouterr().out
    assert "digits, images of 1x8x8, 10 classes (zero, one, two" in output
    assert "1,454 to train on, 47 held out (data.validation_every 30), 296 for test" in output
    assert re.search(r"DiT, [\d,]+ parameters, [\d.]+ MFLOP per image forward, \d+ in training", output)
    assert "30 of 100 images, 2.1 epochs, muon" in output and "mixed precision no" in output
    assert (
        re.search(r"about [\d.]+ minutes at \d+ images/s, \d+ GFLOP/s", output) and "output: runs/dit-digits" in output
    )
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_cannot_be_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--dataset", "digits", "--dry-run", "scheduler.prediction_type=epsilon"]
    assert cli.main(["train", *flags]) == 2
    assert "got 'epsilon' on a path that ends in pure noise" in capsys.readouterr().err


def test_a_plan_leaves_the_run_to_come_alone(tiny_config):
    """Catches a plan whose trial steps count, or whose draws are missing later."""
    config = tiny_config("run")
    assert str(run_folder(config)) == plan(config)["output_dir"] and not run_folder(config).exists()
    assert plan(config)["done_steps"] == 0
    lines = [read_history(train(prepare_run(tiny_config(name))) / "history.jsonl") for name in ("run", "other")]
    assert lines[0] == lines[1] and lines[0][-1]["step"] == 12
    assert plan(config)["minutes"] == 0
    assert describe_plan(plan(config)).endswith("from step 12")
