"""Small real runs, in this process and in others."""

import os
import subprocess
import sys

import pytest
import torch
from accelerate.state import AcceleratorState

from text2digit.config import load_config
from text2digit.training import loop, prepare_run, train

from ..conftest import ROOT

# What the shipped recipe chose, and these tests do not depend on.
FIXED = [
    "model.attention_levels=[false, true]",
    "scheduler.beta_schedule=squaredcos_cap_v2",
    "scheduler.prediction_type=v_prediction",
    "optim.optimizer=adamw",
    "optim.ema=exponential",
    "training.sampler=ddim",
]
# Real digits, 8x8, and every source of randomness switched on; small enough that a step takes milliseconds.
TINY_RUN = [
    *FIXED,
    "data.dataset=digits",
    "data.validation_every=20",
    "model.block_out_channels=[8, 16]",
    "model.attention_head_dim=8",
    "model.dropout=0.1",
    # Written out, so that what is tested does not change with the recipe that ships.
    "objective.timesteps=uniform",
    "objective.logit_mean=0",
    "objective.uniform_share=0",
    "optim.optimizer=adamw",
    "optim.lr=1e-3",
    "optim.ema=exponential",
    "optim.ema_sigma_rels=[0.05, 0.1]",
    "optim.warmup_steps=5",
    "training.batch_size=16",
    "training.max_train_steps=12",
    "training.checkpointing_steps=4",
    "training.validation_steps=6",
    "training.preview_steps=100",
    "training.logging_steps=5",
    "training.num_inference_steps=2",
    "training.report_to=none",
]


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """accelerate decides once a process; here each test is one."""
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def tiny_config(tmp_path):
    """Makes the config of a tiny run in a folder of the test's."""
    return lambda name, *overrides: load_config(
        "unet", [*TINY_RUN, f"training.output_dir={tmp_path / name}", *overrides]
    )


@pytest.fixture
def spoil(monkeypatch):
    """Spoils the loss, or with `gradient` the gradient alone, of an image of the batch at some steps."""

    def install(steps, image=5, value=float("nan"), gradient=False, patch=monkeypatch):
        original, count = loop.denoising_loss, iter(range(1000))

        def spoiled(*arguments):
            errors = original(*arguments)
            if next(count) in steps:
                factor = torch.ones_like(errors)
                factor[image] = value
                if gradient:
                    errors.register_hook(lambda slope: slope * factor)
                else:
                    errors = errors * factor
            return errors

        patch.setattr(loop, "denoising_loss", spoiled)

    return install


@pytest.fixture
def finished(tiny_config):
    """A finished run of 12 steps with checkpoints 8 and 12."""
    return train(prepare_run(tiny_config("run")))


def cut_at(step, patch):
    """Let training die when a step is reached, with nothing saved."""
    take_step = loop.train_step

    def die(run, stop=0):
        if run.step == step:
            raise RuntimeError("cut off")
        return take_step(run, stop)

    patch.setattr(loop, "train_step", die)


def start(folder, flags, processes=1):
    """Start `text2digit train`, or accelerate with that many processes, as a process group of its own."""
    command = [sys.executable, "-m", "text2digit.cli", "train"]
    if processes > 1:
        launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes)]
        command = [sys.executable, *launch, str(ROOT / "train_text2digit.py")]
    return subprocess.Popen(
        [*command, *TINY_RUN, "--output-dir", str(folder), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process):
    """Wait for a run that must end well; returns what it printed."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def assert_same_end(whole, cut, last="checkpoint-000040"):
    """Weights, averages, optimizer, what is pending, history, the best, snapshots and the saved pipeline.

    `last` is the checkpoint of the last step.
    """
    for path in sorted(whole.rglob("*")):
        name = path.relative_to(whole)
        compared = name.parts[0] in (last, "denoiser", "averages") or name.parts[0].startswith("best-")
        if path.is_file() and (compared or name.name == "history.jsonl"):
            assert path.read_bytes() == (cut / name).read_bytes(), name
    assert (whole / "history.jsonl").stat().st_size > 1000
