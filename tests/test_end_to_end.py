"""Real runs: real images, real training, real files, the commands that people type."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from text2digit.config import DataConfig, load_config
from text2digit.data import load_dataset
from text2digit.training import prepare_run, train
from text2digit.training.history import read_history

from .conftest import ROOT, has_mnist

DATASET = "mnist" if has_mnist() else "digits"
# Half a minute to a minute on two cores.
STEPS = {"mnist": 240, "digits": 500}
SMALL = ["model.block_out_channels=[32, 64]", "optim.warmup_steps=20"]


def run(command, folder, **environment):
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2", **environment}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train by the command of README, from a folder that is not the checkout."""
    folder = tmp_path_factory.mktemp("run")
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"]
    flags = f"--config unet --dataset {DATASET} --max_train_steps {STEPS[DATASET]} --batch-size 64 --lr 2e-3".split()
    flags += ["--output-dir", "out", *SMALL, "training.preview_steps=150", "--checkpointing-steps", "150"]
    output = run([*accelerate, str(ROOT / "train_text2digit.py"), *flags], folder)
    return folder, output


def test_training_leaves_what_it_promises(trained):
    folder, output = trained
    out = folder / "out"
    assert "device: " in output and "saved:  out" in output
    for name in ("model_index.json", "config.yaml", "history.jsonl", "loss.png", "denoiser", "scheduler"):
        assert (out / name).exists(), name
    previews = {f"step-{step:06d}.png" for step in (*range(150, STEPS[DATASET], 150), STEPS[DATASET])}
    assert {path.name for path in (out / "samples").iterdir()} == previews
    assert load_config(out / "config.yaml").training.max_train_steps == STEPS[DATASET]


def test_the_loss_falls(trained):
    lines = [line for line in read_history(trained[0] / "out" / "history.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == list(range(20, STEPS[DATASET] + 1, 20))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[0]["lr"] == pytest.approx(2e-3, rel=0.01) and lines[-1]["lr"] < 1e-5


def test_digits_are_of_the_class_that_was_asked_for(trained):
    """By three nearest neighbours among real digits; catches labels that never reach the model (accuracy 0.1)."""
    folder, _ = trained
    command = [sys.executable, "-m", "text2digit.cli", "sample", "--model", "out", "--num", "20", "-o", "digits.npz"]
    run([*command, "--guidance-scale", "2"], folder)  # the recipe's own is for weights that have learned more
    drawn = np.load(folder / "digits.npz")
    assert drawn["images"].dtype == np.uint8 and len(drawn["images"]) == 200
    data = load_dataset(DataConfig(dataset=DATASET))
    real = data.images[:6000].flatten(1).numpy()
    judge = KNeighborsClassifier(3).fit(real, data.labels[:6000])
    assert drawn["labels"].tolist() == [label for label in range(10) for _ in range(20)]
    assert judge.score(drawn["images"].reshape(200, -1), drawn["labels"]) > 0.5


def test_previews_leave_training_untouched(tmp_path):
    """Catches a preview that keeps the averaged weights, the evaluation mode or a changed generator."""
    flags = ["data.dataset=digits", "training.max_train_steps=4", "training.batch_size=16", *SMALL, "model.dropout=0.1"]
    ends = []
    for name, every in (("often", 1), ("never", 100)):
        overrides = [*flags, f"training.output_dir={tmp_path / name}", f"training.preview_steps={every}"]
        overrides.append(f"training.validation_steps={every}")
        run = prepare_run(load_config("unet", overrides))
        train(run)
        ends.append(torch.cat([p.flatten() for p in run.model.parameters()]))
        assert run.model.training
    if run.accelerator.device.type == "cpu":
        assert torch.equal(*ends)
    else:  # kernels on a card may add in another order each time; a run without dropout ends 1e-3 away
        assert (ends[0] - ends[1]).norm() <= 2e-4 * ends[0].norm()
