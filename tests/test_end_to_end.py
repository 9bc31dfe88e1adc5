"""Real runs: real images, real training, real files, the commands that people type."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from text2digit.config import DataConfig, load_config
from text2digit.data import load_dataset
from text2digit.training import loop, prepare_run, train

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
    return result.stdout


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
    assert "device: " in output and "saved: out" in output
    for name in ("model_index.json", "config.yaml", "history.jsonl", "loss.png", "denoiser", "scheduler"):
        assert (out / name).exists(), name
    previews = {f"step-{step:06d}.png" for step in (*range(150, STEPS[DATASET], 150), STEPS[DATASET])}
    assert {path.name for path in (out / "samples").iterdir()} == previews
    assert load_config(out / "config.yaml").training.max_train_steps == STEPS[DATASET]


def test_the_loss_falls(trained):
    lines = [json.loads(line) for line in (trained[0] / "out" / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(20, STEPS[DATASET] + 1, 20))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[0]["lr"] == pytest.approx(2e-3, rel=0.01) and lines[-1]["lr"] < 1e-5


def test_digits_are_of_the_class_that_was_asked_for(trained):
    """By three nearest neighbours among real digits; catches labels that never reach the model (accuracy 0.1)."""
    folder, _ = trained
    command = [sys.executable, "-m", "text2digit.cli", "sample", "--model", "out", "--num", "20", "-o", "digits.npz"]
    run(command, folder)
    drawn = np.load(folder / "digits.npz")
    assert drawn["images"].dtype == np.uint8 and len(drawn["images"]) == 200
    data = load_dataset(DataConfig(dataset=DATASET))
    real = data.images[:6000].flatten(1).numpy()
    judge = KNeighborsClassifier(3).fit(real, data.labels[:6000])
    assert drawn["labels"].tolist() == [label for label in range(10) for _ in range(20)]
    assert judge.score(drawn["images"].reshape(200, -1), drawn["labels"]) > 0.5


def test_a_run_that_was_cut_off_ends_like_one_that_was_not(tmp_path, monkeypatch):
    """Bit for bit on the CPU; catches an average, an optimizer state, an order, a noise or a dropout that starts
    anew."""
    flags = ["data.dataset=digits", "training.max_train_steps=8", "training.checkpointing_steps=4", *SMALL]
    flags += ["model.dropout=0.1"]
    flags += ["training.batch_size=16", "training.preview_steps=100", "training.logging_steps=2"]

    def config(name):
        return load_config("unet", [*flags, f"training.output_dir={tmp_path / name}"])

    whole = train(prepare_run(config("whole")))

    cut = prepare_run(config("cut"))
    with monkeypatch.context() as patch:
        step = loop.train_step

        def die_at_six(run):
            if run.step == 6:
                raise KeyboardInterrupt
            return step(run)

        patch.setattr(loop, "train_step", die_at_six)
        with pytest.raises(KeyboardInterrupt):
            train(cut)
    resumed = prepare_run(config("cut"))
    assert resumed.step == 4
    train(resumed)
    for name in ("model", "ema", "optimizer"):
        files = [folder / "checkpoint-000008" / f"{name}.safetensors" for folder in (whole, tmp_path / "cut")]
        assert files[0].read_bytes() == files[1].read_bytes(), name
    losses = [[json.loads(x)["loss"] for x in (f / "history.jsonl").open()] for f in (whole, tmp_path / "cut")]
    assert losses[0] == losses[1]

    with pytest.raises(ValueError, match="holds a run of another config .optim.lr: 0.001 then, 0.5 now"):
        prepare_run(load_config("unet", [*flags, f"training.output_dir={whole}", "optim.lr=0.5"]))
    fresh = load_config("unet", [*flags, f"training.output_dir={whole}", "training.resume=never"])
    assert prepare_run(fresh).step == 0


def test_previews_leave_training_untouched(tmp_path):
    """Catches a preview that keeps the averaged weights, the evaluation mode or a changed generator."""
    flags = ["data.dataset=digits", "training.max_train_steps=4", "training.batch_size=16", *SMALL, "model.dropout=0.1"]
    ends = []
    for name, every in (("often", 1), ("never", 100)):
        overrides = [*flags, f"training.output_dir={tmp_path / name}", f"training.preview_steps={every}"]
        run = prepare_run(load_config("unet", overrides))
        train(run)
        ends.append(torch.cat([p.flatten() for p in run.model.parameters()]))
        assert run.model.training
    assert torch.equal(*ends)


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path):
    flags = ["--dataset", "digits", "--model-type", "DiT", "--dry-run", "model.patch_size=2", "training.epochs=2"]
    output = run([sys.executable, "-m", "text2digit.cli", "train", *flags], tmp_path)
    assert "1,500 images of (1, 8, 8), 10 classes" in output.replace("1,501", "1,500")
    assert "DiT" in output and "parameters" in output
    assert list(Path(tmp_path).iterdir()) == []
